"""Keep the radial networks as wide as the products that they weight."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import Mlp, Product
from ..ir.types import Type
from ..language.diagnostics import Report
from .context import Context
from .infer_types import infer_node


def resize_weights(graph: Graph, ctx: Context) -> Graph:
    """Give every network that feeds a product as many outputs as the product has path weights.

    Types may be stale here: they are inferred afresh, without reports, in one walk from the inputs on.
    """
    quiet = replace(ctx, report=Report(), reasons={})
    nodes: dict[str, Node] = {}
    types: dict[str, Type] = {}
    for node in graph.nodes:
        nodes[node.name] = node
        op = node.op
        if isinstance(op, Product) and op.weights is not None and all(name in types for name in op.of):
            count = op.weight_count([types[name] for name in op.of])
            feeding = nodes[op.weights]
            if isinstance(feeding.op, Mlp) and feeding.op.out != count:
                nodes[feeding.name] = feeding = _resized(feeding, count)
                infer_node(feeding, types, quiet)
        infer_node(node, types, quiet)
    return replace(graph, nodes=tuple(nodes[one.name] for one in graph.nodes))


def _resized(node: Node, out: int) -> Node:
    return replace(node, op=node.op.model_copy(update={"out": out}))
