"""Linear maps that follow each other: one product with the product of their matrices, where there are nodes enough.

    y = (x W1) W2 = x (W1 W2),    g_x = g_y (W1 W2)^T

W1 W2 is made at each call, for each species where one of them has matrices for each, so it takes as long as the maps of
some nodes do. With fewer nodes they go one by one: C chooses by the number of nodes that it is called with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..gemm import Task
from .products import Map
from .slots import Slot
from .writer import Call, Writer

# by how much the maps of the nodes have to outweigh the matrices' product
WORTH = 1.5


class Chain:
    """Maps one after another, from the first one's rows on. C calls its choice of one product for all `choice`."""

    def __init__(self, w: Writer, source: Slot) -> None:
        self.w, self.source, self.choice = w, source, w.choice()
        self.maps: list[Map] = []
        self.folded: Map | None = None
        # the gradient by what the last map gives
        self.gradient: Slot | None = None
        w.hold(source)

    def forward(self, own: Map, x: Slot, y: Slot, *, last: bool) -> None:
        """Write the next map; behind the last one all of them in one."""
        self.maps.append(own)
        with self.w.when(f"!{self.choice}"):
            own.write(self.w, x, y)
        if not last:
            self.w.chains[y.number] = self
            return
        with self.w.when(self.choice):
            self.folded = self._fold()
            if self.folded is not None:
                self.folded.write(self.w, self.source, y)
        self.w.drop(self.source)

    def back(self, own: Map, g: Slot, total: Slot, *, fresh: bool) -> None:
        """Write a map's way back, and with the first one's that of all in one."""
        w = self.w
        if own is self.maps[-1]:
            self.gradient = g
            w.hold(g)
        with w.when(f"!{self.choice}"):
            own.write(w, g, total, back=True, fresh=fresh)
        if own is not self.maps[0] or self.gradient is None:
            return
        if self.folded is not None:
            with w.when(self.choice):
                self.folded.write(w, self.gradient, total, back=True, fresh=fresh)
        w.drop(self.gradient)

    def _fold(self) -> Map | None:
        """All of them as one, and from how many nodes on; None where blocks of columns do not meet, or nothing is
        spared."""
        found, cost = self.maps[0], 0
        for own in self.maps[1:]:
            pair = _pairs(found, own)
            if pair is None:
                return None
            found, more = _product(self.w, found, own, pair)
            cost += more
        spared = sum(own.work for own in self.maps) - found.work
        if spared <= 0:
            return None
        self.w.choose(self.choice, f"NODES >= {math.ceil(WORTH * cost / spared)}")
        return found


def chained(call: Call, own: Map, x: Slot, y: Slot) -> Chain | None:
    """Write y = x W, and say of which chain it is a part."""
    w = call.writer
    chain = w.chains.pop(x.number, None)
    if chain is None and call.ahead:
        chain = Chain(w, x)
    if chain is None:
        own.write(w, x, y)
    else:
        chain.forward(own, x, y, last=not call.ahead)
    return chain


def _pairs(first: Map, second: Map) -> list[tuple[Task, Task]] | None:
    """Which products follow which; None where one reads a part of what another has made."""
    found = []
    for b in second.tasks:
        met = [a for a in first.tasks if a.y < b.x + b.rows and b.x < a.y + a.columns]
        if any((a.y, a.columns) != (b.x, b.rows) for a in met):
            return None
        found += [(a, b) for a in met]
    return found


def _product(w: Writer, first: Map, second: Map, pairs: Sequence[tuple[Task, Task]]) -> tuple[Map, int]:
    """One map instead of two, and the multiplications that its matrices take."""
    kinds, places, size, cost = max(first.kinds, second.kinds), {}, 0, 0
    for a, b in pairs:
        if (a.matrix, b.matrix) not in places:
            places[a.matrix, b.matrix] = size
            size += a.rows * b.columns
            cost += kinds * a.rows * a.columns * b.columns
    numbers = [
        number
        for ((at, rows, middle, long), (to, _, columns, wide)), place in places.items()
        for number in (at, to, rows, middle, columns, long, wide, place)
    ]
    made = w.buffer(kinds, size)
    steps = ", ".join(str(own.matrix.width if own.kinds > 1 else 0) for own in (first, second))
    w.line(
        f"fold({w.blas()}, {len(places)}, {w.table('int64_t', numbers)}, {kinds}, {steps}, {size}, {first.matrix}, "
        f"{second.matrix}, {made});",
        reads=(first.matrix, second.matrix),
    )
    tasks = [
        Task(a.x, b.y, places[a.matrix, b.matrix], a.rows, b.columns, b.columns, a.scale * b.scale)
        for a, b in pairs
    ]
    return Map(tasks, made, first.order or second.order), cost


SOURCE = """
// products of matrices: where both begin, rows, columns of the first, of the second, lengths of the rows that they are
// parts of, where it goes
static void fold(gemm_t gemm, int64_t count, const int64_t *pairs, int64_t kinds, int64_t first, int64_t second,
                 int64_t length, const T *A, const T *B, T *out) {
  const T one = 1, none = 0;
  for (int64_t k = 0; k < kinds; k++, A += first, B += second, out += length)
    for (const int64_t *t = pairs; t < pairs + 8 * count; t += 8) {
      const int rows = t[2], middle = t[3], columns = t[4], lda = t[5], ldb = t[6];
      gemm("N", "N", &columns, &rows, &middle, &one, B + t[1], &ldb, A + t[0], &lda, &none, out + t[7], &columns);
    }
}
"""
