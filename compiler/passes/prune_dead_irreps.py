"""Drop irreps that nobody reads, backwards from the outputs.

Before:  %7 = linear(%6) {out: 64x0e+64x1o}
         %8 = linear(%7) {out: 1x0e}
After:   %7 = linear(%6) {out: 64x0e}
         %8 = linear(%7) {out: 1x0e}

So "scalars only in the last layer" is derived, not declared. A relaxed linear reads every irrep,
and keeps them.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import Act, Add, Gather, Linear, Power, Product, Reduce
from ..ir.types import Cartesian, Type
from ..symmetry.irreps import Irrep, Irreps
from .context import Context
from .resize import resize_weights

Live = dict[str, set[Irrep]]


def prune_dead_irreps(graph: Graph, ctx: Context) -> Graph:
    """Narrow every linear, power and product to the irreps that reach an output; what changed loses its type."""
    kept = graph.reachable()
    graph = replace(graph, nodes=tuple(node for node in graph.nodes if node.name in kept))
    types = graph.types()
    live: Live = {node.name: set() for node in graph.nodes}
    for name in graph.outputs.values():
        live[name] |= _all(types[name])
    for node in reversed(graph.nodes):
        _propagate(node, live, types)
    pruned = graph.map(lambda node: _narrowed(node, live[node.name]))
    return resize_weights(pruned, ctx)


def _all(type_: Type) -> set[Irrep]:
    rep = type_.rep.irreps if isinstance(type_.rep, Cartesian) else type_.rep
    return set(rep.kinds) if isinstance(rep, Irreps) else set()


def _propagate(node: Node, live: Live, types: dict[str, Type]) -> None:
    """Mark what this op reads, given what of its result is live."""
    mine = live[node.name]
    match node.op:
        case Linear() if not node.op.relax:
            live[node.op.of] |= mine & _all(types[node.op.of])
            if node.op.species:
                live[node.op.species] |= _all(types[node.op.species])
        case Add() | Gather() | Reduce():
            for _, name in node.op.inputs():
                live[name] |= mine & _all(types[name])
        case Act() if node.op.form in ("pointwise", "norm", "vn_relu"):
            live[node.op.of] |= mine
        case Product() if node.op.mode != "elementwise":  # whose blocks pair by their place
            inputs = [types[name] for name in node.op.of]
            for path in node.op.paths(inputs):
                if path.out.irrep in mine:
                    live[node.op.of[0]].add(inputs[0].irreps.blocks[path.left].irrep)
            live[node.op.of[1]] |= _all(inputs[1])
            if node.op.weights is not None:
                live[node.op.weights] |= _all(types[node.op.weights])
        case _:
            for _, name in node.op.inputs():
                live[name] |= _all(types[name])


def _narrowed(node: Node, live: set[Irrep]) -> Node:
    match node.op:
        case Linear() | Power():
            field = "out"
        case Product():
            field = "irreps"
        case _:
            return node
    now: Irreps = getattr(node.op, field)
    narrow = now.keeping(live)
    if narrow == now or not narrow.blocks:
        return node
    return replace(node, op=node.op.model_copy(update={field: narrow}), type=None)
