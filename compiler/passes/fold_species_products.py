"""Compute what depends on the species alone once per species, and look it up.

Before:  %2 = embed(species) {out: 64}       : node: 64x0e
         %3 = linear(%2) {out: 64x0e}        : node: 64x0e
         %4 = gather(%3)
After:   %1 = all_species(species)           : species
         %2 = embed(%1) {out: 64}            : species: 64x0e
         %3 = linear(%2) {out: 64x0e}        : species: 64x0e
         %5 = lookup(%3, species)            : node: 64x0e
         %4 = gather(%5)

A product of weights with one-hot species becomes a table, of as many rows as there are species instead of nodes.
Names, and so weights, stay where they are.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops import (
    Act,
    Add,
    AllSpecies,
    Arrange,
    Concat,
    Difference,
    Embed,
    Inner,
    Input,
    Keep,
    Linear,
    Lookup,
    Mlp,
    Norms,
    Power,
    Resnet,
    Scale,
)
from ..ir.types import Categories, Index
from .context import Context
from .infer_types import infer_missing

# Ops that compute every row by itself.
_BY_ROW = (
    *(Embed, Linear, Mlp, Resnet, Act, Power, Add, Concat, Difference, Inner, Norms, Scale),
    *(Arrange, Keep),
)
# With more species than this a table may have more rows than a small system has atoms.
_MOST_SPECIES = 16


def fold_species_products(graph: Graph, ctx: Context) -> Graph:
    """Move to the species all ops on nodes that read nothing else; a bare `embed`, a lookup already, stays."""
    if ctx.scope.kind == "phase_space" or len(ctx.scope.species) > _MOST_SPECIES:
        return graph
    for label in [node.name for node in graph.nodes if _is_label(node)]:
        graph = _folded(graph, label, ctx)
    return graph


def _is_label(node: Node) -> bool:
    at_node = node.type is not None and node.type.index is Index.NODE
    return at_node and isinstance(node.op, Input) and isinstance(node.type and node.type.rep, Categories)


def _folded(graph: Graph, label: str, ctx: Context) -> Graph:
    inside = _depending_on_label_alone(graph, label)
    if not inside:
        return graph
    table = f"{label}.all"
    lookups: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in inside:
            if not any(one.name == table for one in nodes):
                nodes.append(Node(table, AllSpecies(of=label), node.span))
            nodes.append(replace(node, op=node.op.renamed({label: table}), type=None))
            if _is_read_outside(graph, node.name, inside):
                lookups[node.name] = f"{node.name}.looked_up"
                nodes.append(Node(lookups[node.name], Lookup(of=node.name, species=label), node.span))
        else:
            nodes.append(replace(node, op=node.op.renamed(lookups)))
    outputs = {target: lookups.get(name, name) for target, name in graph.outputs.items()}
    folded = infer_missing(Graph(tuple(nodes), outputs), ctx)
    return folded if folded.is_typed else graph  # an op may take nodes alone


def _depending_on_label_alone(graph: Graph, label: str) -> set[str]:
    """What is computed row by row from the label alone, but for embeddings that nothing else inside reads."""
    inside: set[str] = set()
    for node in graph.nodes:
        sources = [name for _, name in node.op.inputs()]
        if (
            isinstance(node.op, _BY_ROW)
            and sources
            and all(name in inside or name == label for name in sources)
        ):
            inside.add(node.name)
    read = {name for node in graph.nodes if node.name in inside for _, name in node.op.inputs()}
    return {name for name in inside if not isinstance(graph[name].op, Embed) or name in read}


def _is_read_outside(graph: Graph, name: str, inside: set[str]) -> bool:
    if name in graph.outputs.values():
        return True
    return any(
        name in (source for _, source in node.op.inputs()) for node in graph.nodes if node.name not in inside
    )
