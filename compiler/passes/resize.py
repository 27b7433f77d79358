"""Keep the radial networks as wide as the products that they weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import Linear, Mlp, Product, Weigh
from ..ir.types import Type
from ..language.diagnostics import Report
from ..symmetry.irreps import Block, Irrep, Irreps
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
            if op.weights in types and types[op.weights].dim != count:
                for feeding in _resized(nodes, op.weights, count):
                    nodes[feeding.name] = feeding
                    infer_node(feeding, types, quiet)
        infer_node(node, types, quiet)
    return replace(graph, nodes=tuple(nodes[one.name] for one in graph.nodes))


def _resized(nodes: Mapping[str, Node], name: str, count: int) -> list[Node]:
    """What gives a value, resized to `count` numbers: a network or sums, which an envelope may multiply."""
    node = nodes[name]
    match node.op:
        case Mlp():
            return [replace(node, op=node.op.model_copy(update={"out": count}))]
        case Linear():
            out = Irreps((Block(count, Irrep(0, 1)),))
            return [replace(node, op=node.op.model_copy(update={"out": out}))]
        case Weigh(copies=1):
            return [*_resized(nodes, node.op.of, count), node]
    return []
