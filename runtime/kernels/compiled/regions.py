"""Which statements of a compiled step run for some nodes at a time, one after another, before the next nodes' turn.

The widest rows are those of nodes and edges, thousands of numbers for each node, and most of them are read once, soon
after. Many atoms' rows do not fit into a processor's cache, those of a block of nodes do: statements that work node by
node, or edge by edge of the edges that point at nodes, are joined in regions, and a region runs from block to block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .slots import ENDS, Buffer, Made, Slot

# what a statement that is told so goes through: nodes alone, nodes with the edges at them, nodes with the edges from
# them, all there is
Over = Literal["nodes", "targets", "sources", "all"]
Kind = Literal["nodes", "edges", "once", "whole"]
# statements that one may overtake
REACH = 200
_NAMES = re.compile(r"\b([pa])(\d+)\b")


@dataclass(frozen=True)
class Statement:
    """One statement in C. In it N and E are how many nodes and edges it is for, p3 is where their rows in slot 3
    begin, a3 is where slot 3 begins whatever the nodes (neighbours are read there), and FIRST is the first node.

    `over` is given where the text does not show that it works node by node, or edge by edge, which it does where it
    names no other rows than those of nodes, or of edges; edges then have the numbers that they have among all.
    `reads`: slots that it does not write. `sums`: slots to which each node adds something.
    """

    text: str
    over: Over | None = None
    reads: frozenset[int] = frozenset()
    sums: frozenset[int] = frozenset()

    @cached_property
    def here(self) -> frozenset[int]:
        """Slots of which it names the rows of its nodes, or all there is."""
        return frozenset(int(number) for letter, number in _NAMES.findall(self.text) if letter == "p")

    @cached_property
    def named(self) -> frozenset[int]:
        """All its slots."""
        return self.here | self.anywhere

    @cached_property
    def anywhere(self) -> frozenset[int]:
        """Slots in which it reads rows of other nodes."""
        return frozenset(int(number) for letter, number in _NAMES.findall(self.text) if letter == "a")


@dataclass(slots=True)
class Region:
    """Statements that run block by block, after those that know nothing of nodes. Several threads may have a block
    each, but the statements from number `turns` on add something up: they run for one block after another."""

    before: list[Statement]
    body: list[Statement]
    turns: int


def kind_of(slot: Slot) -> str:
    """What the rows of a slot are: of a node, an edge or a system, of none of them, or several kinds of them."""
    if isinstance(slot.origin, Buffer):
        *rows, ones = slot.origin.size
        found = [name for name, width in zip(("node", "edge", "system"), rows, strict=True) if width]
        return "mixed" if len(found) > 1 or (found and ones) else "".join(found)
    if slot.rows == ENDS:
        return "mixed"
    return str(slot.rows) if slot.rows in ("node", "edge", "system") else ""


def regions(
    statements: Sequence[Statement], slots: Sequence[Slot], known: set[int], rows: int | None = None
) -> list[Statement | Region]:
    """A part's statements with regions in the place of those that go there.

    `known` are the slots that were written before; those that the part writes are added. `rows` is where it says which
    edges point at which nodes: edges lie in the order of their targets where nodes have their turns in blocks.
    """
    todo = []
    for statement in statements:
        todo.append((statement, _kind(statement, slots, known, rows)))
        known |= statement.named
    made: list[Statement | Region] = []
    while todo:
        (statement, kind), *rest = todo
        if kind in ("whole", "once"):
            made.append(statement)
            todo = rest
            continue
        region = _Open(slots, rows)
        todo = region.fill(todo)
        made.append(Region(region.before, *_in_turn([statement for statement, _ in region.body], slots)))
    return made


def _in_turn(body: Sequence[Statement], slots: Sequence[Slot]) -> tuple[list[Statement], int]:
    """Statements that add up are the last where nothing behind them changes what they read; where they begin.

    What nodes get from others is added up by one thread only: several leave it for each edge.
    """
    rest: list[Statement] = []
    last: list[Statement] = []
    for statement in reversed(body):
        free = not any(statement.named & (other.here - other.reads) for other in rest)
        (last if free and _adds(statement, slots) else rest).insert(0, statement)
    stuck = (k for k, statement in enumerate(rest) if _adds(statement, slots))
    return rest + last, next(stuck, len(rest))


def _adds(statement: Statement, slots: Sequence[Slot]) -> bool:
    return any(kind_of(slots[k]) != "node" for k in statement.sums)


def _kind(statement: Statement, slots: Sequence[Slot], known: set[int], rows: int | None) -> Kind:
    """`once`: it knows nothing of nodes, edges and systems."""
    named = {number: kind_of(slots[number]) for number in statement.named}
    kinds, sizes = set(named.values()) - {""}, set(re.findall(r"\b[NES]\b", statement.text))
    if not kinds and not sizes:
        return "once"
    # what nodes add up must be told (`sums`): here somebody writes for all nodes what has no rows of nodes
    if any(_is_made(slots[k]) and k not in known | statement.sums for k, kind in named.items() if kind == ""):
        return "whole"
    if statement.over is not None:
        return "whole" if statement.over == "all" else "nodes"
    if kinds <= {"edge"} and sizes == {"E"}:
        return "edges" if rows in known else "whole"
    return "nodes" if kinds <= {"node"} and sizes == {"N"} else "whole"


def _is_made(slot: Slot) -> bool:
    return isinstance(slot.origin, Buffer | Made)


class _Open:
    """A region that grows."""

    def __init__(self, slots: Sequence[Slot], rows: int | None) -> None:
        self.slots, self.rows = slots, rows
        self.before: list[Statement] = []
        self.body: list[tuple[Statement, Kind]] = []
        self.named: set[int] = set()
        self.written: set[int] = set()
        self.anywhere: set[int] = set()
        self.sums: set[int] = set()
        self.edges: dict[int, Over] = {}

    def fill(self, todo: Sequence[tuple[Statement, Kind]]) -> list[tuple[Statement, Kind]]:
        """Take what may run in one region with the first of the statements; what is left, in order.

        A statement overtakes others where it neither needs nor changes what is theirs, and needs what the region makes.
        """
        rest: list[tuple[Statement, Kind]] = []
        others_named: set[int] = set()
        others_written: set[int] = set()
        for number, (statement, kind) in enumerate(todo):
            if len(rest) > REACH:
                rest += todo[number:]
                break
            named, written = self._named(statement, kind), self._written(statement)
            free = not (named & others_written or written & others_named)
            if kind in ("once", "whole") and free and self._before(named, written):
                self.before.append(statement)
            elif (
                kind in ("nodes", "edges")
                and free
                and (not rest or statement.named & self.written)
                and self._takes(statement, kind)
            ):
                self._add(statement, kind)
            else:
                rest.append((statement, kind))
                others_named |= named
                others_written |= written
        return self._late(rest) + rest

    def _before(self, named: set[int], written: set[int]) -> bool:
        """Whether a statement may as well run before the region."""
        return not (named & (self.written | self.sums) or written & self.named)

    def _late(self, rest: Sequence[tuple[Statement, Kind]]) -> list[tuple[Statement, Kind]]:
        """Statements of edges that nothing in the region needs may belong to a later one: as many of them are taken out
        as leave the fewest numbers of an edge to be handed from this region to what follows."""
        candidates: list[int] = []
        named: set[int] = set()
        written: set[int] = set()
        for number, (statement, kind) in reversed(list(enumerate(self.body))):
            its_named, its_written = self._named(statement, kind), self._written(statement)
            if kind == "edges" and not (its_named & written or its_written & named):
                candidates.append(number)
            else:
                named |= its_named
                written |= its_written
        counts = range(min(len(candidates) + 1, len(self.body)))
        count = min(counts, key=lambda count: self._handed(candidates[:count], rest))
        late = [self.body[number] for number in reversed(candidates[:count])]
        self.body = [entry for number, entry in enumerate(self.body) if number not in candidates[:count]]
        return late

    def _handed(self, late: Sequence[int], rest: Sequence[tuple[Statement, Kind]]) -> int:
        """How many numbers of an edge lie between the region without some statements, and these and the rest."""
        kept: set[int] = set()
        after = {k for statement, _ in rest for k in self._edges(statement)}
        for number, (statement, _) in enumerate(self.body):
            (after if number in late else kept).update(self._edges(statement))
        return sum(self.slots[k].width for k in kept & after)

    def _named(self, statement: Statement, kind: Kind) -> set[int]:
        """What no statement may change that changes places with it."""
        found = {k for k in statement.named if _is_made(self.slots[k])}
        return found | {self.rows} if kind == "edges" and self.rows is not None else found

    def _written(self, statement: Statement) -> set[int]:
        """What it may change."""
        return {k for k in (statement.here - statement.reads) | statement.sums if _is_made(self.slots[k])}

    def _takes(self, statement: Statement, kind: Kind) -> bool:
        """Whether a block of a statement needs nothing of what later blocks of earlier ones write, and the other way
        round."""
        writes = statement.here - statement.reads
        if statement.anywhere & self.written or writes & self.anywhere:
            return False
        if (statement.named - statement.sums) & self.sums or statement.sums & (self.named - self.sums):
            return False
        over = _over(statement, kind)
        return all(self.edges.get(k, over) == over for k in self._edges(statement))

    def _add(self, statement: Statement, kind: Kind) -> None:
        self.body.append((statement, kind))
        self.named |= statement.named
        self.written |= statement.here - statement.reads
        self.anywhere |= statement.anywhere
        self.sums |= statement.sums
        for k in self._edges(statement):
            self.edges[k] = _over(statement, kind)

    def _edges(self, statement: Statement) -> set[int]:
        return {k for k in statement.named if kind_of(self.slots[k]) == "edge"}


def _over(statement: Statement, kind: Kind) -> Over:
    """Edges by themselves are those at the nodes of a block."""
    return "targets" if kind == "edges" else statement.over or "nodes"
