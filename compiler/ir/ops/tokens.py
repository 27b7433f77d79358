"""Edges and nodes as one set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from ...language.codes import Code
from ..types import Index, Type
from .base import Op, Ref, Site, Work, result_like


class Tokens(Op):
    """Values of edges and values of nodes as the tokens of one set, so that ops treat them with the same weights.

    `attend` among `tokens` weighs those around one node, its own among them; `gather` with the role `edges` or
    `nodes` takes either back.

    Type: edge R, node R -> token R. Verdict: exact.
    """

    kind: Literal["tokens"] = "tokens"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "pozdnyakov2023smooth"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        edges, nodes = types
        if edges.index is not Index.EDGE or nodes.index is not Index.NODE or edges.affine or nodes.affine:
            site.error(
                Code.INDEX_MISMATCH,
                f"`tokens` joins values on edges with values on nodes, but gets {edges} and {nodes}",
                help="write `of: [EDGES, NODES]`",
            )
            return None
        if edges.rep != nodes.rep or edges.unit != nodes.unit:
            site.error(
                Code.REP_MISMATCH,
                f"`tokens` needs equal types, but gets {edges} and {nodes}",
                help="bring both to one representation with a `linear`",
            )
            return None
        return result_like(types, index=Index.TOKEN)

    def work(self, types: Sequence[Type], result: Type, scope: object) -> dict[Index, Work]:
        return {Index.TOKEN: Work(0, result.dim)}
