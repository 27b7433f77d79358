"""Open the linear maps, products and powers where a symmetry is relaxed or free.

Before:  %3 = linear(%2) {out: 16x0e}                            # O(3): {relaxed: 0.1}
After:   %3 = linear(%2) {out: 16x0e, relax: [O(3) 0.1]}

A strength of zero changes nothing, so that `relaxed: 0` compiles to the very graph of `hard`.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import Linear, Power, Product
from .context import Context
from .resize import resize_weights


def relax_symmetry(graph: Graph, ctx: Context) -> Graph:
    """Give every relaxable op the dials of the spec; path weights are resized to the new paths."""
    dials = ctx.dials()
    if not dials:
        return graph
    inversion = tuple(dial for dial in dials if "inversion" in dial.factors)

    def relaxed(node: Node) -> Node:
        match node.op:
            case Linear():
                return replace(node, op=node.op.model_copy(update={"relax": dials}))
            case Product() | Power() if inversion:
                return replace(node, op=node.op.model_copy(update={"relax": inversion}))
        return node

    return resize_weights(graph.map(relaxed), ctx)
