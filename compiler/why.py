"""Why an output has the verdict that it has: the ops that decide it, and the way from them to the output."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx

from .pipeline import Compilation


@dataclass(frozen=True, slots=True)
class Cause:
    """One op that breaks a factor for an output: its place, its reason, and the values from it to the output."""

    factor: str
    op: str
    place: str
    reason: str
    chain: tuple[str, ...]


def causes(done: Compilation, target: str) -> tuple[Cause, ...]:
    """Every op responsible for a verdict of `target` that is not exact, in the order of the graph.

    Raises:
        KeyError: the compiled graph has no such output.
    """
    assert done.graph is not None
    assert done.context is not None
    graph, context = done.graph, done.context
    output = graph.outputs[target]
    network = graph.network()
    order = {node.name: k for k, node in enumerate(graph.nodes)}
    found = []
    for factor, hold in graph.type(output).holds.items():
        for op in sorted(hold.ops, key=lambda name: order.get(name, -1)):
            chain = tuple(nx.shortest_path(network, op, output)) if op in network else (op,)
            reason = context.reasons.get((op, factor), "breaks it")
            found.append(Cause(factor, op, str(graph[op].span) if op in graph else "", reason, chain))
    return tuple(found)


def render_why(done: Compilation, target: str) -> str:
    """Text for people: per factor the verdict, and for each cause its line, its reason and its chain."""
    assert done.graph is not None
    assert done.context is not None
    type_ = done.graph.type(done.graph.outputs[target])
    lines = [f"{target}: {type_}"]
    everything = causes(done, target)
    for factor in done.context.scope.factors:
        lines.append(f"  {factor}: {type_.hold(factor)}")
        for cause in everything:
            if cause.factor == factor:
                lines.append(f"    {cause.op} ({cause.place}): {cause.reason}")
                lines.append(f"      {' -> '.join(cause.chain)}")
    lines += _jumps(done, target)
    return "\n".join(lines) + "\n"


def _jumps(done: Compilation, target: str) -> list[str]:
    """Where an output that is not continuous jumps, and why."""
    assert done.graph is not None
    assert done.context is not None
    graph, name = done.graph, done.graph.outputs[target]
    if graph.type(name).smooth >= 0:
        return []
    behind = nx.ancestors(graph.network(), name) | {name}
    found = [
        f"    {node.name} ({node.span}): {done.context.reasons[node.name, 'continuity']}"
        for node in graph.nodes
        if node.name in behind and (node.name, "continuity") in done.context.reasons
    ]
    return ["  not continuous, by", *found] if found else []
