"""Which values are functions of the length of an edge alone, or of it and the species at its ends.

    %3 = mlp(%radial)                     by length
    %4 = linear(%radial, pair_kind)       by pair: one function for each pair of species
    %5 = weigh(gather(embed), %3)         by source: one for each species of the sending end

Such a value can be tabulated when a model is deployed (`deploy: {tabulate: ...}`): a spline takes the place of
everything behind it. Found is what others than such functions read, and only where a network or a linear map is
behind it: a basis or an envelope alone costs less than a table.
"""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.ops import (
    Act,
    Add,
    AllSpecies,
    Concat,
    Difference,
    Embed,
    Envelope,
    Filters,
    Gather,
    Input,
    Length,
    Linear,
    Lookup,
    Mlp,
    PairKind,
    Radial,
    Relative,
    Resnet,
    Scale,
    Slice,
    Weigh,
)
from ..ir.types import Index
from ..language.codes import Code
from .context import Context

# ops whose every row is a function of the same rows of what they read, and of weights
_ROWWISE = (
    Radial,
    Envelope,
    Mlp,
    Linear,
    Act,
    Add,
    Concat,
    Difference,
    Resnet,
    Filters,
    Scale,
    Slice,
    Weigh,
    Embed,
)
_COSTLY = (Mlp, Linear, Resnet, Filters)
_INDICES = (Index.EDGE, Index.NODE, Index.SPECIES)

Seen = frozenset[str]


def find_radial(graph: Graph) -> dict[str, str]:
    """Every value that is worth a table, in the order of the graph → by what its functions are told apart:
    `length` (one for all), `source`, `target` or `pair`."""
    seen = _seen(graph)
    costly: set[str] = set()
    for node in graph:
        if "length" in seen.get(node.name, ()):
            behind = any(name in costly for _, name in node.op.inputs())
            if behind or isinstance(node.op, _COSTLY):
                costly.add(node.name)
    read: set[str] = set(graph.outputs.values())
    for node in graph:
        if "length" not in seen.get(node.name, ()):
            read |= {name for _, name in node.op.inputs()}
    return {node.name: _told_apart(seen[node.name]) for node in graph if node.name in costly & read}


def check_tabulated(graph: Graph, ctx: Context) -> Graph:
    """Report a spec that asks for tables of a model that has nothing to tabulate; changes nothing."""
    wanted = ctx.spec.deploy.tabulate
    if wanted is not None and not find_radial(graph):
        ctx.report.error(
            Code.NOTHING_TO_TABULATE,
            ctx.source.span(("deploy", "tabulate"), key=True),
            "no network of this model depends on the length of edges alone, so that nothing can be tabulated",
            help="remove `tabulate`",
        )
    return graph


def _told_apart(seen: Seen) -> str:
    ends = seen - {"length"}
    return "pair" if len(ends) == 2 else next(iter(ends), "length")


def _seen(graph: Graph) -> dict[str, Seen]:
    """What each value depends on, of `length`, `species` (its own), `source` and `target` (those of the ends).

    Values that depend on anything else are left out.
    """
    found: dict[str, Seen] = {}
    for node in graph:
        op, inputs = node.op, [name for _, name in node.op.inputs()]
        if isinstance(op, Input):
            if op.field == "species":
                found[node.name] = frozenset({"species"})
        elif isinstance(op, Length):
            if isinstance(graph[op.of].op, Relative):
                found[node.name] = frozenset({"length"})
        elif any(name not in found for name in inputs):
            continue
        elif isinstance(op, AllSpecies):
            found[node.name] = frozenset()
        elif isinstance(op, PairKind):
            found[node.name] = frozenset({"source", "target"})
        elif isinstance(op, Gather):
            found[node.name] = frozenset({op.role} if found[op.of] else ())
        elif isinstance(op, (Lookup, *_ROWWISE)) and graph.type(node.name).index in _INDICES:
            found[node.name] = frozenset().union(*(found[name] for name in inputs))
    return found
