"""From nodes to edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ..types import Index, Type
from .base import Op, Ref, Scope, Site, Work, result_like


class Gather(Op):
    """x at the source (or target) of every edge. Type: node R -> edge R. Verdict: exact."""

    kind: Literal["gather"] = "gather"
    of: Ref
    role: Literal["source", "target"] = "source"

    reference: ClassVar[str] = "gilmer2017neural"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if x.index is not Index.NODE or x.affine:
            site.error(
                Code.INDEX_MISMATCH,
                f"`gather` moves node features to edges, but gets {x}",
                help="read features of nodes; positions go to edges by `relative`",
            )
            return None
        # an edge reaches as far as its target's sum of edges does: what the target knows is no farther away
        away = site.scope.cutoff if self.role == "source" else 0.0
        return result_like(types, index=Index.EDGE, radius=x.radius + away)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"role": self.role}

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        return {result.index: Work(0, result.dim)}
