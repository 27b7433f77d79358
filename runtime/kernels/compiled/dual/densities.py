"""Densities, with the derivatives along the direction, and back with pairs of gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equic.runtime.layers.density import Density
from equic.runtime.plan import Step

from ...density import DensityKernel, density_source
from ...gemm_tasks import density_tasks
from .. import densities, sums
from ..products import Map
from ..slots import Slot
from ..writer import UnsupportedError
from .value import Dual

if TYPE_CHECKING:
    from .builder import DualBuilder


def density(b: DualBuilder, step: Step, layer: DensityKernel) -> Dual:
    """Bilinear in Y and h: the sums of both derivatives; the matrices do not move."""
    w, call, held = b.w, b.call(step, layer), layer.density.module
    assert isinstance(held, Density)
    of_table, y, h = (b.values[name] for name in step.inputs[:3])
    if of_table.moved is not None or y.moved is None or h.moved is None:
        raise UnsupportedError("features of species that move, or edges that do not")
    table, species, order = call.inputs[0], call.inputs[3], call.inputs[4]
    call.species(held.species)
    matrix, shape = densities.matrix_of(call)
    by_matrix = b.by_weight(matrix, shape)
    weights = densities.density_weights(call, held, table, layer.hidden)
    own, length = Map(density_tasks(held, layer.hidden), weights), held.species * layer.hidden
    source = density_source(y.slot.width, layer.hidden, w.dtype)
    kind = densities.sender_kinds(call, species)
    place = f"(N, (int64_t){held.species}, threads, {sums.orders(order)[0]}, {kind}"
    forward, backward = (w.kernel(source, name) for name in ("forward", "backward"))

    def outer(first: Slot, second: Slot) -> Slot:
        made = w.buffer("node", y.slot.width * length)
        w.line(f"{forward}{place}, {first}, {second}, {made});")
        return made

    totals = outer(y.slot, h.slot), b.sum([outer(y.moved, h.slot), outer(y.slot, h.moved)])
    values = w.buffer("node", held.out.dim), w.buffer("node", held.out.dim)
    for total, value in zip(totals, values, strict=True):
        own.write(w, total, value)

    def by_h(g: Slot, first: Slot) -> Slot:
        made, other = w.buffer("edge", h.slot.dim), w.buffer("edge", y.slot.dim)
        w.line(f"{backward}{place}, {first}, {h.slot}, {g}, {other}, {made});")
        w.drop(other)
        return made

    def pull(eta: Slot | None, g: Slot | None) -> None:
        joined, by_table = w.buffer(weights.rows, weights.dim), w.buffer(table.rows, table.dim)
        for one in (joined, by_table):
            w.line(f"memset({one}, 0, {one.numbers} * sizeof(T));")
        name = step.inputs[2]
        for gradient, total, is_value in ((eta, totals[0], True), (g, totals[1], False)):
            if gradient is None:
                continue
            own.outer(w, total, gradient, joined)
            if not b.learned(name):
                continue
            by_sums = w.buffer("node", y.slot.width * length)
            own.write(w, gradient, by_sums, back=True)
            if is_value:
                b.give(name, by_h(by_sums, y.slot), None)
            else:
                b.give(name, by_h(by_sums, y.moved), by_h(by_sums, y.slot))
            w.drop(by_sums)
        for where in densities.density_places(call, held, table, layer.hidden, joined):
            w.line(f"by_density_weights({where}, {by_table}, {by_matrix});")
        w.drop(joined)
        b.give(step.inputs[0], by_table, None)

    return Dual(*values, pull)
