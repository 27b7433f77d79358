"""Parallel linear maps of one value, as one product: what `merge_linears` makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Irreps
from ..types import Index, Type
from .base import IrrepsField, Op, Ref, Scope, Site, Work, expect_irreps, result_like


class Merged(Op):
    """Several linear maps of one value side by side: y = W_1 x (+) W_2 x (+) ..., with one product for each irrep.

    The weights are those of the `part` ops named by `parts`, each of which gives one of the results. Type: R -> the
    sum of `outs`. Verdict: exact.
    """

    kind: Literal["merged"] = "merged"
    of: Ref
    parts: tuple[str, ...]
    outs: tuple[IrrepsField, ...]

    reference: ClassVar[str] = "thomas2018tensor"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`merged`"):
            return None
        out = sum(self.outs, Irreps(()))
        missing = [irrep for irrep in out.kinds if not x.irreps.mul_of(irrep)]
        if missing or len(self.parts) != len(self.outs) or not self.outs:
            names = " and ".join(f"`{irrep}`" for irrep in missing)
            site.error(
                Code.UNREACHABLE_BY_LINEAR,
                f"no equivariant linear map reaches {names} from `{x.irreps.short}`"
                if missing
                else f"`merged` has {len(self.parts)} parts, but {len(self.outs)} results",
                help="write one `linear` for each result: they are merged where that takes less time",
            )
            return None
        return result_like(types, rep=out, fades=x.fades)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        outs = [str(out) for out in self.outs]
        return {"in": str(types[0].irreps), "outs": outs, "parts": list(self.parts)}

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        into, out = types[0].irreps, result.irreps
        flops = 2 * sum(irrep.dim * into.mul_of(irrep) * out.mul_of(irrep) for irrep in out.kinds)
        return {result.index: Work(flops, result.dim)}


class Part(Op):
    """One of the results of `merged`, which holds the weights of its map.

    Numbers `start` and on, as many as `out` has components. Type: part of R. Verdict: exact.
    """

    kind: Literal["part"] = "part"
    of: Ref
    source: IrrepsField
    out: IrrepsField
    start: int

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`part`"):
            return None
        at, blocks = 0, []
        for block in x.irreps:
            if self.start <= at < self.start + self.out.dim:
                blocks.append(block)
            at += block.dim
        if tuple(blocks) != self.out.blocks:
            site.error(
                Code.REP_MISMATCH,
                f"`{self.out.short}` are not the numbers of `{self.of}` from {self.start} on",
                help="write one `linear` for each result: they are merged where that takes less time",
            )
            return None
        return result_like(types, rep=self.out, fades=x.fades)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"in": str(self.source), "out": str(self.out), "start": self.start}

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        return sum(self.source.mul_of(irrep) * self.out.mul_of(irrep) for irrep in self.out.kinds)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        return {result.index: Work(0, 0)}
