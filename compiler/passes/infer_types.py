"""Give every value its type, from the inputs onward.

Before:  %2 = linear(%1) {out: 16x0e}
After:   %2 = linear(%1) {out: 16x0e} : node: 16x0e

Changes nothing else. What has no type is reported, and what depends on it stays untyped.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops.base import Site
from ..ir.types import Type
from .context import Context


def infer_types(graph: Graph, ctx: Context) -> Graph:
    """The same graph with types; the reasons of broken symmetries go to `ctx.reasons`."""
    types: dict[str, Type] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = [types.get(name) for _, name in node.op.inputs()]
        found: Type | None = None
        known = [one for one in inputs if one is not None]
        if len(known) == len(inputs):
            site = Site(node.name, node.span, ctx.scope, ctx.report, ctx.reasons)
            found = node.op.infer(known, site)
        if found is not None:
            types[node.name] = found
        nodes.append(replace(node, type=found))
    return replace(graph, nodes=tuple(nodes))
