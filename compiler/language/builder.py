"""Writing a graph op by op."""

from __future__ import annotations

from ..ir.graph import Node
from ..ir.ops.base import Op
from .spans import Span

MOST_OPS = 2000  # a hundred layers of the largest preset have 1,111


class TooManyOpsError(Exception):
    """A graph is larger than any that anybody would train; the rest of it is not made."""


class Builder:
    """Collects named nodes; names are unique, and ops may only read what is already there."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._names: set[str] = set()

    def add(self, name: str, op: Op, span: Span) -> str:
        """Append a node and return its name.

        Raises:
            TooManyOpsError: there are `MOST_OPS` already.
        """
        if len(self.nodes) == MOST_OPS:
            raise TooManyOpsError
        assert name not in self._names, f"two nodes are called {name}"
        self._names.add(name)
        self.nodes.append(Node(name, op, span))
        return name

    def __contains__(self, name: str) -> bool:
        return name in self._names
