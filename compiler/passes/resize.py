"""Keep the radial networks as wide as the products that they weight."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import Mlp, Product
from .context import Context


def resize_weights(graph: Graph, ctx: Context) -> Graph:
    """Give every network that feeds a product as many outputs as the product has path weights.

    Types may be stale here: the left and right of a product are inferred afresh, without reports.
    """
    from ..language.diagnostics import Report
    from .infer_types import infer_types

    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        if not isinstance(node.op, Product):
            continue
        current = replace(graph, nodes=tuple(nodes[one.name] for one in graph.nodes))
        quiet = replace(ctx, report=Report(), reasons={})
        types = infer_types(current, quiet).types()
        if not all(name in types for name in node.op.of):
            continue
        count = sum(path.out.mul for path in node.op.paths([types[name] for name in node.op.of]))
        feeding = nodes[node.op.weights]
        if isinstance(feeding.op, Mlp) and feeding.op.out != count:
            nodes[feeding.name] = _resized(feeding, count)
    return replace(graph, nodes=tuple(nodes[one.name] for one in graph.nodes))


def _resized(node: Node, out: int) -> Node:
    return replace(node, op=node.op.model_copy(update={"out": out}))
