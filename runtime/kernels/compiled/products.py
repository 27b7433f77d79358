"""Linear maps of rows as lists of matrix products in C, for all rows alike or for each species."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..gemm import Task
from .slots import Buffer, Slot, size_of
from .writer import Writer


@dataclass(frozen=True, slots=True)
class Map:
    """y = x W: a list of products with a matrix; with one for each species where there is an `order` of the rows by
    them, as `sort_rows` leaves it, and the matrix has a row for each."""

    tasks: Sequence[Task]
    matrix: Slot
    order: Slot | None = None

    @property
    def kinds(self) -> int:
        """How many species have matrices of their own."""
        return 1 if self.order is None else int(self.matrix.rows)

    @property
    def work(self) -> int:
        """Multiplications for a row."""
        return sum(task.rows * task.columns for task in self.tasks)

    def write(self, w: Writer, x: Slot, y: Slot, *, back: bool = False, fresh: bool = True) -> None:
        """y (+)= x W; with `back` by the transposed matrices."""
        if back and self._turns(x):
            self._turned(w).write(w, x, y, fresh=fresh)
        elif self.kinds > 1:
            self._by_species(w, x, y, back, fresh)
        else:
            self._clear(w, y, back, fresh)
            w.line(
                f"all({self._call(w, back, fresh)}, {y.count}, {x.width}, {y.width}, {x}, {self.matrix}, {y});",
                reads=(x, self.matrix),
            )

    def outer(self, w: Writer, x: Slot, g: Slot, to: Slot) -> None:
        """Add X^T G for each of the products: the gradient by their matrices."""
        table, scales = self._tables(w, back=False, fresh=False)
        call = f"by_matrices({w.blas()}, {len(self.tasks)}, {table}, {scales}"
        if self.kinds == 1:
            w.line(f"{call}, {x.count}, {x.width}, {g.width}, {x}, {g}, {to});")
            return
        x_, g_, order = w.buffer(x.rows, x.dim), w.buffer(g.rows, g.dim), self.order
        for rows, placed in ((x, x_), (g, g_)):
            w.line(f"place_rows({rows.count}, threads, {rows.width}, {order}, {rows}, {placed});")
        w.line(
            f"for (int64_t s = 0, from = 0; s < {self.kinds}; from = {order}[N + s++]) {call}, "
            f"{order}[N + s] - from, {x.width}, {g.width}, {x_} + from * {x.width}, {g_} + from * {g.width}, "
            f"{to} + s * {self.matrix.dim});"
        )
        w.drop(x_)
        w.drop(g_)

    def _by_species(self, w: Writer, x: Slot, y: Slot, back: bool, fresh: bool) -> None:
        place, matrix = self.order, self.matrix
        assert place is not None
        x_, y_ = w.buffer(x.rows, x.dim), w.buffer(y.rows, y.dim)
        self._clear(w, y_, back, True)
        w.line(f"place_rows({x.count}, threads, {x.width}, {place}, {x}, {x_});", "nodes", reads=(place, x))
        w.line(
            f"for (int64_t s = 0, from = 0; s < {self.kinds}; from = {place}[N + s++]) if ({place}[N + s] > from) "
            f"all({self._call(w, back, True)}, {place}[N + s] - from, {x.width}, {y.width}, {x_} + from * {x.width}, "
            f"{matrix} + s * {matrix.dim}, {y_} + from * {y.width});",
            "nodes",
            reads=(place, matrix),
        )
        w.line(
            f"take_rows({y.count}, threads, {y.width}, {place}, {y_}, {y}, {int(not fresh)});",
            "nodes",
            reads=(place,),
        )
        w.drop(x_)
        w.drop(y_)

    def _turns(self, x: Slot) -> bool:
        """Whether the way back goes by copies of the matrices, transposed: BLAS takes longer to read matrices the other
        way, which shows where rows are as few as those of nodes; several components have to share each of them."""
        return x.rows == "node" and len(self.tasks) >= 2 * len({task.matrix for task in self.tasks})

    def _turned(self, w: Writer) -> Map:
        """x = y W^T by copies of the matrices, made once."""
        places, size = {}, 0
        for matrix in dict.fromkeys(task.matrix for task in self.tasks):
            places[matrix] = size
            size += matrix[1] * matrix[2]
        key = ("turned", self.matrix.number, tuple(places), w.condition)
        known = w.knows(key)
        made = w.once(key, "T", Buffer(size_of(self.kinds, size)), self.kinds, size)
        if not known:
            table = w.table("int64_t", [number for one in places.items() for number in (*one[0], one[1])])
            w.line(
                f"turn({len(places)}, {table}, {self.kinds}, {self.matrix.width}, {size}, {self.matrix}, {made});",
                reads=(self.matrix,),
            )
        tasks = [Task(t.y, t.x, places[t.matrix], t.columns, t.rows, t.rows, t.scale) for t in self.tasks]
        return Map(tasks, made, self.order)

    def _clear(self, w: Writer, y: Slot, back: bool, fresh: bool) -> None:
        filled = {(task.x, task.rows) if back else (task.y, task.columns) for task in self.tasks}
        if fresh and sum(width for _, width in filled) < y.width:
            w.line(f"memset({y}, 0, {y.numbers} * sizeof(T));")

    def _call(self, w: Writer, back: bool, fresh: bool) -> str:
        table, scales = self._tables(w, back, fresh)
        return f"{w.blas()}, {len(self.tasks)}, {table}, {scales}, {int(back)}"

    def _tables(self, w: Writer, back: bool, fresh: bool) -> tuple[str, str]:
        rows, written = [], set()
        for task in self.tasks:
            x, y = (task.y, task.x) if back else (task.x, task.y)
            rows += [x, y, task.w, task.rows, task.columns, task.width, int(fresh and y not in written)]
            written.add(y)
        return w.table("int64_t", rows), w.table("double", [task.scale for task in self.tasks])


SOURCE = """
// matrices: where one begins, rows, columns, the length of the rows that it is a part of, where its transpose goes
static void turn(int64_t count, const int64_t *matrices, int64_t kinds, int64_t size, int64_t length, const T *W,
                 T *out) {
  typedef T Q __attribute__((vector_size(4 * sizeof(T))));
  for (int64_t k = 0; k < kinds; k++, W += size, out += length)
    for (const int64_t *m = matrices; m < matrices + 5 * count; m += 5) {
      const int64_t rows = m[1], columns = m[2], width = m[3];
      T *o = out + m[4];
      // some columns at a time: their rows of the transpose stay in the cache
      for (int64_t first = 0; first < columns; first += 16)
        for (int64_t i = 0; i < rows; i += 4)
          for (int64_t j = first; j < columns && j < first + 16; j++) {
            const T *w = W + m[0] + i * width + j;
            if (i + 4 <= rows) {
              const Q q = {w[0], w[width], w[2 * width], w[3 * width]};
              memcpy(o + j * rows + i, &q, sizeof q);
            } else for (int64_t l = i; l < rows; l++) o[j * rows + l] = w[(l - i) * width];
          }
    }
}
"""
