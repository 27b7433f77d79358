"""From nodes to edges, from edges to pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ..types import Index, Type
from .base import Op, Ref, Scope, Site, Work, expect_irreps, result_like

# role: from where to where
_PLACES = {
    "source": (Index.NODE, Index.EDGE),
    "target": (Index.NODE, Index.EDGE),
    "reverse": (Index.EDGE, Index.EDGE),
    "first": (Index.EDGE, Index.ANGLE),
    "second": (Index.EDGE, Index.ANGLE),
    "both": (Index.EDGE, Index.ANGLE),
    "edges": (Index.TOKEN, Index.EDGE),
    "nodes": (Index.TOKEN, Index.NODE),
}


class Gather(Op):
    """x where another set needs it.

    - source, target: of nodes, at one end of every edge.
    - reverse: of edges, that of the edge which leads back.
    - first, second: of edges, at one of the two edges of every angle. Angles are the ordered pairs of different
      edges that lead to one node, images of one neighbour apart (the line graph).
    - both: of invariants on edges, the product of the two: it ends where either edge does.
    - edges, nodes: of `tokens`, those of either kind.

    Type: R -> R on the other set. Verdict: exact.
    """

    kind: Literal["gather"] = "gather"
    of: Ref
    role: Literal["source", "target", "reverse", "first", "second", "both", "edges", "nodes"] = "source"

    reference: ClassVar[str] = "gilmer2017neural"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        wanted, to = _PLACES[self.role]
        if x.index is not wanted or x.affine:
            site.error(
                Code.INDEX_MISMATCH,
                f"`gather` with `role: {self.role}` takes values of {wanted}s to {to}s, but gets {x}",
                help="positions go to edges by `relative`"
                if x.affine
                else f"of {x.index}s it takes {_roles(x.index)}",
            )
            return None
        if self.role == "both" and (
            not expect_irreps(x, site, "`role: both`") or not self._invariant(x, site)
        ):
            return None
        if self.role == "reverse" and site.scope.pairs == "nearest":
            site.error(
                Code.INDEX_MISMATCH,
                "`role: reverse` takes the edge that leads back, but a nearest neighbour need not have this node "
                "among its own",
                help="let nodes within a distance interact, or all: `interactions: {within: ...}` or `all`",
            )
            return None
        if self.role in ("first", "second"):  # it does not end with the other edge
            return result_like(types, index=to)
        if self.role == "both":
            return result_like(types, index=to, unit=x.unit**2, fades=x.fades)
        if wanted is Index.TOKEN:
            return result_like(types, index=to)
        fades = x.fades if self.role == "reverse" else -1.0
        # an edge reaches as far as its target's sum of edges does: what the target knows is no farther away
        away = 0.0 if self.role == "target" else site.scope.cutoff
        return result_like(types, index=to, radius=x.radius + away, fades=fades)

    @staticmethod
    def _invariant(x: Type, site: Site) -> bool:
        if x.irreps.all_invariant:
            return True
        site.error(
            Code.REP_MISMATCH,
            f"`role: both` multiplies invariants, but gets `{x.irreps.short}`",
            help="gather `first` and `second`, and multiply them by a `product`",
        )
        return False

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"role": self.role}

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        if self.role == "both":
            return {result.index: Work(result.dim, 3 * result.dim, ways=2)}
        return {result.index: Work(0, 0 if types[0].index is Index.TOKEN else result.dim)}


def _roles(index: Index) -> str:
    found = [f"`{role}`" for role, (start, _) in _PLACES.items() if start is index]
    return " or ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "no role"
