"""Densities in C: sums of outer products by their kernel, and matrices made of the features of species."""

from __future__ import annotations

from collections.abc import Iterator

from equic.runtime.layers.density import Density
from equic.runtime.layers.mlp import Mlp
from equic.runtime.layers.table import Table

from ..density import DensityKernel, density_source
from ..gemm_tasks import density_tasks
from .ends import edges_of
from .folding import chained
from .products import Map
from .slots import Slot
from .sums import orders
from .writer import Call, UnsupportedError, Value


def density(call: Call, layer: DensityKernel) -> Value:
    """Sums for each node and species of sender, then one matrix for all nodes."""
    held = layer.density.module
    assert isinstance(held, Density)
    if call.moves[0]:
        raise UnsupportedError("features of species that move")
    w, (table, y, h, species, order) = call.writer, call.inputs
    call.species(held.species)
    weights = density_weights(call, held, table, layer.hidden)
    kind = sender_kinds(call, species)
    tasks, length = density_tasks(held, layer.hidden), held.species * layer.hidden
    source = density_source(y.width, layer.hidden, w.dtype)
    place = f"(N, (int64_t){held.species}, threads, {orders(order)[0]}, {kind}, {y}, {h}"
    sums, out = w.buffer("node", y.width * length), w.buffer("node", held.out.dim)
    w.line(f"{w.kernel(source, 'forward')}{place}, {sums});", "targets", reads=(order, kind, y, h))
    own = Map(tasks, weights)
    chain = chained(call, own, sums, out)
    w.drop(sums)

    def pull(g: Slot) -> None:
        by_sums = w.buffer("node", y.width * length)
        if chain is None:
            own.write(w, g, by_sums, back=True)
        else:
            chain.back(own, g, by_sums, fresh=True)
        made = w.buffer("edge", y.dim), w.buffer("edge", h.dim)
        w.line(
            f"{w.kernel(source, 'backward')}{place}, {by_sums}, {made[0]}, {made[1]});",
            "targets",
            reads=(order, kind, y, h, by_sums),
        )
        w.drop(by_sums)
        for number, slot in enumerate(made):
            if call.moves[1 + number]:
                call.give(1 + number, slot)
            w.drop(slot)

    return Value(out, pull, (weights, kind, *call.keep(y, h, order)))


def sender_kinds(call: Call, species: Slot) -> Slot:
    """The species of each edge's sender."""
    kind = call.writer.buffer("edge", None, "int64_t")
    call.writer.line(f"for (int64_t e = 0; e < E; e++) {kind}[e] = {species}[{edges_of(call)}[e]];")
    return kind


def matrix_of(call: Call) -> tuple[Slot, tuple[int, ...]]:
    """The radial matrix, which another layer holds, and its shape."""
    ((owner, name),) = call.borrowed
    if isinstance(owner, Mlp) and name == "last_matrix":
        return call.writer.weight(owner.weights, str(len(owner.weights) - 1)), tuple(owner.last_matrix.shape)
    if isinstance(owner, Table) and name == "last_matrix":
        return call.writer.weight(owner, name), tuple(owner.last_matrix.shape)
    raise UnsupportedError("a matrix of another layer")


def density_weights(call: Call, held: Density, table: Slot, hidden: int) -> Slot:
    """The matrices of all blocks, one after another."""
    widths = [sum(held.left[i].mul for i, *_ in paths) for paths in held.paths]
    made = call.writer.buffer(1, held.species * hidden * sum(widths))
    for place in density_places(call, held, table, hidden, made):
        call.writer.line(f"density_weights({place});")
    return made


def density_places(call: Call, held: Density, table: Slot, hidden: int, joined: Slot) -> Iterator[str]:
    """Of each path, where its columns are in the table, in the radial matrix, and in the joined matrices."""
    w, (matrix, (_, columns)) = call.writer, matrix_of(call)
    average = f" / *{w.given('average_neighbors', 'double')}" if held.average else ""
    start = 0
    for paths in held.paths:
        width = sum(held.left[i].mul for i, *_ in paths)
        for i, _, first, factor in paths:
            block = held.left[i]
            yield (
                f"{held.species}, {hidden}, {block.mul}, {width}, (T)({factor!r}{average}), {table}, {block.start}, "
                f"{table.width}, {matrix}, {first}, {columns}, {joined} + {start}"
            )
            start += block.mul
        start += (held.species * hidden - 1) * width


SOURCE = """
// out[s hidden + j, u] = by M[j, m + u] table[s, t + u]
static void density_weights(int64_t kinds, int64_t hidden, int64_t mul, int64_t width, T by, const T *table,
                            int64_t t, int64_t ldt, const T *M, int64_t m, int64_t ldm, T *out) {
  for (int64_t s = 0; s < kinds; s++) for (int64_t j = 0; j < hidden; j++) {
    const T *a = table + s * ldt + t, *b = M + j * ldm + m; T *o = out + (s * hidden + j) * width;
    ROW(u, mul, store(o + u, by * load(b + u, l) * load(a + u, l), l);)
  }
}
// the gradients by both, added up, from that by their products
static void by_density_weights(int64_t kinds, int64_t hidden, int64_t mul, int64_t width, T by, const T *table,
                               int64_t t, int64_t ldt, const T *M, int64_t m, int64_t ldm, const T *G, T *GT, T *GM) {
  for (int64_t s = 0; s < kinds; s++) for (int64_t j = 0; j < hidden; j++) {
    const T *a = table + s * ldt + t, *b = M + j * ldm + m, *g = G + (s * hidden + j) * width;
    T *ga = GT + s * ldt + t, *gb = GM + j * ldm + m;
    ROW(u, mul,
      const V q = by * load(g + u, l);
      store(ga + u, load(ga + u, l) + q * load(b + u, l), l);
      store(gb + u, load(gb + u, l) + q * load(a + u, l), l);)
  }
}
"""
