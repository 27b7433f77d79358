"""Irreducible representations: parsing, printing, and the arithmetic that type inference needs.

O(3) labels are `0e 1o 2e ...` (degree and parity), SO(2) labels are plain frequencies `0 1 2 ...`.
`64x(0..2)` is shorthand for the natural parities `64x0e+64x1o+64x2e` (and `64x(0..2)natural` the same in
full), `64x(0..1)both` for `64x0e+64x0o+64x1o+64x1e`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

GroupName = Literal["O(3)", "SO(2)"]

MAX_DEGREE = 12
MAX_COPIES = 1_000_000
MAX_TERMS = 64
_SHOWN = 48  # characters of a text that a message quotes

_TERM = re.compile(
    r"^(?:(?P<mul>\d+)\s*x\s*)?"
    r"(?:(?P<l>\d+)(?P<p>[eo]?)|\(\s*(?P<lo>\d+)\s*\.\.\s*(?P<hi>\d+)\s*\)(?P<parities>natural|both)?)$"
)


class IrrepsError(ValueError):
    """Text that is not a list of irreps, or one that is `too_large`; `help` says how to write one."""

    def __init__(
        self, message: str, *, help: str, too_large: bool = False, instead: str | None = None
    ) -> None:
        super().__init__(message)
        self.instead = instead  # what was meant beyond doubt
        self.too_large = too_large
        self.message = message
        self.help = help


@dataclass(frozen=True, slots=True)
class Irrep:
    """One irrep: of O(3) with degree `l` and parity `p` = ±1, or of SO(2) with frequency `l` and `p` = 0."""

    l: int
    p: int

    @property
    def dim(self) -> int:
        """2l+1 under O(3); 1 or 2 under SO(2)."""
        if self.p == 0:
            return 1 if self.l == 0 else 2
        return 2 * self.l + 1

    @property
    def is_scalar(self) -> bool:
        """Does it stay fixed under the connected part of the group?"""
        return self.l == 0

    @property
    def is_invariant(self) -> bool:
        return self.l == 0 and self.p >= 0

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: by degree, natural parity first."""
        return self.l, -self.p * (-1) ** self.l

    def __mul__(self, other: Irrep) -> tuple[Irrep, ...]:
        """The irreps of the tensor product under O(3): |l1-l2| <= l <= l1+l2, p = p1 p2."""
        return tuple(Irrep(l, self.p * other.p) for l in range(abs(self.l - other.l), self.l + other.l + 1))

    def __str__(self) -> str:
        return f"{self.l}{ {1: 'e', -1: 'o', 0: ''}[self.p] }"


@dataclass(frozen=True, slots=True)
class Block:
    """`mul` copies of one irrep."""

    mul: int
    irrep: Irrep

    @property
    def dim(self) -> int:
        return self.mul * self.irrep.dim

    def __str__(self) -> str:
        return f"{self.mul}x{self.irrep}"


@dataclass(frozen=True, slots=True)
class Irreps:
    """A direct sum of irreps, in the order in which the numbers are stored.

    Example:
        >>> str(Irreps.parse("8x1o"))
        '8x1o'
        >>> Irreps.parse("4x(0..2)").dim
        36
    """

    blocks: tuple[Block, ...]
    group: GroupName = "O(3)"

    @classmethod
    def parse(cls, text: str, group: GroupName = "O(3)") -> Irreps:
        """Read `16x0e+8x1o`.

        Raises:
            IrrepsError: the text is not of that form, or has labels of another group.
        """
        return _parse(str(text), group)

    @property
    def dim(self) -> int:
        return sum(block.dim for block in self.blocks)

    @property
    def count(self) -> int:
        """How many irreps, copies counted."""
        return sum(block.mul for block in self.blocks)

    @property
    def lmax(self) -> int:
        return max((block.irrep.l for block in self.blocks), default=0)

    @property
    def all_scalar(self) -> bool:
        return all(block.irrep.is_scalar for block in self.blocks)

    @property
    def all_invariant(self) -> bool:
        return all(block.irrep.is_invariant for block in self.blocks)

    @property
    def kinds(self) -> tuple[Irrep, ...]:
        """The different irreps, sorted."""
        return tuple(sorted({block.irrep for block in self.blocks}, key=lambda irrep: irrep.order))

    @property
    def channels(self) -> int | None:
        """The one multiplicity that all blocks share, or None."""
        muls = {block.mul for block in self.blocks}
        return muls.pop() if len(muls) == 1 else None

    def mul_of(self, irrep: Irrep) -> int:
        return sum(block.mul for block in self.blocks if block.irrep == irrep)

    def keeping(self, irreps: Iterable[Irrep]) -> Irreps:
        """The blocks whose irrep is in `irreps`, in order."""
        kept = set(irreps)
        return Irreps(tuple(block for block in self.blocks if block.irrep in kept), self.group)

    def simplified(self) -> Irreps:
        """Sorted, with equal irreps merged."""
        counts: Counter[Irrep] = Counter()
        for block in self.blocks:
            counts[block.irrep] += block.mul
        ordered = sorted(counts, key=lambda irrep: irrep.order)
        return Irreps(tuple(Block(counts[irrep], irrep) for irrep in ordered), self.group)

    @property
    def short(self) -> str:
        """The text form, cut where it is long: for messages."""
        return _shown(str(self))

    def __add__(self, other: Irreps) -> Irreps:
        return Irreps(self.blocks + other.blocks, self.group)

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __str__(self) -> str:
        return "+".join(str(block) for block in self.blocks) or "0x0e"


