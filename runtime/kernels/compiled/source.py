"""The C text of a compiled step: its parts as functions, regions of them as loops over blocks of nodes."""

from __future__ import annotations

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
        parts.append(regions(part, writer.slots, known) if writer.blocks else part)
        known |= named
        items += [*parts[-1], named]
    place, sort = writer.sorted or (None, "")
    placed = place.number if place is not None and writer.blocks else None
    found = rooms(items, writer.slots, placed)
    functions = [
        _function(number, part, writer.slots, found, placed, sort) for number, part in enumerate(parts)
    ]
    text = "\n".join((prelude(writer.dtype), PRODUCTS, *helpers, *writer.tables, *functions))
    return Source(text, tuple(writer.slots), found, len(parts))


def _function(
    number: int,
    part: Sequence[Statement | Region],
    slots: Sequence[Slot],
    found: Rooms,
    placed: int | None,
    sort: str,
) -> str:
    lines, named = [], set()
    for item in part:
        if isinstance(item, Statement):
            lines.append(item.text)
            named |= {("p", k) for k in item.here} | {("a", k) for k in item.anywhere}
            continue
        lines += [statement.text for statement in item.before]
        lines += _loop(item, slots, found, placed, sort)
        named |= {("p", k) for statement in item.before for k in statement.here}
        named |= {("a", k) for statement in item.body for k in statement.anywhere}
    places = [f"{slots[k].ctype} *const {letter}{k} = P[{k}];" for letter, k in sorted(named)]
    body = "\n  ".join((*places, *lines))
    return (
        f"int64_t part{number}(int64_t *sizes, void **P) {{\n"
        "  const int64_t NODES = sizes[0], E = sizes[1], S = sizes[2], threads = sizes[3], BLOCK = sizes[5];\n"
        f"  const int64_t N = NODES, FIRST = 0;\n  {body}\n  return 0;\n}}\n"
    )


def _loop(region: Region, slots: Sequence[Slot], found: Rooms, placed: int | None, sort: str) -> list[str]:
    """A region: within it N is the size of the block, and slots of nodes begin where its rows do."""
    lines = [
        "for (int64_t FIRST = 0; FIRST < NODES; FIRST += BLOCK) {",
        "  const int64_t N = NODES - FIRST < BLOCK ? NODES - FIRST : BLOCK;",
    ]
    named = {k for statement in region.body for k in statement.here}
    texts = [statement.text for statement in region.body]
    if placed in named:
        texts = [sort, *texts]
        named |= Statement(sort).here
    for k in sorted(named):
        slot = slots[k]
        moves = kind_of(slot) == "node" and not found.block(slot)
        width = slot.origin.size[0] if isinstance(slot.origin, Buffer) else slot.width
        place = f"({slot.ctype} *)P[{k}] + FIRST * {width}" if moves else f"P[{k}]"
        lines.append(f"  {slot.ctype} *const p{k} = {place};")
    return [*lines, *(f"  {text}" for text in texts), "}"]
