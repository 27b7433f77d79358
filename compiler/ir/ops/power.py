"""Symmetric powers of features: many bodies at the cost of one."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
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
    Verdict: exact; paths that parity forbids enter scaled by s where inversion is relaxed.
    """

    kind: Literal["power"] = "power"
    of: Ref
    species: Ref
    order: Order
    out: IrrepsField
    relax: tuple[Dial, ...] = ()

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "batatia2022mace"

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

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {
            "in": str(types[0].irreps),
            "out": str(self.out),
            "order": self.order,
            "species": len(scope.species),
            "relax": [dial.json() for dial in self.relax] or None,
        }

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        channels = self.out.channels or 0
        paths = sum(self._paths(types[0].irreps, irrep) for irrep in self.out.kinds)
        return channels * paths * len(scope.species)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        leak = bool(inversion_strength(self.relax))
        channels = self.out.channels or 0
        odd = sum(irrep.dim for irrep in types[0].irreps.kinds if irrep.p < 0)
        even = sum(irrep.dim for irrep in types[0].irreps.kinds) - odd
        flops, kept = 0.0, float(result.dim)
        for nu in range(1, self.order + 1):
            found = symmetric_power_paths(types[0].irreps.kinds, nu)
            for parity in (1, -1):
                rows = sum(
                    count * irrep.dim
                    for irrep, count in found.items()
                    for out in self.out.kinds
                    if irrep.p == parity and out.l == irrep.l and (out.p == parity or leak)
                )
                terms = _monomials(even, odd, nu, parity) if rows else 0
                flops += channels * (2 * rows * terms + 2 * rows + terms)
                kept += channels * (2 * terms + 2 * rows)
        return {result.index: Work(flops, kept)}


def _even_channels(have: Irreps, want: Irreps) -> str:
    channels = min(block.mul for block in (have + want).blocks)
    return "+".join(f"{channels}x{block.irrep}" for block in have.blocks)


def _monomials(even: int, odd: int, degree: int, parity: int) -> int:
    """Products of `degree` variables, so many of them even and odd under inversion, that have this parity."""

    def choices(variables: int, k: int) -> int:
        return comb(variables + k - 1, k) if variables else int(k == 0)

    first = 0 if parity > 0 else 1
    return sum(choices(odd, k) * choices(even, degree - k) for k in range(first, degree + 1, 2))
