"""The C text of a compiled step: its parts as functions, regions of them as loops over blocks of nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..c_source import prelude
from ..gemm import PRODUCTS
from .regions import Region, Statement, kind_of, regions
from .rooms import Item, Rooms, rooms
from .slots import Buffer, Slot
from .writer import Writer


@dataclass(frozen=True, slots=True)
class Source:
    """The text, its slots, the rooms of those that are buffers, and how many parts there are."""

    text: str
    slots: tuple[Slot, ...]
    rooms: Rooms
    parts: int


def source_of(writer: Writer, helpers: Sequence[str], kept: Iterable[Slot]) -> Source:
    """What was written, after the functions that it calls. `kept` are slots that are read when all is over."""
    outside = (*writer.outside, frozenset(slot.number for slot in kept))
    parts: list[Sequence[Statement | Region]] = []
    items: list[Item] = []
    known: set[int] = set()
    for part, named in zip(writer.parts, outside, strict=True):
        parts.append(regions(part, writer.slots, known, writer.rows) if writer.blocks else part)
        known |= named
        items += [*parts[-1], named]
    place, sort = writer.sorted or (None, "")
    placed = place.number if place is not None and writer.blocks else None
    found = rooms(items, writer.slots, placed=placed, rows=writer.rows if writer.blocks else None)
    loops = _Loops(tuple(writer.slots), found, writer.rows, placed, Statement(sort))
    functions = [loops.function(number, part) for number, part in enumerate(parts)]
    text = "\n".join((prelude(writer.dtype), PRODUCTS, *helpers, *writer.tables, *functions))
    return Source(text, tuple(writer.slots), found, len(parts))


@dataclass(frozen=True, slots=True)
class _Loops:
    """Writes functions. `rows` is the slot that says where nodes' edges begin, `sort` what makes the order of
    species of a block in the slot `placed`."""

    slots: tuple[Slot, ...]
    rooms: Rooms
    rows: int | None
    placed: int | None
    sort: Statement

    def function(self, number: int, part: Sequence[Statement | Region]) -> str:
        """One part."""
        lines: list[str] = []
        named: set[tuple[str, int]] = set()
        for item in part:
            outside = [item] if isinstance(item, Statement) else item.before
            lines += [statement.text for statement in outside]
            named |= {("p", k) for statement in outside for k in statement.here}
            if isinstance(item, Region):
                lines += self._loop(item)
            every = outside if isinstance(item, Statement) else item.body
            named |= {("a", k) for statement in every for k in statement.anywhere}
        places = [f"{self.slots[k].ctype} *const {letter}{k} = P[{k}];" for letter, k in sorted(named)]
        body = "\n  ".join((*places, *lines))
        return (
            f"int64_t part{number}(int64_t *sizes, void **P) {{\n"
            "  const int64_t NODES = sizes[0], EDGES = sizes[1], S = sizes[2], threads = sizes[3], BLOCK = sizes[5];\n"
            f"  const int64_t N = NODES, E = EDGES, FIRST = 0;\n  {body}\n  return 0;\n}}\n"
        )

    def _loop(self, region: Region) -> list[str]:
        """Within it N and E are of the block, and slots begin where its rows do: p3 at those of its nodes and edges, e3
        so that edges have the numbers that they have among all."""
        body = list(region.body)
        if any(self.placed in statement.here for statement in body):
            body.insert(0, self.sort)
        lines = [
            "for (int64_t FIRST = 0; FIRST < NODES; FIRST += BLOCK) {",
            "  const int64_t N = NODES - FIRST < BLOCK ? NODES - FIRST : BLOCK;",
        ]
        if self.rows is not None:
            row = f"((const int64_t *)P[{self.rows}])"
            lines.append(f"  const int64_t FROM = {row}[FIRST], E = {row}[FIRST + N] - FROM;")
        texts = [self._numbered(statement) for statement in body]
        lines += [self._place(name) for name in sorted(set(re.findall(r"\b[pe]\d+\b", " ".join(texts))))]
        return [*lines, *(f"  {text}" for text in texts), "}"]

    def _numbered(self, statement: Statement) -> str:
        """The text with e in the place of p for slots of edges, where it goes by their numbers."""
        if statement.over is None:
            return statement.text
        return re.sub(
            r"\bp(\d+)\b",
            lambda found: f"e{found[1]}" if kind_of(self.slots[int(found[1])]) == "edge" else found[0],
            statement.text,
        )

    def _place(self, name: str) -> str:
        number, slot = int(name[1:]), self.slots[int(name[1:])]
        kind, block = kind_of(slot), self.rooms.block(slot)
        offset = ""
        if kind == "node" and not block:
            offset = f" + FIRST * {_width(slot, 0)}"
        elif kind == "edge" and block == (name[0] == "e") and self.rows is not None:
            offset = f" {'-' if block else '+'} FROM * {_width(slot, 1)}"
        return f"  {slot.ctype} *const {name} = ({slot.ctype} *)P[{number}]{offset};"


def _width(slot: Slot, which: int) -> int:
    return slot.origin.size[which] if isinstance(slot.origin, Buffer) else slot.width
