"""Which statements of a compiled step run for some nodes at a time, one after another, before the next nodes' turn.

The widest rows are those of nodes, thousands of numbers each, and most of them are read once, by the statement
after. Many atoms' rows do not fit into a processor's cache, those of a block of nodes do: statements that work
node by node are joined in regions, and a region runs from block to block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .slots import Buffer, Made, Slot

# what a statement that is told so goes through: nodes alone, nodes with the edges at them, nodes with the edges from
# them
Over = Literal["nodes", "targets", "sources"]
_NAMES = re.compile(r"\b([pa])(\d+)\b")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement in C, in which N is how many nodes it is for, and p3 is where their rows in slot 3 begin.

    `over` is given where the text does not show that it works node by node, which it does where it names no other
    rows than those of nodes. In it a3 is where slot 3 begins whatever the nodes (neighbours are read there), and
    FIRST is the number of the first node. `reads`: slots that it does not write. `sums`: slots to which each node
    adds something.
    """

    text: str
    over: Over | None = None
    reads: frozenset[int] = frozenset()
    sums: frozenset[int] = frozenset()

    @property
    def here(self) -> frozenset[int]:
        """Slots of which it names the rows of its nodes, or all there is."""
        return frozenset(int(number) for letter, number in _NAMES.findall(self.text) if letter == "p")

    @property
    def anywhere(self) -> frozenset[int]:
        """Slots in which it reads rows of other nodes."""
        return frozenset(int(number) for letter, number in _NAMES.findall(self.text) if letter == "a")


@dataclass(slots=True)
class Region:
    """Statements that run block by block, after those that know nothing of nodes."""

    before: list[Statement]
    body: list[Statement]


def kind_of(slot: Slot) -> str:
    """What the rows of a slot are: of a node, an edge or a system, of none of them, or several kinds of them."""
    if isinstance(slot.origin, Buffer):
        *rows, ones = slot.origin.size
        found = [name for name, width in zip(("node", "edge", "system"), rows, strict=True) if width]
        return "mixed" if len(found) > 1 or (found and ones) else "".join(found)
    return str(slot.rows) if slot.rows in ("node", "edge", "system") else ""


def regions(
    statements: Sequence[Statement], slots: Sequence[Slot], known: set[int]
) -> list[Statement | Region]:
    """A part's statements with regions in the place of those that go there. `known` are the slots that were written
    before; those that the part writes are added."""
    made: list[Statement | Region] = []
    open_: _Open | None = None
    for statement in statements:
        kind = _kind(statement, slots, known)
        if kind == "nodes" and (open_ is None or not open_.takes(statement)):
            open_ = _Open(slots)
            made.append(open_.region)
        if kind == "nodes" and open_ is not None:
            open_.add(statement)
        elif kind == "once" and open_ is not None and not statement.here & open_.named:
            open_.region.before.append(statement)
        else:
            open_ = None
            made.append(statement)
        known |= statement.here | statement.anywhere
    return made


def _kind(statement: Statement, slots: Sequence[Slot], known: set[int]) -> str:
    """`nodes`, `once` where it knows nothing of nodes, edges and systems, or `whole`."""
    named = {number: kind_of(slots[number]) for number in statement.here | statement.anywhere}
    # what nodes add up must be told (`sums`): here somebody writes for all nodes what has no rows of nodes
    if any(_written(slots[k]) and k not in known | statement.sums for k, kind in named.items() if kind == ""):
        return "once" if not _sizes(statement) and not set(named.values()) - {""} else "whole"
    if statement.over is not None:
        return "nodes"
    rows = set(named.values()) - {""}
    if not rows and not _sizes(statement):
        return "once"
    return "nodes" if rows <= {"node"} and _sizes(statement) == {"N"} else "whole"


def _sizes(statement: Statement) -> set[str]:
    return set(re.findall(r"\b[NES]\b", statement.text))


def _written(slot: Slot) -> bool:
    return isinstance(slot.origin, Buffer | Made)


class _Open:
    """A region that grows."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots, self.region = slots, Region([], [])
        self.named: set[int] = set()
        self.written: set[int] = set()
        self.anywhere: set[int] = set()
        self.sums: set[int] = set()
        self.edges: dict[int, Over] = {}

    def takes(self, statement: Statement) -> bool:
        """Whether a block of a statement needs nothing of what later blocks of earlier ones write, and the other way
        round."""
        writes = statement.here - statement.reads
        if statement.anywhere & self.written or writes & self.anywhere:
            return False
        if ((statement.here | statement.anywhere) - statement.sums) & self.sums:
            return False
        if statement.sums & (self.named - self.sums):
            return False
        return all(self.edges.get(k, statement.over) == statement.over for k in self._edges(statement))

    def add(self, statement: Statement) -> None:
        self.region.body.append(statement)
        self.named |= statement.here | statement.anywhere
        self.written |= statement.here - statement.reads
        self.anywhere |= statement.anywhere
        self.sums |= statement.sums
        for k in self._edges(statement):
            self.edges[k] = statement.over or "nodes"

    def _edges(self, statement: Statement) -> set[int]:
        return {k for k in statement.here | statement.anywhere if kind_of(self.slots[k]) == "edge"}
