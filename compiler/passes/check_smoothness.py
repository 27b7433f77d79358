"""Refuse gradients through axes that jump, where the energy has no derivative; warn of those of other jumps."""

from __future__ import annotations

import networkx as nx

from ..ir.graph import Graph, Node
from ..ir.ops import Frame, Grad
from ..language.codes import Code
from .context import Context


def check_smoothness(graph: Graph, ctx: Context) -> Graph:
    """Report every target that is a gradient of what is only C^-1, at the first op that jumps; changes nothing.

    What `frame` ops make discontinuous is an error; what neighbours do that come or go at once is a warning.
    """
    network = graph.network()
    for target, name in graph.outputs.items():
        op = graph[name].op
        if not isinstance(op, Grad) or op.of not in graph:
            continue
        behind = nx.ancestors(network, op.of) | {op.of}
        nodes = [node for node in graph.nodes if node.name in behind and node.type and node.type.smooth < 0]
        axes = next((node for node in nodes if isinstance(node.op, Frame)), None)
        jump = next((node for node in nodes if (node.name, "continuity") in ctx.reasons), None)
        declared = ((ctx.source.span(("targets", target), key=True), "it is declared here"),)
        if axes is not None:
            ctx.report.error(
                Code.GRADIENT_OF_JUMP,
                axes.span,
                f"`{target}` is a gradient of `{op.of}`, but the axes of `{axes.name}` jump",
                help="use the frame of an edge (`form: edge_z`, with `so2`), or leave the gradient out",
                related=declared,
            )
        elif jump is not None and op.wrt in ("positions", "strain"):
            _warn(f"`{target}` is a gradient of `{op.of}`, which jumps at `{jump.name}`", jump, declared, ctx)
    return graph


def _warn(words: str, jump: Node, declared: tuple, ctx: Context) -> None:
    nearest = ctx.scope.pairs == "nearest"
    ctx.report.warning(
        Code.JUMPING_ENERGY,
        ctx.source.span(("system", "interactions"), key=True) if nearest else jump.span,
        f"{words}: {ctx.reasons[jump.name, 'continuity']}",
        help="let all neighbours within a cutoff interact" if nearest else "see `equic explain P421`",
        related=declared,
    )
