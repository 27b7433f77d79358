"""Refuse gradients through axes that jump: where they do, the energy has no derivative."""

from __future__ import annotations

import networkx as nx

from ..ir.graph import Graph
from ..ir.ops import Frame, Grad
from ..language.codes import Code
from .context import Context


def check_smoothness(graph: Graph, ctx: Context) -> Graph:
    """Report every target that is a gradient of what `frame` ops make C^-1, at the first of them; changes nothing."""
    network = graph.network()
    for target, name in graph.outputs.items():
        op = graph[name].op
        if not isinstance(op, Grad) or op.of not in graph:
            continue
        behind = nx.ancestors(network, op.of)
        for node in graph.nodes:
            if node.name in behind and isinstance(node.op, Frame) and node.type and node.type.smooth < 0:
                ctx.report.error(
                    Code.GRADIENT_OF_JUMP,
                    node.span,
                    f"`{target}` is a gradient of `{op.of}`, but the axes of `{node.name}` jump",
                    help="use the frame of an edge (`form: edge_z`, with `so2`), or leave the gradient out",
                    related=((ctx.source.span(("targets", target), key=True), "it is declared here"),),
                )
                break
    return graph
