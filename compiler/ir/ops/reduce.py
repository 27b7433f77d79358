"""From edges to nodes, from nodes to systems, from pairs to states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ..types import Index, Type
from .base import Op, Ref, Scope, Site, Work, result_like

NORMS = {
    "edge": ("sum", "average", "root_average"),
    "node": ("sum", "average", "root_average", "mean"),
    "system": ("sum", "mean"),
    "state": ("sum",),
}
_FROM = {"edge": Index.ANGLE, "node": Index.EDGE, "system": Index.NODE, "state": Index.PAIR}


class Reduce(Op):
    """Sum over the edges into a node, over the nodes of a system, or over the pairs of bodies of a state.

    To an edge: over the angles that it is the first edge of, so over the other edges to its target.

    `average` divides by the mean number of neighbours in the training data, `root_average` by its square root
    (constants, so sums stay extensive); `mean` by the number of neighbours at hand, or of nodes of the system
    (so the result is intensive, and every node has a say in it). Type: edge R -> node R, node R -> system R,
    pair R -> state R. Verdict: exact. Smooth: as edges fade at the cutoff; their `mean` jumps with their number.
    Where edges lead to the nearest nodes the sum jumps when these change. Angles must end with both their edges
    (`gather` with `role: both`).
    """

    kind: Literal["reduce"] = "reduce"
    of: Ref
    to: Literal["edge", "node", "system", "state"]
    norm: Literal["sum", "average", "root_average", "mean"] = "sum"

    reference: ClassVar[str] = "gilmer2017neural"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        wanted = _FROM[self.to]
        if x.index is not wanted or x.affine:
            site.error(
                Code.INDEX_MISMATCH,
                f"`reduce` to {self.to} sums values on {wanted}s, but gets {x}",
                help=f"sum values on {wanted}s, or write another `to`",
            )
            return None
        if self.norm not in NORMS[self.to]:
            site.error(
                Code.INDEX_MISMATCH,
                f"`norm: {self.norm}` does not fit `to: {self.to}`",
                help="divide sums over edges by `average`, sums over the nodes of a system by `mean`",
            )
            return None
        if self.to in ("node", "edge"):
            smooth = min(x.smooth, self._ends(x, site))
            fades = x.fades if self.to == "edge" else -1.0
            return result_like(types, index=Index(self.to), smooth=smooth, fades=fades)
        radius = math.inf if self.norm == "mean" else x.radius
        return result_like(types, index=Index(self.to), radius=radius)

    def _ends(self, x: Type, site: Site) -> float:
        """k of C^k where a neighbour comes or goes, with the reason why it jumps."""
        if site.scope.pairs == "all":  # nobody comes or goes
            return math.inf
        if site.scope.pairs == "nearest":
            site.jumps("another neighbour takes the place of one at once")
            return -1.0
        if self.norm == "mean":
            site.jumps("it divides by the number of neighbours, which changes at once")
            return -1.0
        if x.fades < 0:
            site.jumps(f"what it sums, `{self.of}`, does not end at the cutoff: `weigh` it by an `envelope`")
        return x.fades

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"from": str(types[0].index), "to": self.to, "norm": self.norm}

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        return {types[0].index: Work(result.dim, 0), result.index: Work(0, result.dim)}
