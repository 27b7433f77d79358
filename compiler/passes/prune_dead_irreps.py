"""Drop irreps that nobody reads, backwards from the outputs.

Before:  %7 = linear(%6) {out: 64x0e+64x1o}
         %8 = linear(%7) {out: 1x0e}
After:   %7 = linear(%6) {out: 64x0e}
         %8 = linear(%7) {out: 1x0e}

So "scalars only in the last layer" is derived, not declared; harmonics end at the highest degree that some path
couples. A relaxed linear reads every irrep, and keeps them, as does what pairs irreps by their place (norms over
irreps). What a gate scales goes with its gates, where the linear maps before it make both for the gate alone. Terms of
a sum stay alike: what one of them cannot drop, all keep.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import (
    Act,
    Add,
    Attend,
    Bias,
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
from ..ir.ops.act import gated_part
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
    made = {node.name: found for node in graph.nodes if (found := _makers(graph, node))}
    while True:
        live = {name: set(irreps) for name, irreps in needed.items()}
        for node in reversed(graph.nodes):
            _propagate(node, live, types, made)
        spare = _spare_gates(graph, made, live, types)
        pruned = graph.map(lambda node: _narrowed(node, live[node.name], spare.get(node.name, 0)))  # noqa: B023
        pruned = resize_weights(pruned, ctx)
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


def _makers(graph: Graph, gate: Node) -> list[str]:
    """The linear maps that make all of what a gate reads, for it alone; none where something else has a part in it."""
    if not isinstance(gate.op, Act) or gate.op.form != "gate":
        return []
    readers = Counter(name for node in graph.nodes for _, name in node.op.inputs())
    found, waiting = [], [gate.op.of]
    while waiting:
        node = graph[waiting.pop()]
        if readers[node.name] != 1 or node.name in graph.outputs.values():
            return []
        match node.op:
            case Linear() if not node.op.relax and not node.op.bias:
                found.append(node.name)
            case Add() | Bias():
                waiting += [name for _, name in node.op.inputs()]
            case _:
                return []
    return found


def _spare_gates(
    graph: Graph, made: dict[str, list[str]], live: Live, types: dict[str, Type]
) -> dict[str, int]:
    """How many scalars each linear map makes for irreps that no gate scales any more."""
    spare: dict[str, int] = {}
    for name, makers in made.items():
        gate = graph[name].op
        assert isinstance(gate, Act)
        dead = [block for block in types[gate.of].irreps if block.irrep not in live[gate.of]]
        count = gated_part(Irreps(tuple(dead)), gate.odd).count
        spare |= dict.fromkeys(makers, count)
    return spare


def _all(type_: Type) -> set[Irrep]:
    rep = type_.rep.irreps if isinstance(type_.rep, Cartesian) else type_.rep
    return set(rep.kinds) if isinstance(rep, Irreps) else set()


def _propagate(node: Node, live: Live, types: dict[str, Type], made: dict[str, list[str]]) -> None:
    """Mark what this op reads, given what of its result is live."""
    mine = live[node.name]
    match node.op:
        case Linear() if not node.op.relax:
            live[node.op.of] |= mine & _all(types[node.op.of])
            if node.op.species:
                live[node.op.species] |= _all(types[node.op.species])
        case Add() | Bias() | Gather() | Reduce() | Scale() | Difference() | Concat():
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
        case Act() if node.name in made:
            live[node.op.of] |= (mine | {Irrep(0, 1)}) & _all(types[node.op.of])
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


def _narrowed(node: Node, live: set[Irrep], spare: int) -> Node:
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
    narrow = _without_scalars(now.keeping(live), spare)
    if narrow == now or not narrow.blocks:
        return node
    return replace(node, op=node.op.model_copy(update={field: narrow}), type=None)


def _without_scalars(irreps: Irreps, count: int) -> Irreps:
    """The irreps without so many of the last invariants."""
    blocks = []
    for block in reversed(irreps.blocks):
        gone = min(count, block.mul) if block.irrep.is_invariant else 0
        count -= gone
        if block.mul > gone:
            blocks.append(replace(block, mul=block.mul - gone))
    return Irreps(tuple(reversed(blocks)), irreps.group)
