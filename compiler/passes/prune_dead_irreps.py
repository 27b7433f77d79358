"""Drop irreps that nobody reads, backwards from the outputs.

Before:  %7 = linear(%6) {out: 64x0e+64x1o}
         %8 = linear(%7) {out: 1x0e}
After:   %7 = linear(%6) {out: 64x0e}
         %8 = linear(%7) {out: 1x0e}

So "scalars only in the last layer" is derived, not declared; harmonics end at the highest degree that some path
couples. A relaxed linear reads every irrep, and keeps them, as does what pairs irreps by their place (gates, norms
over irreps). Terms of a sum stay alike: what one of them cannot drop, all keep.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import (
    Act,
    Add,
    Attend,
    Concat,
    Difference,
    Dilute,
    Gather,
    Linear,
    Power,
    Product,
    Reduce,
    Scale,
    Sph,
)
from ..ir.types import Cartesian, Type
from ..symmetry.irreps import Irrep, Irreps
from .context import Context
from .infer_types import infer_missing
from .resize import resize_weights

Live = dict[str, set[Irrep]]


def prune_dead_irreps(graph: Graph, ctx: Context) -> Graph:
    """Narrow what makes irreps to those that reach an output; what changed loses its type."""
    kept = graph.reachable()
    graph = replace(graph, nodes=tuple(node for node in graph.nodes if node.name in kept))
    types = graph.types()
    needed: Live = {node.name: set() for node in graph.nodes}
    for name in graph.outputs.values():
        needed[name] |= _all(types[name])
    while True:
        live = {name: set(irreps) for name, irreps in needed.items()}
        for node in reversed(graph.nodes):
            _propagate(node, live, types)
        pruned = resize_weights(graph.map(lambda node: _narrowed(node, live[node.name])), ctx)  # noqa: B023
        if not _require_equal_terms(pruned, needed, ctx):
            return pruned


def _require_equal_terms(pruned: Graph, needed: Live, ctx: Context) -> bool:
    """Ask for the irreps of all terms in each of them, where some lost what others keep; was there any?"""
    found = infer_missing(pruned.map(lambda node: replace(node, type=None)), ctx).types()
    changed = False
    for node in pruned.nodes:
        if isinstance(node.op, (Add, Difference)):
            terms = [name for _, name in node.op.inputs() if name in found]
            everything = {irrep for name in terms for irrep in _all(found[name])}
            for name in terms:
                if everything - _all(found[name]) - needed[name]:
                    needed[name] |= everything
                    changed = True
    return changed


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
        case Add() | Gather() | Reduce() | Scale() | Difference() | Concat():
            for _, name in node.op.inputs():
                live[name] |= mine & _all(types[name])
        case Attend():
            live[node.op.of] |= mine & _all(types[node.op.of])
            for port, name in node.op.inputs():
                if port != "of":
                    live[name] |= _all(types[name])
        case Dilute():
            live[node.op.of] |= mine & _all(types[node.op.of])
            live[node.op.by] |= _all(types[node.op.by])
        case Act() if node.op.form in ("pointwise", "norm", "vn_relu"):
            live[node.op.of] |= mine
        # blocks of `elementwise` pair by their place, factors are fitted to all that is asked for
        case Product() if node.op.mode not in ("elementwise", "cp"):
            inputs = [types[name] for name in node.op.of]
            for path in node.op.paths(inputs):
                if path.out.irrep in mine:
                    live[node.op.of[0]].add(inputs[0].irreps.blocks[path.left].irrep)
                    live[node.op.of[1]].add(inputs[1].irreps.blocks[path.right].irrep)
            if node.op.weights is not None:
                live[node.op.weights] |= _all(types[node.op.weights])
        case Power() if mine:
            live[node.op.of] |= node.op.reads(types[node.op.of].irreps, mine)
            live[node.op.species] |= _all(types[node.op.species])
        case _:
            for _, name in node.op.inputs():
                live[name] |= _all(types[name])


def _narrowed(node: Node, live: set[Irrep]) -> Node:
    match node.op:
        case Linear() | Power():
            field = "out"
        case Product() if node.op.mode != "cp":
            field = "irreps"
        case Sph() if live and max(irrep.l for irrep in live) < node.op.lmax:
            lmax = max(irrep.l for irrep in live)
            return replace(node, op=node.op.model_copy(update={"lmax": lmax}), type=None)
        case _:
            return node
    now: Irreps = getattr(node.op, field)
    narrow = now.keeping(live)
    if narrow == now or not narrow.blocks:
        return node
    return replace(node, op=node.op.model_copy(update={field: narrow}), type=None)
