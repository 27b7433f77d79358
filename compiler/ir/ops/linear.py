"""Linear maps between features, held equivariant or relaxed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Irreps
from ..types import Categories, Index, Type
from .base import Dial, IrrepsField, Op, Ref, Scope, Site, Work, expect_irreps, result_like


class Linear(Op):
    """y = W x, mixing only copies of equal irreps (Schur's lemma); one W per species when `species` is given.

    `bias` adds a learned number to every invariant of the result, and to nothing else. Irreps of the result
    that x lacks are refused, or `missing: zero`.

    Relaxed: W = [P + s (I - P)] V, so that entries that break the dialled symmetry
    enter scaled by s; s = 1 is unconstrained. Verdict: exact, or broken in the relaxed factors.
    """

    kind: Literal["linear"] = "linear"
    of: Ref
    out: IrrepsField
    species: Ref | None = None
    bias: bool = False
    missing: Literal["refuse", "zero"] = "refuse"
    relax: tuple[Dial, ...] = ()

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "thomas2018tensor"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        x = types[0]
        if not expect_irreps(x, site, "`linear`"):
            return None
        if len(types) > 1 and not isinstance(types[1].rep, Categories):
            site.error(Code.REP_MISMATCH, f"`species` of a linear needs species, but gets {types[1]}")
            return None
        if not site.expect_one_set(types, "`linear`"):
            return None
        if not self.relax and self.missing == "refuse":
            missing = [irrep for irrep in self.out.kinds if not x.irreps.mul_of(irrep)]
            if missing:
                site.error(
                    Code.UNREACHABLE_BY_LINEAR,
                    f"no equivariant linear map reaches {' and '.join(f'`{one}`' for one in missing)} "
                    f"from `{x.irreps.simplified().short}`",
                    help=_how_to_reach(x.irreps, self.out),
                )
                return None
        result = result_like(types, rep=self.out, fades=-1.0 if self.bias else x.fades)
        holds = dict(result.holds)
        for dial in self.relax:
            reason = f"its weights may leave the maps that keep {dial.group}, scaled by s = {dial.strength:g}"
            holds = site.broken(holds, dial.factors, reason)
        return result.with_(holds=holds)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        relaxed = {factor for dial in self.relax for factor in dial.factors}
        return {
            "in": str(types[0].irreps),
            "out": str(self.out),
            "species": _count(types),
            "bias": self.bias,
            "relax": [dial.json() for dial in self.relax] or None,
            "hard": [factor for factor in ("SO(3)", "inversion") if factor not in relaxed],
        }

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        into, out = types[0].irreps, self.out
        equivariant = sum(into.mul_of(irrep) * out.mul_of(irrep) for irrep in out.kinds)
        free = into.dim * out.dim if self.relax else 0
        biases = sum(block.mul for block in out if block.irrep.is_invariant) if self.bias else 0
        return (equivariant + free) * (_count(types) or 1) + biases

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        into, out = types[0].irreps, self.out
        flops = 2 * sum(irrep.dim * into.mul_of(irrep) * out.mul_of(irrep) for irrep in out.kinds)
        flops += 2 * into.dim * out.dim if self.relax else 0
        # up to eight species, every row meets the matrices of all of them in one product
        count = _count(types) or 1
        copies = count if count <= 8 else 1
        return {result.index: Work(flops * copies, out.dim + (copies - 1) * into.dim)}


def _count(types: Sequence[Type]) -> int | None:
    """How many maps there are: one for each species, or for each pair of them."""
    if len(types) < 2:
        return None
    assert isinstance(types[1].rep, Categories)
    return len(types[1].rep.names)


def _how_to_reach(have: Irreps, want: Irreps) -> str:
    kept = want.keeping(have.kinds)
    if not kept.blocks:
        return "features of the wanted irreps must come from a product with the harmonics"
    missing = " and ".join(f"`{one}`" for one in want.kinds if one not in have.kinds)
    return f"add {missing} to what this reads (in a layer: to `irreps` of its message), or ask for `{kept.short}`"
