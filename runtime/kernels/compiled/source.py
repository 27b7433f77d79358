"""The C text of a compiled step: its parts as functions, regions of them as loops over blocks of nodes.

Several threads have blocks of their own, where torch's BLAS leaves the products of each thread to it: then a region is
one parallel loop, and what its statements call sees one thread.
"""

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

# what a part is told: how many nodes, edges, systems and threads, where something is wrong, how many nodes a block has,
# how many threads have blocks of their own, and how many bytes lie between the rooms of two of them
SIZES = ("NODES", "EDGES", "S", "THREADS", None, "BLOCK", "TEAM", "STRIDE")
_TEAMS = """
#ifdef _OPENMP
int omp_get_thread_num(void);
#define MEMBER omp_get_thread_num()
#else
#define MEMBER 0
#endif
typedef int (*alone_t)(int);
"""


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
    alone = writer.alone().number if writer.blocks else None
    choices = "".join(f"  const int {name} = {when};\n" for name, when in writer.choices.items())
    loops = _Loops(tuple(writer.slots), found, writer.rows, placed, Statement(sort), alone, choices)
    functions = [loops.function(number, part) for number, part in enumerate(parts)]
    text = "\n".join((prelude(writer.dtype), PRODUCTS, _TEAMS, *helpers, *writer.tables, *functions))
    return Source(text, tuple(writer.slots), found, len(parts))


@dataclass(frozen=True, slots=True)
class _Loops:
    """Writes functions. `rows` is the slot that says where nodes' edges begin, `sort` what makes the order of
    species of a block in the slot `placed`, `alone` the slot of what makes products a thread's own work, `choices`
    the conditions that statements name."""

    slots: tuple[Slot, ...]
    rooms: Rooms
    rows: int | None
    placed: int | None
    sort: Statement
    alone: int | None
    choices: str

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
        sizes = ", ".join(f"{name} = sizes[{k}]" for k, name in enumerate(SIZES) if name)
        return (
            f"int64_t part{number}(int64_t *sizes, void **P) {{\n  const int64_t {sizes};\n"
            "  const int64_t N = NODES, E = EDGES, FIRST = 0, threads = THREADS, several = THREADS > 1;\n"
            f"{self.choices}  {body}\n  return 0;\n}}\n"
        )

    def _loop(self, region: Region) -> list[str]:
        """Within it N and E are of the block, and slots begin where its rows do: p3 at those of its nodes and edges, e3
        so that edges have the numbers that they have among all."""
        sorts = any(self.placed in statement.here for statement in region.body)
        body = [self.sort, *region.body] if sorts else region.body
        turns = region.turns + sorts
        lines = [
            "#pragma omp parallel num_threads(TEAM) if(TEAM > 1)",
            "{",
            "const int64_t OWN = TEAM > 1 ? MEMBER * STRIDE : 0, threads = TEAM > 1 ? 1 : THREADS;",
            f"const int before = TEAM > 1 ? ((alone_t)P[{self.alone}])(1) : 0;",
            f"#pragma omp for {'ordered ' if turns < len(body) else ''}schedule(static, 1)",
            "for (int64_t FIRST = 0; FIRST < NODES; FIRST += BLOCK) {",
            "  const int64_t N = NODES - FIRST < BLOCK ? NODES - FIRST : BLOCK;",
        ]
        if self.rows is not None:
            row = f"((const int64_t *)P[{self.rows}])"
            lines.append(f"  const int64_t FROM = {row}[FIRST], E = {row}[FIRST + N] - FROM;")
        texts = [self._numbered(statement) for statement in body]
        lines += [self._place(name) for name in sorted(set(re.findall(r"\b[pe]\d+\b", " ".join(texts))))]
        lines += [f"  {text}" for text in texts[:turns]]
        if turns < len(body):
            lines += ["#pragma omp ordered", "  {", *(f"  {text}" for text in texts[turns:]), "  }"]
        return [*lines, "}", f"if (TEAM > 1) ((alone_t)P[{self.alone}])(before);", "}"]

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
        start = f"((char *)P[{number}] + OWN)" if block else f"P[{number}]"
        offset = ""
        if kind == "node" and not block:
            offset = f" + FIRST * {_width(slot, 0)}"
        elif kind == "edge" and block == (name[0] == "e") and self.rows is not None:
            offset = f" {'-' if block else '+'} FROM * {_width(slot, 1)}"
        return f"  {slot.ctype} *const {name} = ({slot.ctype} *){start}{offset};"


def _width(slot: Slot, which: int) -> int:
    return slot.origin.size[which] if isinstance(slot.origin, Buffer) else slot.width
