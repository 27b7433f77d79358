"""Writing a graph op by op."""

from __future__ import annotations

from ..ir.graph import Node
from ..ir.ops.base import Op
from .spans import Span


class Builder:
    """Collects named nodes; names are unique, and ops may only read what is already there."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._names: set[str] = set()

    def add(self, name: str, op: Op, span: Span) -> str:
        """Append a node and return its name."""
        assert name not in self._names, f"two nodes are called {name}"
        self._names.add(name)
        self.nodes.append(Node(name, op, span))
        return name

    def __contains__(self, name: str) -> bool:
        return name in self._names
