"""Symmetric powers of features: many bodies at the cost of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import combinations_with_replacement
from math import comb, prod
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Irrep, Irreps, symmetric_power_paths
from ..types import Categories, Index, Type
from .base import MAX_ORDER, Dial, IrrepsField, Op, Order, Ref, Scope, Site, Work, expect_irreps, result_like
from .paths import inversion_strength


class Power(Op):
    """Symmetric powers of the features up to `order`, weighted per species and channel: many-body features.

        B_(L,M,c) = sum_(nu <= order) sum_eta W^(nu)_(z,eta,c) U^(nu)_(eta,LM)[A_c, ..., A_c]

    U is a complete basis of the equivariant symmetric maps. All blocks of A share one multiplicity.

    - coupled: orthonormal maps, by the monomials of A. Generated C serves it.
    - recursive: products of A with products of A, one factor at a time, as many as there are orthonormal maps, and of
      the same span: the same functions by other weights.

    Verdict: exact; paths that parity forbids enter scaled by s where inversion is relaxed.
    """

    kind: Literal["power"] = "power"
    of: Ref
    species: Ref
    order: Order
    out: IrrepsField
    basis: Literal["coupled", "recursive"] = "coupled"
    relax: tuple[Dial, ...] = ()

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "batatia2022mace"

    def cites(self) -> str:
        return "dusson2022atomic" if self.basis == "recursive" else self.reference

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        a = types[0]
        if not expect_irreps(a, site, "`power`"):
            return None
        if not isinstance(types[1].rep, Categories):
            site.error(
                Code.REP_MISMATCH,
                f"`species` of a power needs species, but gets {types[1]}",
                help="write `species: species`",
            )
            return None
        if not site.expect_one_set(types, "`power`"):
            return None
        if a.irreps.channels is None or a.irreps.channels != self.out.channels:
            site.error(
                Code.CHANNELS_UNEQUAL,
                "a symmetric power needs one number of channels, but gets "
                f"`{a.irreps.short}` -> `{self.out.short}`",
                help=f"write `{_even_channels(a.irreps, self.out)}`",
            )
            return None
        missing = [irrep for irrep in self.out.kinds if not self._paths(a.irreps, irrep)]
        if missing:
            names = " and ".join(f"`{irrep}`" for irrep in missing)
            site.error(
                Code.UNREACHABLE_BY_POWER,
                f"a power of order {self.order} makes no {names} of `{a.irreps.short}`",
                help=self._cure(a.irreps, missing),
            )
            return None
        result = result_like(types, rep=self.out)
        if self.relax and inversion_strength(self.relax):
            reason = "products that parity forbids enter it"
            result = result.with_(holds=site.broken(result.holds, ("inversion",), reason))
        return result

    def _cure(self, irreps: Irreps, missing: Sequence[Irrep]) -> str:
        """The smallest order that reaches what is missing, or the features that do."""
        fewer = "or ask for fewer irreps (a smaller `carry`, `hidden_lmax` in a preset)"
        for order in range(self.order + 1, MAX_ORDER + 1):
            higher = self.model_copy(update={"order": order})
            if all(higher._paths(irreps, one) for one in missing):
                return f"`order: {order}` reaches it (`correlation: {order}` in a preset), {fewer}"
        wanted = "+".join(f"{irreps.channels}x{irrep}" for irrep in missing)
        return f"add `{wanted}` to the features (raise `lmax` in a preset), {fewer}"

    def _paths(self, irreps: Irreps, irrep: Any) -> int:
        """Weights per channel and species for one resulting irrep."""
        leak = inversion_strength(self.relax)
        total = 0
        for nu in range(1, self.order + 1):
            for found, count in symmetric_power_paths(irreps.kinds, nu).items():
                if found.l == irrep.l and (found.p == irrep.p or leak):
                    total += count
        return total

    def reads(self, irreps: Irreps, wanted: Iterable[Irrep]) -> set[Irrep]:
        """The irreps of the input that enter some wanted result."""
        found: set[Irrep] = set()
        for irrep in irreps.kinds:
            others = irreps.keeping([one for one in irreps.kinds if one != irrep])
            if any(self._paths(others, one) < self._paths(irreps, one) for one in wanted):
                found.add(irrep)
        return found

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {
            "in": str(types[0].irreps),
            "out": str(self.out),
            "order": self.order,
            "species": len(scope.species),
            "relax": [dial.json() for dial in self.relax] or None,
            **({} if self.basis == "coupled" else {"basis": self.basis}),
        }

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        channels = self.out.channels or 0
        paths = sum(self._paths(types[0].irreps, irrep) for irrep in self.out.kinds)
        return channels * paths * len(scope.species)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        if self.basis == "recursive":
            return {result.index: self._recursive_work(types[0].irreps, result.dim)}
        leak = bool(inversion_strength(self.relax))
        channels, kinds = self.out.channels or 0, types[0].irreps.kinds
        flops, kept = 0.0, float(result.dim)
        for nu in range(1, self.order + 1):
            found = symmetric_power_paths(kinds, nu)
            for parity in (1, -1):
                outs = tuple(out for out in self.out.kinds if out.p == parity or leak)
                rows = sum(found.get(Irrep(out.l, parity), 0) * out.dim for out in outs)
                terms = _monomials(kinds, nu, parity, outs) if rows else 0
                flops += channels * (2 * rows * terms + 2 * rows + terms)
                kept += channels * (2 * terms + 2 * rows)
        return {result.index: Work(flops, kept)}

    def _recursive_work(self, a: Irreps, size: int) -> Work:
        """Every chain is a sum over the components of one of the degree below; the last are joined before that."""
        channels, highest = self.out.channels or 0, self.out.lmax
        flops, kept = 0.0, float(size)
        before = dict.fromkeys(a.kinds, 1)
        for nu in range(2, self.order + 1):
            limit = highest + a.lmax * (self.order - nu)
            found = {
                irrep: count
                for irrep, count in symmetric_power_paths(a.kinds, nu).items()
                if (irrep.l <= limit if nu < self.order else irrep in self.out.kinds)
            }
            depth = sum(n * one.dim for one, n in before.items()) / sum(before.values())
            last = nu == self.order
            flops += channels * sum(2 * depth * n * (1 if last else one.dim) for one, n in found.items())
            kept += channels * sum(depth * n * (1 if last else one.dim) for one, n in found.items())
            before = found
        return Work(flops, kept)


def _even_channels(have: Irreps, want: Irreps) -> str:
    channels = min(block.mul for block in (have + want).blocks)
    return "+".join(f"{channels}x{block.irrep}" for block in have.blocks)


# Beyond so many products of variables, those that only parity forbids are left out of the count.
_MOST_COUNTED = 5000


@cache
def _monomials(kinds: tuple[Irrep, ...], degree: int, parity: int, outs: tuple[Irrep, ...]) -> int:
    """Products of `degree` components that enter some result of this parity.

    About the polar axis component m turns by m angles, so a product reaches the components |m1 +- m2 +- ...|;
    and in a mirror plane through it, cosines (m >= 0) stay where sines (m < 0) flip.
    """
    variables = [
        (abs(m), m < 0, one.p, one.p != (-1) ** one.l) for one in kinds for m in range(-one.l, one.l + 1)
    ]
    if comb(len(variables) + degree - 1, degree) > _MOST_COUNTED:
        odd = sum(p < 0 for _, _, p, _ in variables)
        first = 0 if parity > 0 else 1
        return sum(
            _multisets(odd, k) * _multisets(len(variables) - odd, degree - k)
            for k in range(first, degree + 1, 2)
        )
    count = 0
    for chosen in combinations_with_replacement(variables, degree):
        if prod(p for _, _, p, _ in chosen) != parity:
            continue
        flips = sum(sine != unnatural for _, sine, _, unnatural in chosen) % 2
        reached = {0}
        for m, *_ in chosen:
            reached = {abs(r + m) for r in reached} | {abs(r - m) for r in reached}
        lowest = {sine: min((r for r in reached if r >= sine), default=degree * 99) for sine in (0, 1)}
        count += any(lowest[flips ^ (parity != (-1) ** out.l)] <= out.l for out in outs)
    return count


def _multisets(variables: int, size: int) -> int:
    return comb(variables + size - 1, size) if variables else int(size == 0)
