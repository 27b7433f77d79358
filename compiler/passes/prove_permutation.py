"""Prove that bodies declared alike may be swapped: exchange two of them in the graph, and find the same graph.

Before:  hamiltonian: state: 1x0
After:   hamiltonian: state: 1x0                       # kinetic energies of equal mass, one network for all pairs
    or:  hamiltonian: state: 1x0; permutation broken   # by the first term that tells them apart

Two values are the same when they are made by the same ops from the same values; ops with weights are the same only
as themselves. Sums and distances do not care for order.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ..ir.graph import Graph, Node
from ..ir.ops import Add, Poisson
from ..ir.types import Hold, Verdict
from ..language.schema import Permutation
from .context import Context

FACTOR = "permutation"


def prove_permutation(graph: Graph, ctx: Context) -> Graph:
    """Give the targets of a phase space their verdict under the declared swaps; nothing else changes."""
    declared = ctx.spec.symmetry.get(FACTOR)
    if not isinstance(declared, Permutation) or not graph.is_typed:
        return graph
    culprit = _culprit(graph, ctx, declared)
    if culprit is None:
        return graph
    name, pair = culprit
    ctx.reasons[(name, FACTOR)] = f"it tells `{pair[0]}` and `{pair[1]}` apart"
    broken = Hold(Verdict.BROKEN, frozenset({name}))
    targets = set(graph.outputs.values())
    return graph.map(lambda node: _with_hold(node, broken) if node.name in targets else node)


def _with_hold(node: Node, hold: Hold) -> Node:
    assert node.type is not None
    return replace(node, type=node.type.with_(holds={**node.type.holds, FACTOR: hold}))


def _culprit(graph: Graph, ctx: Context, declared: Permutation) -> tuple[str, tuple[str, str]] | None:
    """The first value that a swap changes and that should not: a term of H, or a field that is no flow."""
    bodies = {part: part for name in declared.swap for part in (name, f"{name}.momentum")}
    plain = _keys(graph, ctx, bodies)
    for a, b in pairwise(declared.swap):
        swaps = {a: b, b: a, f"{a}.momentum": f"{b}.momentum", f"{b}.momentum": f"{a}.momentum"}
        swapped = _keys(graph, ctx, bodies | swaps)
        for name in graph.outputs.values():
            scalar = _scalar_behind(graph, name)
            if scalar is None:
                return name, (a, b)  # a dense field: its parts are not exchanged with the bodies
            if plain[scalar] != swapped[scalar]:
                return _first_term(graph, scalar, plain, swapped), (a, b)
    return None


def _scalar_behind(graph: Graph, name: str) -> str | None:
    """The Hamiltonian that decides an output: itself, or the one whose flow it is."""
    op = graph[name].op
    if isinstance(op, Poisson):
        return op.of[0]
    return name if graph.type(name).dim == 1 else None


def _first_term(graph: Graph, name: str, plain: dict[str, str], swapped: dict[str, str]) -> str:
    """Down the sums to a term whose counterpart is missing among the others."""
    op = graph[name].op
    if isinstance(op, Add):
        present = {plain[source] for _, source in op.inputs()}
        for _, source in op.inputs():
            if swapped[source] not in present:
                return _first_term(graph, source, plain, swapped)
    return name


def _keys(graph: Graph, ctx: Context, swaps: dict[str, str]) -> dict[str, str]:
    """Per value a text that says how it is made, with the bodies exchanged."""
    keys: dict[str, str] = {}
    for node in graph.nodes:
        if node.name in swaps:  # coordinates and momenta are slices of the state, and stand for themselves
            keys[node.name] = swaps[node.name]
            continue
        inputs = [graph.type(source) for _, source in node.op.inputs()]
        own = node.op.parameters(inputs, graph.type(node.name), ctx.scope) > 0
        text = node.op.text({source: keys[source] for _, source in node.op.inputs()})
        keys[node.name] = f"{node.name}:{text}" if own else text
    return keys
