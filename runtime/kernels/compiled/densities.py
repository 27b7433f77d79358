"""Densities in C: sums of outer products by their kernel, and matrices made of the features of species."""

from __future__ import annotations

from equic.runtime.layers.density import Density
from equic.runtime.layers.mlp import Mlp
from equic.runtime.layers.table import Table

from ..density import DensityKernel, density_source
from ..gemm_tasks import density_tasks
from .ends import edges_of
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
    weights = _weights(call, held, table, layer.hidden)
    kind, edges = w.buffer("edge", None, "int64_t"), edges_of(call)
    w.line(f"for (int64_t e = 0; e < E; e++) {kind}[e] = {species}[{edges}[e]];")
    tasks, length = density_tasks(held, layer.hidden), held.species * layer.hidden
    source = density_source(y.width, layer.hidden, w.dtype)
    place = f"(N, (int64_t){held.species}, threads, {orders(order)[0]}, {kind}, {y}, {h}"
    sums, out = w.buffer("node", y.width * length), w.buffer("node", held.out.dim)
    w.line(f"{w.kernel(source, 'forward')}{place}, {sums});")
    w.products(tasks, sums, weights, out, back=False, fresh=True)
    w.drop(sums)

    def pull(g: Slot) -> None:
        by_sums = w.buffer("node", y.width * length)
        w.products(tasks, g, weights, by_sums, back=True, fresh=True)
        made = w.buffer("edge", y.dim), w.buffer("edge", h.dim)
        w.line(f"{w.kernel(source, 'backward')}{place}, {by_sums}, {made[0]}, {made[1]});")
        w.drop(by_sums)
        for number, slot in enumerate(made):
            if call.moves[1 + number]:
                call.give(1 + number, slot)
            w.drop(slot)

    return Value(out, pull, (weights, kind, *call.keep(y, h, order)))


def _weights(call: Call, held: Density, table: Slot, hidden: int) -> Slot:
    """The matrices of all blocks, one after another."""
    ((owner, name),), w = call.borrowed, call.writer
    if isinstance(owner, Mlp) and name == "last_matrix":
        matrix = w.weight(owner.weights, str(len(owner.weights) - 1))
        columns = owner.last_matrix.shape[1]
    elif isinstance(owner, Table) and name == "last_matrix":
        matrix, columns = w.weight(owner, name), owner.last_matrix.shape[1]
    else:
        raise UnsupportedError("a matrix of another layer")
    widths = [sum(held.left[i].mul for i, *_ in paths) for paths in held.paths]
    made = w.buffer(1, held.species * hidden * sum(widths))
    average = f" / *{w.given('average_neighbors', 'double')}" if held.average else ""
    start = 0
    for paths, width in zip(held.paths, widths, strict=True):
        for i, _, first, factor in paths:
            block = held.left[i]
            by = f"(T)({factor!r}{average})"
            w.line(
                f"density_weights({held.species}, {hidden}, {block.mul}, {width}, {by}, {table} + {block.start}, "
                f"{table.width}, {matrix} + {first}, {columns}, {made} + {start});"
            )
            start += block.mul
        start += (held.species * hidden - 1) * width
    return made


SOURCE = """
// out[s hidden + j, u] = by M[j, u] table[s, u]
static void density_weights(int64_t kinds, int64_t hidden, int64_t mul, int64_t width, T by, const T *table,
                            int64_t ldt, const T *M, int64_t ldm, T *out) {
  for (int64_t s = 0; s < kinds; s++) for (int64_t j = 0; j < hidden; j++) {
    const T *t = table + s * ldt, *m = M + j * ldm; T *o = out + (s * hidden + j) * width;
    ROW(u, mul, store(o + u, by * load(m + u, l) * load(t + u, l), l);)
  }
}
"""
