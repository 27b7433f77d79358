"""The layer graph: named ops in topological order, with their types and the place in the spec they come
from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import networkx as nx

from .types import Type

if TYPE_CHECKING:
    from ..language.spans import Span
    from .ops.base import Op


@dataclass(frozen=True, slots=True)
class Node:
    """One op with its name, its type (None until inferred) and its span in the spec, which is not part of it."""

    name: str
    op: Op
    span: Span = field(compare=False)
    type: Type | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in topological order; `outputs` maps each target to the node that computes it.

    `str(graph)` has one op a line, its type as a comment, and the outputs; `parse_graph` reads it.
    """

    nodes: tuple[Node, ...]
    outputs: Mapping[str, str] = field(default_factory=dict)
    _by_name: Mapping[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {node.name: node for node in self.nodes})

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __str__(self) -> str:
        lines = []
        for node in self.nodes:
            comment = "" if node.type is None else f"  # {node.type}"
            lines.append(f"{node.name} = {node.op.text()}{comment}\n")
        lines += [f"{target} <- {name}\n" for target, name in self.outputs.items()]
        return "".join(lines)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def type(self, name: str) -> Type:
        """The inferred type of a value."""
        found = self[name].type
        assert found is not None, f"{name} has no type yet"
        return found

    @property
    def is_typed(self) -> bool:
        """Does every value have a type?"""
        return all(node.type is not None for node in self.nodes)

    def types(self) -> dict[str, Type]:
        return {node.name: node.type for node in self.nodes if node.type is not None}

    def map(self, change: Callable[[Node], Node]) -> Graph:
        """A graph with every node replaced by `change(node)`."""
        return replace(self, nodes=tuple(change(node) for node in self.nodes))

    def network(self) -> nx.MultiDiGraph:
        """The same graph for graph algorithms; `product(x, x)` has two edges, told apart by their port."""
        network = nx.MultiDiGraph()
        network.add_nodes_from(node.name for node in self.nodes)
        for node in self.nodes:
            for port, source in node.op.inputs():
                network.add_edge(source, node.name, key=port)
        return network

    def reachable(self) -> set[str]:
        """The names that some output depends on."""
        network = self.network()
        live: set[str] = set()
        for name in self.outputs.values():
            live |= {name} | nx.ancestors(network, name)
        return live


def ordered(nodes: list[Node], outputs: Mapping[str, str]) -> Graph:
    """A graph of these nodes in topological order (stable: as written where there is a choice).

    Raises:
        CycleError: some values need each other.
    """
    position = {node.name: k for k, node in enumerate(nodes)}
    network = Graph(tuple(nodes)).network()
    try:
        names = list(nx.lexicographical_topological_sort(network, key=lambda name: position[name]))
    except nx.NetworkXUnfeasible:
        cycle = [edge[0] for edge in nx.find_cycle(network)]
        raise CycleError(cycle) from None
    by_name = {node.name: node for node in nodes}
    return Graph(tuple(by_name[name] for name in names), dict(outputs))


class CycleError(ValueError):
    """Values that need each other: `cycle` lists their names."""

    def __init__(self, cycle: list[str]) -> None:
        super().__init__(" -> ".join([*cycle, cycle[0]]))
        self.cycle = cycle


def validate_graph(graph: Graph) -> None:
    """Guard the invariants that every pass may rely on: unique names, defined inputs, topological order."""
    seen: set[str] = set()
    for node in graph.nodes:
        assert node.name not in seen, f"two nodes are called {node.name}"
        for port, source in node.op.inputs():
            assert source in seen, f"{node.name}.{port} reads {source}, which is not defined before it"
        seen.add(node.name)
    for target, name in graph.outputs.items():
        assert name in seen, f"output {target} reads {name}, which does not exist"


def canonicalize(graph: Graph) -> Graph:
    """Drop what no output needs and every name and span: equal graphs become equal texts."""
    live = graph.reachable()
    kept = [node for node in graph.nodes if node.name in live]
    network = Graph(tuple(kept)).network()
    # Structural keys: a value is named by its op and the keys of its inputs, so that the order of
    # writing and the names chosen by the author have no say.
    keys: dict[str, str] = {}
    for node in kept:
        text = node.op.text({source: keys[source] for _, source in node.op.inputs()})
        keys[node.name] = hashlib.sha256(text.encode()).hexdigest()
    names = list(nx.lexicographical_topological_sort(network, key=lambda name: keys[name]))
    short = {name: f"v{k}" for k, name in enumerate(names)}
    by_name = {node.name: node for node in kept}
    nodes = tuple(
        replace(by_name[name], name=short[name], op=by_name[name].op.canonical(short)) for name in names
    )
    return Graph(nodes, {target: short[name] for target, name in graph.outputs.items()})


def graph_hash(graph: Graph) -> str:
    """sha256 of the printed canonical graph: the identity of a model's structure."""
    canonical = canonicalize(graph)
    lines = [f"{node.name} = {node.op.text()}" for node in canonical.nodes]
    lines += [f"{target} <- {name}" for target, name in sorted(canonical.outputs.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
