"""The gradient of a loss by the weights as C, where the loss reads energies and their derivatives.

With a, b, B the derivatives of a loss by energies, forces and stresses, its gradient by the weights w is

    dL/dw = d/dw [ sum_s a_s E_s + D E ],   D E = d/dt E(x + t d, e + t D) at t = 0

E summed over the systems, d and D the directions that b and B stand for (forces and stress are multiples of the
gradient by positions x and strain e). So one pass there carries values y and their derivatives dy along the
direction, one back carries pairs (h, g) of gradients by y and dy:

    y = f(x):   dy = f'(x) dx,   g_x = f'(x)^T g,   h_x = f'(x)^T h + (f''(x) dx)^T g

and what does not depend on weights is not followed back (Pearlmutter 1994, Neural Computation 6, 147).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from equic.runtime.layers.act import Gate, Pointwise
from equic.runtime.layers.algebra import Add
from equic.runtime.layers.base import Layer
from equic.runtime.layers.by_species import AllSpecies, Lookup
from equic.runtime.layers.geometry import Length, Relative, SphericalHarmonics
from equic.runtime.layers.indexing import SumSystem
from equic.runtime.layers.inputs import Embed, Input, ShiftScale
from equic.runtime.layers.linear import Linear
from equic.runtime.layers.mlp import Mlp
from equic.runtime.layers.radial import Radial
from equic.runtime.plan import Step

from ...density import DensityKernel
from ...edges import EdgeOrder
from ...message import Message
from ...power import PowerKernel
from .. import densities as values_densities
from .. import ends as values_ends
from .. import maps as values_maps
from .. import products as values_products
from .. import rows as values_rows
from .. import sums as values_sums
from ..pieces import pieces
from ..regions import Statement
from ..slots import Slot
from ..source import Source, source_of
from ..writer import Call, Gradients, UnsupportedError, Writer
from . import densities, ends, maps, sums
from .source import SOURCE
from .value import Dual


class DualBuilder:
    """Writes the program. What the way there makes stays: the way back reads most of it."""

    def __init__(
        self,
        steps: Sequence[Step],
        layers: Mapping[str, Layer],
        scalar: str,
        strains: bool,
        borrowed: Mapping[str, Sequence[tuple[Layer, str]]],
        dtype: torch.dtype,
    ) -> None:
        self.steps, self.layers, self.scalar = steps, layers, scalar
        self.strains, self.borrowed = strains, borrowed
        self.w = Writer(dtype, blocks=False)
        self.values: dict[str, Dual] = {}
        self.by_value, self.by_move = Gradients(self.w), Gradients(self.w)
        self.weights: dict[int, tuple[Slot, Slot]] = {}

    def write(self) -> Source:
        """The source; `weights` then says where the gradient by each weight goes.

        Raises:
            UnsupportedError: a layer has no such form.
        """
        w = self.w
        for step in self.steps:
            layer = self.layers[step.name]
            write = EMITTERS.get(type(layer))
            if write is None:
                raise UnsupportedError(type(layer).__name__)
            self.values[step.name] = write(self, step, layer)
        energy = self.values[self.scalar]
        if energy.pull is None:
            raise UnsupportedError("an energy without weights")
        ones = w.buffer("system", energy.slot.dim, "double")
        w.line(f"for (int64_t i = 0; i < S; i++) {ones}[i] = 1;")
        self.by_value.found[self.scalar] = w.given("by_energy", "double", "system", None)
        self.by_move.found[self.scalar] = ones
        for step in reversed(self.steps):
            value = self.values[step.name]
            h, g = self.by_value.found.pop(step.name, None), self.by_move.found.pop(step.name, None)
            if value.pull is not None and (h is not None or g is not None):
                value.pull(h, g)
            for slot in (h, g):
                if slot is not None:
                    w.drop(slot)
        zeros = [Statement(f"memset({to}, 0, {to.width} * sizeof(T));") for _, to in self.weights.values()]
        w.parts[0][:0] = [*w.checks(), *zeros]
        sources = (pieces(w.dtype), *(kind.SOURCE for kind in _VALUES), SOURCE)
        return source_of(w, sources, ())

    def by_weight(self, slot: Slot, shape: Sequence[int]) -> Slot:
        """Where the gradient by a weight is added up."""
        if slot.number not in self.weights:
            count = 1
            for size in shape:
                count *= int(size)
            made = self.w.made(("weight", str(slot.number)), "T", 1, count, own=True)
            self.weights[slot.number] = slot, made
        return self.weights[slot.number][1]

    def call(self, step: Step, layer: Layer) -> Call:
        """The step as the emitters of values know it."""
        inputs = tuple(self.values[name].slot for name in step.inputs)
        moves = tuple(self.values[name].moved is not None for name in step.inputs)
        return Call(self.w, step, layer, inputs, moves, self.by_value, self.strains, self.borrowed[step.name])

    def learned(self, name: str) -> bool:
        """Whether weights have a say in a value."""
        return self.values[name].pull is not None

    def give(self, name: str, h: Slot | None, g: Slot | None) -> None:
        """Add a pair of gradients to that by a value, as far as anybody follows it; the caller's hold ends."""
        value = self.values[name]
        for slot, found, follows in ((h, self.by_value, True), (g, self.by_move, value.moved is not None)):
            if slot is None:
                continue
            if value.pull is not None and follows:
                found.give(name, slot)
            self.w.drop(slot)

    def sum(self, parts: Sequence[Slot]) -> Slot:
        """Their sum; the first one where it is alone."""
        total = parts[0]
        for other in parts[1:]:
            new = self.w.buffer(total.rows, total.dim, total.ctype)
            name = {"T": "add", "double": "add_double"}[total.ctype]
            self.w.line(f"{name}({new.numbers}, threads, {total}, {other}, {new});")
            total = new
        return total


_VALUES = (values_ends, values_products, values_maps, values_rows, values_sums, values_densities)
# what writes each kind of layer
EMITTERS: dict[type[Layer], Callable[..., Dual]] = {
    Input: ends.input_field,
    Relative: ends.relative,
    Length: ends.length,
    SphericalHarmonics: ends.harmonics,
    Radial: ends.radial,
    AllSpecies: ends.all_species,
    Embed: ends.embed,
    Lookup: ends.lookup,
    EdgeOrder: ends.edge_order,
    ShiftScale: ends.shift_scale,
    SumSystem: ends.sum_system,
    Linear: maps.linear,
    Mlp: maps.mlp,
    Pointwise: maps.pointwise,
    Gate: maps.gate,
    Add: maps.add,
    Message: sums.message,
    PowerKernel: sums.power,
    DensityKernel: densities.density,
}
