"""Compute the same value once: ops without weights that read the same values are one.

Before:  %3 = sph(%2) {lmax: 3}
         %4 = sph(%2) {lmax: 3}
         %5 = product(%1, %4)
After:   %3 = sph(%2) {lmax: 3}
         %5 = product(%1, %3)

So harmonics, radial bases, lengths and gathers are shared across layers. Ops with weights are never merged: two
linears that are written alike may learn apart.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from .context import Context


def share_common(graph: Graph, ctx: Context) -> Graph:
    """Let every value be made by the first op that makes it; outputs keep the ops that they are named after."""
    same: dict[str, str] = {}  # a name that is gone: the one that stands for it
    first: dict[str, str] = {}  # what is computed: where
    kept: list[Node] = []
    for node in graph.nodes:
        op = node.op.renamed(same)
        key = op.text({name: name for _, name in op.inputs()})
        if key in first and _is_pure(node, graph, ctx):
            same[node.name] = first[key]
            continue
        first.setdefault(key, node.name)
        kept.append(node if op == node.op else replace(node, op=op))
    if not same:
        return graph
    outputs = {target: same.get(name, name) for target, name in graph.outputs.items()}
    return Graph(tuple(kept), outputs)


def _is_pure(node: Node, graph: Graph, ctx: Context) -> bool:
    types = [graph.type(name) for _, name in node.op.inputs()]
    return node.op.parameters(types, graph.type(node.name), ctx.scope) == 0
