"""How a flat feature tensor transforms: the runtime's own small algebra of representations.

A tensor [*, dim] is the concatenation of blocks; a block of `mul` copies of one irrep is stored
component-major and channel last, so `x[..., block.slice].unflatten(-1, (block.size, block.mul))`
has the components of the irrep on its second-last axis and the copies on its last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from .errors import ArtifactError

_O3 = re.compile(r"(?:(\d+)x)?(\d+)([eo])")
_SO2 = re.compile(r"(\d+)x(\d+)")


@dataclass(frozen=True, slots=True)
class Block:
    """`mul` copies of one irrep, and where they lie.

    `l` is the degree (for SO(2) the frequency m), `p` the parity +1 or -1, and 0 where there is none.
    """

    mul: int
    l: int
    p: int
    size: int
    start: int

    @property
    def dim(self) -> int:
        """How many numbers the block takes."""
        return self.mul * self.size

    @property
    def slice(self) -> slice:
        """Where the block lies on the last axis."""
        return slice(self.start, self.start + self.dim)

    @property
    def irrep(self) -> tuple[int, int]:
        """What the copies have in common: (l, p)."""
        return self.l, self.p


@dataclass(frozen=True, slots=True)
class Irreps:
    """A sum of irreps of O(3) (`16x0e+8x1o`), of SO(2) (`2x1+3x0`), or `5` numbers that no group moves.

    Example:
        >>> irreps = Irreps.parse("16x0e+8x1o")
        >>> irreps.dim, [block.slice for block in irreps]
        (40, [slice(0, 16, None), slice(16, 40, None)])
        >>> str(irreps)
        '16x0e+8x1o'
    """

    group: str
    blocks: tuple[Block, ...]

    @classmethod
    @lru_cache(maxsize=1024)  # labels ask for their irreps once a frame
    def parse(cls, text: str) -> Irreps:
        """Read the text form.

        Raises:
            ArtifactError: the text is no sum of irreps of one group.
        """
        text = text.replace(" ", "")
        terms = text.split("+") if text else []
        if len(terms) == 1 and terms[0].isdecimal():
            return cls.build("trivial", [(int(terms[0]), 0, 0)])
        if all(match := [_O3.fullmatch(term) for term in terms]):
            parts = [(int(m[1] or 1), int(m[2]), 1 if m[3] == "e" else -1) for m in match if m]
            return cls.build("O(3)", parts)
        if all(match := [_SO2.fullmatch(term) for term in terms]):
            return cls.build("SO(2)", [(int(m[1]), int(m[2]), 0) for m in match if m])
        raise ArtifactError(
            f"`{text}` is no representation", help="expected one such as `16x0e+8x1o`, `2x1+3x0` or `5`"
        )

    @classmethod
    def build(cls, group: str, parts: list[tuple[int, int, int]]) -> Irreps:
        """Irreps of `group` from (mul, l, p) in order."""
        blocks, start = [], 0
        for mul, l, p in parts:
            size = {"O(3)": 2 * l + 1, "SO(2)": 1 if l == 0 else 2, "trivial": 1}[group]
            blocks.append(Block(mul, l, p, size, start))
            start += mul * size
        return cls(group, tuple(blocks))

    def __str__(self) -> str:
        if self.group == "trivial":
            return str(self.dim)
        parity = {1: "e", -1: "o", 0: ""}
        return "+".join(f"{block.mul}x{block.l}{parity[block.p]}" for block in self.blocks)

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> Block:
        return self.blocks[index]

    @property
    def dim(self) -> int:
        """How many numbers one element takes."""
        return sum(block.dim for block in self.blocks)

    @property
    def count(self) -> int:
        """How many irreps there are."""
        return sum(block.mul for block in self.blocks)

    @property
    def invariants(self) -> int:
        """How many numbers of O(3) there are that nothing moves: copies of 0e."""
        return sum(block.mul for block in self.blocks if block.irrep == (0, 1))

    @property
    def kinds(self) -> tuple[tuple[int, int], ...]:
        """The different (l, p), in order of first appearance."""
        return tuple(dict.fromkeys(block.irrep for block in self.blocks))
