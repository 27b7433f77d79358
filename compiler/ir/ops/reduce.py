"""From edges to nodes, from nodes to systems, from pairs to states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ..types import Index, Type
from .base import Op, Ref, Scope, Site, Work, result_like

NORMS = ("sum", "average", "root_average", "mean")


class Reduce(Op):
    """Sum over the edges into a node, over the nodes of a system, or over the pairs of bodies of a state.

    `average` divides by the mean number of neighbours in the training data, `root_average` by its square root
    (constants, so sums stay extensive); `mean` by the number of neighbours at hand, or of nodes of the system
    (so the result is intensive, and every node has a say in it). Type: edge R -> node R, node R -> system R,
    pair R -> state R. Verdict: exact. Smooth: as edges fade at the cutoff; their `mean` jumps with their number.
    Where edges lead to the nearest nodes the sum jumps when these change.
    """

    kind: Literal["reduce"] = "reduce"
    of: Ref
    to: Literal["node", "system", "state"]
    norm: Literal["sum", "average", "root_average", "mean"] = "sum"

    reference: ClassVar[str] = "gilmer2017neural"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        wanted = {"node": Index.EDGE, "system": Index.NODE, "state": Index.PAIR}[self.to]
        if x.index is not wanted or x.affine:
            site.error(
                Code.INDEX_MISMATCH,
                f"`reduce` to {self.to} sums values on {wanted}s, but gets {x}",
                help=f"sum values on {wanted}s, or write another `to`",
            )
            return None
        if self.norm not in {"node": NORMS, "system": ("sum", "mean"), "state": ("sum",)}[self.to]:
            site.error(
                Code.INDEX_MISMATCH,
                f"`norm: {self.norm}` does not fit `to: {self.to}`",
                help="divide sums over edges by `average`, sums over the nodes of a system by `mean`",
            )
            return None
        if self.to == "node":
            ends = -1.0 if self.norm == "mean" else x.fades
            if site.scope.pairs == "all":  # nobody comes or goes
                ends = math.inf
            elif site.scope.pairs == "nearest":  # another neighbour takes the place of one at once
                ends = -1.0
            return result_like(types, index=Index.NODE, smooth=min(x.smooth, ends))
        radius = math.inf if self.norm == "mean" else x.radius
        return result_like(types, index=Index(self.to), radius=radius)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"from": str(types[0].index), "to": self.to, "norm": self.norm}

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        return {types[0].index: Work(result.dim, 0), result.index: Work(0, result.dim)}
