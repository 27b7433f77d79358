"""Both ends of the way: what moves along the direction, and energies; what leads there has no way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equic.runtime.layers.by_species import AllSpecies, Lookup
from equic.runtime.layers.geometry import Length, Relative, SphericalHarmonics
from equic.runtime.layers.indexing import SumSystem
from equic.runtime.layers.inputs import Embed, Input, ShiftScale
from equic.runtime.layers.radial import Radial
from equic.runtime.plan import Step

from ...edges import EdgeOrder
from ...geometry import harmonics_source
from .. import ends, sums
from ..slots import Slot
from ..writer import UnsupportedError
from .value import Dual

if TYPE_CHECKING:
    from .builder import DualBuilder


def input_field(b: DualBuilder, step: Step, layer: Input) -> Dual:
    """Positions move along the direction."""
    value = ends.input_field(b.call(step, layer), layer).slot
    if layer.fields == ("positions",):
        return Dual(value, b.w.given("along_positions", "double", "node", 3))
    return Dual(value)


def relative(b: DualBuilder, step: Step, layer: Relative) -> Dual:
    """dv = t_t - t_s + D v."""
    call = b.call(step, layer)
    v = ends.relative(call, layer).slot
    w, moved = b.w, b.w.buffer("edge", 3)
    t = b.values[step.inputs[0]].moved
    strain = w.given("along_strain", "double", "system", 9) if b.strains else "(double *)0"
    system = w.given("system", "int64_t")
    w.line(f"moved_vectors(E, threads, {ends.edges_of(call)}, {t}, {strain}, {system}, {v}, {moved});")
    return Dual(v, moved)


def length(b: DualBuilder, step: Step, layer: Length) -> Dual:
    """dr = v dv / r."""
    v = b.values[step.inputs[0]]
    r, moved = ends.length(b.call(step, layer), layer).slot, b.w.buffer("edge", 1)
    b.w.line(f"moved_lengths(E, threads, {v.slot}, {r}, {v.moved}, {moved});")
    return Dual(r, moved)


def harmonics(b: DualBuilder, step: Step, layer: SphericalHarmonics) -> Dual:
    """By their kernel."""
    v = b.values[step.inputs[0]]
    y = ends.harmonics(b.call(step, layer), layer).slot
    moved = b.w.buffer("edge", y.dim)
    tangent = b.w.kernel(harmonics_source(layer.lmax, b.w.dtype), "tangent")
    b.w.line(f"{tangent}(E, threads, {v.slot}, {v.moved}, {moved});")
    return Dual(y, moved)


def radial(b: DualBuilder, step: Step, layer: Radial) -> Dual:
    """Bessel functions under a polynomial."""
    if layer.weight is not None:
        raise UnsupportedError("a basis that is trained")
    r = b.values[step.inputs[0]]
    value = ends.radial(b.call(step, layer), layer).slot
    moved = b.w.buffer("edge", value.dim)
    b.w.line(
        f"moved_bessel(E, threads, {ends.bessel_numbers(b.w, step, layer)}, {r.slot}, {r.moved}, {moved});"
    )
    return Dual(value, moved)


def all_species(b: DualBuilder, step: Step, layer: AllSpecies) -> Dual:
    """Species do not move."""
    return Dual(b.w.weight(layer, "numbers", int(layer.numbers.shape[0]), None))


def embed(b: DualBuilder, step: Step, layer: Embed) -> Dual:
    """The table has the gradients of its rows."""
    value = ends.embed(b.call(step, layer), layer).slot
    table = b.w.weight(layer, "weight")
    total = b.by_weight(table, layer.weight.shape)
    species = b.values[step.inputs[0]].slot

    def pull(h: Slot | None, g: Slot | None) -> None:
        assert h is not None
        if step.index == "species":
            b.w.line(f"add({total.numbers}, threads, {total}, {h}, {total});")
        else:
            b.w.line(f"add_rows(N, {value.width}, {species}, {h}, {total});")

    return Dual(value, None, pull)


def lookup(b: DualBuilder, step: Step, layer: Lookup) -> Dual:
    """So has a table that is looked up."""
    name, species = step.inputs[0], b.values[step.inputs[1]].slot
    value, table = ends.lookup(b.call(step, layer), layer).slot, b.values[name].slot

    def pull(h: Slot | None, g: Slot | None) -> None:
        total, fresh = b.by_value.into(name, table.rows, table.dim)
        if fresh:
            b.w.line(f"memset({total}, 0, {total.numbers} * sizeof(T));")
        b.w.line(f"add_rows(N, {value.width}, {species}, {h}, {total});")

    return Dual(value, None, pull if b.learned(name) else None)


def edge_order(b: DualBuilder, step: Step, layer: EdgeOrder) -> Dual:
    """The order of the edges."""
    return Dual(sums.edge_order(b.call(step, layer), layer).slot)


def shift_scale(b: DualBuilder, step: Step, layer: ShiftScale) -> Dual:
    """Nobody reads how energies change along the direction; that they do is what counts."""
    w, call, name = b.w, b.call(step, layer), step.inputs[0]
    value = ends.shift_scale(call, layer).slot
    species, scale, per = call.inputs[1], w.given("scale", "double"), int(layer.per_species)

    def pull(h: Slot | None, g: Slot | None) -> None:
        made: list[Slot | None] = []
        for gradient in (h, g):
            to = None if gradient is None else w.buffer("node", 1)
            if to is not None:
                w.line(f"by_scaled(N, {species}, {scale}, {per}, {gradient}, {to});")
            made.append(to)
        b.give(name, *made)

    # nobody reads how energies change along the direction; that they do is what counts
    return Dual(value, b.values[name].moved and value, pull if b.learned(name) else None)


def sum_system(b: DualBuilder, step: Step, layer: SumSystem) -> Dual:
    """Every node has the gradients of its system."""
    w, call, name = b.w, b.call(step, layer), step.inputs[0]
    x, system = b.values[name], w.given("system", "int64_t")
    value = ends.sum_system(call, layer).slot
    kind = {"T": "", "double": "_double"}[x.slot.ctype]

    def pull(h: Slot | None, g: Slot | None) -> None:
        made: list[Slot | None] = []
        for gradient in (h, g):
            to = None if gradient is None else w.buffer("node", x.slot.dim, x.slot.ctype)
            if to is not None:
                w.line(f"by_sums{kind}(N, {system}, {gradient}, {to});")
            made.append(to)
        b.give(name, *made)

    return Dual(value, x.moved and value, pull if b.learned(name) else None)