@lru_cache(maxsize=1024)
def _parse(text: str, group: GroupName) -> Irreps:
    blocks: list[Block] = []
    example = "16x0e+8x1o" if group == "O(3)" else "2x1+3x0"
    terms = text.split("+")
    if len(terms) > MAX_TERMS:
        raise IrrepsError(
            f"irreps of {len(terms)} terms are too many: there may be {MAX_TERMS}",
            help=f"write copies as one term, such as `{example}`",
            too_large=True,
        )
    for term in terms:
        match = _TERM.match(term.strip())
        if match is None:
            raise IrrepsError(
                f"`{_shown(text)}` is not a list of irreps of {group}",
                help=f"write them as `{example}`",
                instead=_respelt(text, group),
            )
        _check_size(match)
        mul = int(match["mul"] or 1)
        if group == "SO(2)":
            if match["p"] or match["lo"]:
                raise IrrepsError(
                    f"`{term.strip()}` is not an irrep of SO(2)",
                    help=f"write the frequency alone: `{example}`",
                )
            blocks.append(Block(mul, Irrep(int(match["l"]), 0)))
        elif match["lo"]:
            degrees = range(int(match["lo"]), int(match["hi"]) + 1)
            if not degrees:
                raise IrrepsError(f"`{term.strip()}` is empty", help="write the lower degree first: `(0..2)`")
            signs = (1, -1) if match["parities"] == "both" else (1,)
            blocks.extend(Block(mul, Irrep(l, sign * (-1) ** l)) for l in degrees for sign in signs)
        elif not match["p"]:
            raise IrrepsError(
                f"`{term.strip()}` has no parity",
                help=f"write `{term.strip()}e` (even) or `{term.strip()}o` (odd)",
            )
        else:
            blocks.append(Block(mul, Irrep(int(match["l"]), 1 if match["p"] == "e" else -1)))
    return Irreps(tuple(block for block in blocks if block.mul), group)


def _respelt(text: str, group: GroupName) -> str | None:
    """Other signs for `x` and `+` (`16*0e, 8*1o`), where they read as irreps."""
    plain = re.sub(r"\s*[*×·xX]\s*", "x", text.strip()).replace(",", "+")
    plain = re.sub(r"\s+", "", re.sub(r"(?<=[eo])\s+(?=\d)", "+", plain.replace("E", "e").replace("O", "o")))
    if plain == text or not all(_TERM.match(term) for term in plain.split("+")):
        return None
    return plain


def _check_size(match: re.Match[str]) -> None:
    """Refuse degrees and multiplicities that no table could hold. Digits are counted before they are read."""
    for name, most, noun in (
        ("mul", MAX_COPIES, "copies"),
        ("l", MAX_DEGREE, "degree"),
        ("hi", MAX_DEGREE, "degrees up to"),
        ("lo", MAX_DEGREE, "degrees from"),
    ):
        digits = (match[name] or "").lstrip("0")
        if len(digits) > len(str(most)) or int(digits or 0) > most:
            count = f"{_shown(digits)} {noun}" if name == "mul" else f"{noun} {_shown(digits)}"
            raise IrrepsError(
                f"`{_shown(match.group())}` has {count}, above {most:,}",
                help="ask for fewer copies" if name == "mul" else f"degrees go up to {MAX_DEGREE}",
                too_large=True,
            )


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def harmonics(lmax: int) -> Irreps:
    """The irreps of the spherical harmonics up to `lmax`: `1x0e+1x1o+1x2e+...`."""
    return Irreps(tuple(Block(1, Irrep(l, (-1) ** l)) for l in range(lmax + 1)))


@lru_cache(maxsize=256)
def symmetric_power_paths(irreps: tuple[Irrep, ...], order: int) -> dict[Irrep, int]:
    """How often each irrep of O(3) occurs in the symmetric power Sym^order of a sum of irreps.

    Counts monomials by total m and parity; the multiplicity of degree L is N(m=L) - N(m=L+1).
    """
    states = [(m, irrep.p) for irrep in irreps for m in range(-irrep.l, irrep.l + 1)]
    # counts[degree][(m, p)] = number of monomials built from the states seen so far
    counts: list[Counter[tuple[int, int]]] = [Counter() for _ in range(order + 1)]
    counts[0][(0, 1)] = 1
    for m, p in states:
        for degree in range(1, order + 1):  # ascending: a state may be used again
            for (total, parity), n in list(counts[degree - 1].items()):
                counts[degree][(total + m, parity * p)] += n
    found = counts[order]
    top = order * max((irrep.l for irrep in irreps), default=0)
    paths = {Irrep(l, p): found[(l, p)] - found[(l + 1, p)] for l in range(top + 1) for p in (1, -1)}
    return {irrep: n for irrep, n in paths.items() if n}
