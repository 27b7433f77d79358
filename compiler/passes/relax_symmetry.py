"""Open the linear maps, products and powers where a symmetry is relaxed or free.

Before:  %3 = linear(%2) {out: 16x0e}                            # O(3): {relaxed: 0.1}
After:   %3 = linear(%2) {out: 16x0e, relax: [O(3) 0.1]}

A strength of zero changes nothing, so that `relaxed: 0` compiles to the very graph of `hard`. A linear
map between invariants has nothing to relax, and keeps no dial.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import Linear, Power, Product
from ..ir.ops.base import Dial
from ..ir.ops.paths import ON_SPHERE
from ..ir.types import Type
from ..language.diagnostics import Report
from ..symmetry.irreps import Irreps
from .context import Context
from .infer_types import infer_types
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
            case Product() if node.op.mode in ON_SPHERE or node.op.mode == "cp":
                return node  # these have no paths of another parity
            case Product() | Power() if inversion:
                return replace(node, op=node.op.model_copy(update={"relax": inversion}))
        return node

    opened = resize_weights(graph.map(relaxed), ctx)
    types = infer_types(opened, replace(ctx, report=Report(), reasons={})).types()
    return opened.map(lambda node: _without_idle_dials(node, types))


def _without_idle_dials(node: Node, types: dict[str, Type]) -> Node:
    op = node.op
    if not isinstance(op, Linear) or op.of not in types or not isinstance(types[op.of].rep, Irreps):
        return node
    busy = tuple(dial for dial in op.relax if _opens(dial, op.relax, types[op.of].irreps, op.out))
    return node if busy == op.relax else replace(node, op=op.model_copy(update={"relax": busy}))


def _opens(dial: Dial, dials: tuple[Dial, ...], into: Irreps, out: Irreps) -> bool:
    """Is there an entry of the matrix that breaks this dial's group, and nothing that is held hard?"""
    relaxed = {factor for one in dials for factor in one.factors}
    for a in into.kinds:
        for b in out.kinds:
            broken = set()
            if a.l != b.l or a.l > 0:
                broken.add("SO(3)")
            if a.p != b.p:
                broken.add("inversion")
            # within one l > 0 the part that is not a multiple of the identity breaks SO(3) alone
            if broken <= relaxed and broken & set(dial.factors):
                return True
    return False
