"""Where buffers lie: those that are not needed at once share their room, and blocks of nodes have their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from .regions import Region, Statement, kind_of
from .slots import Buffer, CType, Size, Slot


@dataclass(frozen=True, slots=True)
class Room:
    """Some memory. `block`: for the rows of a block of nodes only, or of the edges at them. `several`: for several
    threads only."""

    ctype: CType
    size: Size
    block: bool
    several: bool


Item = Statement | Region | Set[int]


@dataclass(frozen=True, slots=True)
class Rooms:
    """All of it, and the number of the room of each buffer."""

    rooms: tuple[Room, ...]
    of: Mapping[int, int]

    def block(self, slot: Slot) -> bool:
        """Whether only a block of nodes has its rows there."""
        found = self.of.get(slot.number)
        return found is not None and self.rooms[found].block


def rooms(
    items: Sequence[Item], slots: Sequence[Slot], *, placed: int | None = None, rows: int | None = None
) -> Rooms:
    """Rooms for all buffers that the items name; an item that is a set of slots stands for what happens outside of C.

    What only one region names, node by node, is needed by a block at a time; so is `placed`, which regions make for
    themselves. `rows` all regions read.
    """
    buffers = {slot.number: slot for slot in slots if isinstance(slot.origin, Buffer)}
    spans: dict[int, tuple[int, int]] = {}
    for at, item in enumerate(items):
        named = _named(item) | ({rows} if rows is not None and isinstance(item, Region) else set())
        for number in named & buffers.keys():
            spans[number] = spans.get(number, (at, at))[0], at
    blocks = {
        number
        for at, item in enumerate(items)
        if isinstance(item, Region)
        for number in _of_blocks(item, buffers)
        if spans[number] == (at, at)
    }
    if placed is not None:
        blocks.add(placed)
    book = _Book(buffers)
    whole = {number: span for number, span in spans.items() if number not in blocks}
    book.assign(whole, False)
    for item in items:
        if isinstance(item, Region):
            within: dict[int, tuple[int, int]] = {}
            for at, statement in enumerate(item.body):
                for number in statement.here & blocks:
                    within[number] = within.get(number, (at, at))[0], at
            if placed in within:
                within[placed] = 0, len(item.body)
            book.assign(within, True)
    return Rooms(tuple(book.rooms), book.of)


class _Book:
    """Rooms so far."""

    def __init__(self, buffers: Mapping[int, Slot]) -> None:
        self.buffers = buffers
        self.rooms: list[Room] = []
        self.of: dict[int, int] = {}

    def assign(self, spans: Mapping[int, tuple[int, int]], block: bool) -> None:
        """A room for each buffer of a time line, where no room is used twice at once; those of blocks are there again
        for the next region."""
        ends = {number: -1 for number, room in enumerate(self.rooms) if room.block and block}
        for number, (first, last) in sorted(spans.items(), key=lambda entry: (entry[1], entry[0])):
            slot = self.buffers[number]
            assert isinstance(slot.origin, Buffer)
            wanted = Room(slot.ctype, slot.origin.size, block, slot.origin.several)
            free = [k for k, end in ends.items() if end < first and self.rooms[k] == wanted]
            if not free:
                self.rooms.append(wanted)
            self.of[number] = free[-1] if free else len(self.rooms) - 1
            ends[self.of[number]] = last


def _named(item: Item) -> Set[int]:
    if isinstance(item, Statement):
        return item.named
    if isinstance(item, Region):
        every: Iterable[Statement] = (*item.before, *item.body)
        return frozenset(number for statement in every for number in statement.named)
    return item


def _of_blocks(region: Region, buffers: Mapping[int, Slot]) -> Set[int]:
    """What statements of the body name by their nodes alone, or by the edges that point at them."""
    here = {number for statement in region.body for number in statement.here}
    outside = {number for statement in region.before for number in statement.named}
    outside |= {number for statement in region.body for number in statement.anywhere}
    of_senders = {k for statement in region.body if statement.over == "sources" for k in statement.named}
    return {
        number
        for number in (here - outside) & buffers.keys()
        if (kind := kind_of(buffers[number])) == "node" or (kind == "edge" and number not in of_senders)
    }
