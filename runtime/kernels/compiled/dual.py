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
from dataclasses import dataclass
from typing import Any

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
from equic.runtime.layers.power import Power
from equic.runtime.layers.radial import Radial
from equic.runtime.plan import Step

from ..edges import EdgeOrder
from ..gemm_tasks import linear_tasks, mlp_scales
from ..geometry import harmonics_source
from ..message import Message
from ..message_source import backward_source, forward_source, message_spec
from ..power import PowerKernel
from ..power_source import backward_source as power_backward
from ..power_source import power_spec
from . import ends, maps, rows, sums
from .dual_source import SOURCE
from .maps import NAMES
from .pieces import pieces
from .slots import Slot
from .writer import Call, Gradients, UnsupportedError, Writer

_NONE = "(void *)0"


@dataclass(slots=True)
class Dual:
    """A value, its derivative along the direction (None where it does not move), and the way back.

    `pull` takes the gradients by both, either None; None where no weight has a say in the value.
    """

    slot: Slot
    moved: Slot | None = None
    pull: Callable[[Slot | None, Slot | None], None] | None = None


class DualBuilder:
    """Writes the program. What the way there makes stays: the way back reads most of it."""

    def __init__(
        self,
        steps: Sequence[Step],
        layers: Mapping[str, Layer],
        scalar: str,
        strains: bool,
        dtype: torch.dtype,
    ) -> None:
        self.steps, self.layers, self.scalar, self.strains = steps, layers, scalar, strains
        self.w = Writer(dtype)
        self.values: dict[str, Dual] = {}
        self.by_value, self.by_move = Gradients(self.w), Gradients(self.w)
        self.weights: dict[int, tuple[Slot, Slot]] = {}

    def write(self) -> str:
        """The source; `weights` then says where the gradient by each weight goes.

        Raises:
            UnsupportedError: a layer has no such form.
        """
        w = self.w
        for step in self.steps:
            layer = self.layers[step.name]
            write = _EMITTERS.get(type(layer))
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
        zeros = [f"memset({to}, 0, {to.width} * sizeof(T));" for _, to in self.weights.values()]
        w.parts[0][:0] = [*w.checks(), *zeros]
        sources = (pieces(w.dtype), ends.SOURCE, maps.SOURCE, rows.SOURCE, sums.SOURCE, SOURCE)
        return w.text(sources)

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
        return Call(self.w, step, layer, inputs, moves, self.by_value, self.strains)

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


def _input(b: DualBuilder, step: Step, layer: Input) -> Dual:
    value = ends.input_field(b.call(step, layer), layer).slot
    if layer.fields == ("positions",):
        return Dual(value, b.w.given("along_positions", "double", "node", 3))
    return Dual(value)


def _relative(b: DualBuilder, step: Step, layer: Relative) -> Dual:
    call = b.call(step, layer)
    v = ends.relative(call, layer).slot
    w, moved = b.w, b.w.buffer("edge", 3)
    t = b.values[step.inputs[0]].moved
    strain = w.given("along_strain", "double", "system", 9) if b.strains else "(double *)0"
    system = w.given("system", "int64_t")
    w.line(f"moved_vectors(E, threads, {ends.edges_of(call)}, {t}, {strain}, {system}, {v}, {moved});")
    return Dual(v, moved)


def _length(b: DualBuilder, step: Step, layer: Length) -> Dual:
    v = b.values[step.inputs[0]]
    r, moved = ends.length(b.call(step, layer), layer).slot, b.w.buffer("edge", 1)
    b.w.line(f"moved_lengths(E, threads, {v.slot}, {r}, {v.moved}, {moved});")
    return Dual(r, moved)


def _harmonics(b: DualBuilder, step: Step, layer: SphericalHarmonics) -> Dual:
    v = b.values[step.inputs[0]]
    y = ends.harmonics(b.call(step, layer), layer).slot
    moved = b.w.buffer("edge", y.dim)
    tangent = b.w.kernel(harmonics_source(layer.lmax, b.w.dtype), "tangent")
    b.w.line(f"{tangent}(E, threads, {v.slot}, {v.moved}, {moved});")
    return Dual(y, moved)


def _radial(b: DualBuilder, step: Step, layer: Radial) -> Dual:
    if layer.weight is not None:
        raise UnsupportedError("a basis that is trained")
    r = b.values[step.inputs[0]]
    value = ends.radial(b.call(step, layer), layer).slot
    moved = b.w.buffer("edge", value.dim)
    b.w.line(
        f"moved_bessel(E, threads, {ends.bessel_numbers(b.w, step, layer)}, {r.slot}, {r.moved}, {moved});"
    )
    return Dual(value, moved)


def _all_species(b: DualBuilder, step: Step, layer: AllSpecies) -> Dual:
    return Dual(b.w.weight(layer, "numbers", int(layer.numbers.shape[0]), None))


def _embed(b: DualBuilder, step: Step, layer: Embed) -> Dual:
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


def _lookup(b: DualBuilder, step: Step, layer: Lookup) -> Dual:
    name, species = step.inputs[0], b.values[step.inputs[1]].slot
    value, table = ends.lookup(b.call(step, layer), layer).slot, b.values[name].slot

    def pull(h: Slot | None, g: Slot | None) -> None:
        total, fresh = b.by_value.into(name, table.rows, table.dim)
        if fresh:
            b.w.line(f"memset({total}, 0, {total.numbers} * sizeof(T));")
        b.w.line(f"add_rows(N, {value.width}, {species}, {h}, {total});")

    return Dual(value, None, pull if b.learned(name) else None)


def _linear(b: DualBuilder, step: Step, layer: Linear) -> Dual:
    w, name, call = b.w, step.inputs[0], b.call(step, layer)
    x = b.values[name]
    value = maps.linear(call, layer).slot
    tasks, matrix = linear_tasks(layer), w.weight(layer, "weight", *_shape(layer))
    total = b.by_weight(matrix, layer.weight.shape)
    by_bias = None if layer.bias is None else b.by_weight(w.weight(layer, "bias"), layer.bias.shape)
    order = None if layer.species is None else call.order(layer.species)

    def product(source: Slot, to: Slot, back: bool, fresh: bool) -> None:
        if order is None:
            w.products(tasks, source, matrix, to, back=back, fresh=fresh)
        else:
            w.by_species(tasks, source, matrix, to, order, back=back, fresh=fresh)

    moved = None
    if x.moved is not None:
        moved = w.buffer(value.rows, value.dim)
        product(x.moved, moved, False, True)

    def pull(h: Slot | None, g: Slot | None) -> None:
        for gradient, of, found in ((h, x.slot, b.by_value), (g, x.moved, b.by_move)):
            if gradient is None or of is None:
                continue
            w.by_matrices(tasks, of, gradient, total, order, matrix)
            if b.learned(name):
                to, fresh = found.into(name, of.rows, of.dim)
                product(gradient, to, True, fresh)
        if by_bias is not None and h is not None:
            columns = layer.get_buffer("bias_columns").tolist()
            place = f"{w.table('int64_t', columns)}, {len(columns)}, {h}, {by_bias}"
            w.line(f"add_columns({h.count}, {h.width}, {place});")

    return Dual(value, moved, pull)


def _shape(layer: Linear) -> tuple[int, ...]:
    return () if layer.species is None else tuple(layer.weight.shape)


def _mlp(b: DualBuilder, step: Step, layer: Mlp) -> Dual:
    if layer.act not in NAMES or layer.applied < len(layer.weights):
        raise UnsupportedError("an activation without C, or a matrix that another layer applies")
    w, name, f = b.w, step.inputs[0], NAMES[layer.act]
    x, scales = b.values[name], mlp_scales(layer)
    shapes = [tuple(weight.shape) for weight in layer.weights]
    matrices = [w.weight(layer.weights, str(i)) for i in range(len(shapes))]
    biases = [] if layer.biases is None else [w.weight(layer.biases, str(i)) for i in range(len(shapes))]
    # what goes into each product, and what comes out of all but the last
    into, out = [(x.slot, x.moved)], []
    for i, matrix in enumerate(matrices):
        value, move = into[-1]
        y = w.buffer(value.rows, shapes[i][1])
        if biases:
            w.line(f"spread({y.count}, threads, {y.width}, {biases[i]}, {y});")
        w.products(maps.one(shapes[i], scales[i]), value, matrix, y, back=False, fresh=not biases)
        dy = None
        if move is not None:
            dy = w.buffer(value.rows, shapes[i][1])
            w.products(maps.one(shapes[i], scales[i]), move, matrix, dy, back=False, fresh=True)
        out.append((y, dy))
        if i < len(matrices) - 1:
            into.append(_activated(b, f, 1.0, y, dy))

    def pull(h: Slot | None, g: Slot | None) -> None:
        pair = [h, g]
        for slot in pair:
            if slot is not None:
                w.hold(slot)
        for i in reversed(range(len(matrices))):
            for gradient, of in zip(pair, into[i], strict=True):
                if gradient is not None and of is not None:
                    to = b.by_weight(matrices[i], shapes[i])
                    w.by_matrices(maps.one(shapes[i], scales[i]), of, gradient, to, None, matrices[i])
            if biases and pair[0] is not None:
                to = b.by_weight(biases[i], shapes[i][1:])
                w.line(f"sum_rows({pair[0].count}, {pair[0].width}, {pair[0]}, {to});")
            if i or b.learned(name):
                back = []
                for gradient in pair:
                    made = None if gradient is None else w.buffer(gradient.rows, shapes[i][0])
                    if made is not None and gradient is not None:
                        task = maps.one(shapes[i], scales[i])
                        w.products(task, gradient, matrices[i], made, back=True, fresh=True)
                    back.append(made)
                new = _bent(b, f, 1.0, *out[i - 1], *back) if i else back
            for slot in (*pair, *(back if i else ())):
                if slot is not None:
                    w.drop(slot)
            pair = list(new) if i or b.learned(name) else [None, None]
        b.give(name, *pair)

    for i, matrix in enumerate(matrices):
        b.by_weight(matrix, shapes[i])
    return Dual(*out[-1], pull)


def _activated(b: DualBuilder, f: str, by: float, x: Slot, dx: Slot | None) -> tuple[Slot, Slot | None]:
    """c f(x), and its derivative along dx."""
    w, y = b.w, b.w.buffer(x.rows, x.dim)
    w.line(f"act_{f}({x.numbers}, threads, {by!r}, {x}, {y});")
    if dx is None:
        return y, None
    dy = w.buffer(x.rows, x.dim)
    w.line(f"slope_{f}({x.numbers}, threads, {by!r}, {x}, {dx}, {dy});")
    return y, dy


def _bent(
    b: DualBuilder, f: str, by: float, x: Slot, dx: Slot | None, h: Slot | None, g: Slot | None
) -> tuple[Slot | None, Slot | None]:
    """Gradients by x and dx of what is given by c f(x) and its derivative."""
    w = b.w
    if g is None or dx is None:
        if h is None:
            return None, None
        new = w.buffer(x.rows, x.dim)
        w.line(f"slope_{f}({x.numbers}, threads, {by!r}, {x}, {h}, {new});")
        return new, None
    h = _zeros(b, x) if h is None else h
    new, move = w.buffer(x.rows, x.dim), w.buffer(x.rows, x.dim)
    w.line(f"bend_{f}({x.numbers}, threads, {by!r}, {x}, {dx}, {h}, {g}, {new}, {move});")
    return new, move


def _zeros(b: DualBuilder, like: Slot) -> Slot:
    made = b.w.buffer(like.rows, like.dim)
    b.w.line(f"memset({made}, 0, {made.numbers} * sizeof(T));")
    return made


def _pointwise(b: DualBuilder, step: Step, layer: Pointwise) -> Dual:
    if layer.f not in NAMES:
        raise UnsupportedError("an activation without C")
    name, f = step.inputs[0], NAMES[layer.f]
    x = b.values[name]

    def pull(h: Slot | None, g: Slot | None) -> None:
        b.give(name, *_bent(b, f, layer.factor, x.slot, x.moved, h, g))

    return Dual(*_activated(b, f, layer.factor, x.slot, x.moved), pull if b.learned(name) else None)


def _gate(b: DualBuilder, step: Step, layer: Gate) -> Dual:
    w, name = b.w, step.inputs[0]
    x = b.values[name]
    y = maps.gate(b.call(step, layer), layer).slot
    if x.moved is None:
        raise UnsupportedError("a gate of what does not move")
    pair, rest = maps.gate_numbers(w, layer)
    sizes = f"({x.slot.count}, threads, {x.slot.width}, {y.width}, {rest}, {x.slot}, {x.moved}"
    moved = w.buffer(y.rows, y.dim)
    w.line(f"moved_gate_{pair}{sizes}, {moved});")

    def pull(h: Slot | None, g: Slot | None) -> None:
        h, g = (_zeros(b, y) if one is None else one for one in (h, g))
        new, move = w.buffer(x.slot.rows, x.slot.dim), w.buffer(x.slot.rows, x.slot.dim)
        w.line(f"bend_gate_{pair}{sizes}, {h}, {g}, {new}, {move});")
        b.give(name, new, move)

    return Dual(y, moved, pull if b.learned(name) else None)


def _add(b: DualBuilder, step: Step, layer: Add) -> Dual:
    terms = [b.values[name] for name in step.inputs]
    if any(term.slot.width != terms[0].slot.width for term in terms):
        raise UnsupportedError("terms of several kinds")
    moves = [term.moved for term in terms if term.moved is not None]

    def pull(h: Slot | None, g: Slot | None) -> None:
        for name in step.inputs:
            for slot in (h, g):
                if slot is not None:
                    b.w.hold(slot)
            b.give(name, h, g)

    return Dual(
        b.sum([term.slot for term in terms]),
        b.sum(moves) if moves else None,
        pull if any(b.learned(name) for name in step.inputs) else None,
    )


def _message(b: DualBuilder, step: Step, layer: Message) -> Dual:
    w, call, spec = b.w, b.call(step, layer), message_spec(layer.spec)
    order = call.inputs[3]
    values = [b.values[name] for name in step.inputs[:3]]
    edges, scale = ends.edges_of(call), sums.scale_of(call, layer)
    targets, sources = sums.orders(order)
    slots = ", ".join(str(value.slot) for value in values)
    moves = "".join(n for n, value in zip("xyw", values, strict=True) if value.moved is not None)
    along = ", ".join(_NONE if value.moved is None else str(value.moved) for value in values)
    still = ", ".join([_NONE] * 3)
    out, moved = w.buffer("node", spec.out), w.buffer("node", spec.out)
    for tangents, rest, to in (("", still, out), (moves, along, moved)):
        forward = w.kernel(forward_source(layer.spec, w.dtype, tangents), "forward")
        w.line(f"{forward}(N, threads, {targets}, {edges}, {scale}, {slots}, {rest}, {to});")
    names = [name for name in step.inputs[:3] if b.learned(name)]
    asked = "".join(n for n, name in zip("xyw", step.inputs, strict=False) if name in names)

    def backward(g: Slot, tangents: str) -> dict[str, Slot]:
        source = backward_source(layer.spec, w.dtype, asked, tangents, by_receiver=True)
        made = {
            name: w.buffer("edge", value.slot.dim)
            for name, value in zip(step.inputs, values, strict=False)
            if name in names
        }
        to = ", ".join(str(made.get(name, _NONE)) for name in step.inputs[:3])
        rest = along if tangents else still
        kernel = w.kernel(source, "backward")
        w.line(f"{kernel}(N, threads, {targets}, {edges}, {scale}, {slots}, {rest}, {g}, {to});")
        sender = step.inputs[0]
        if sender in made:
            of_edges, made[sender] = made[sender], w.buffer("node", spec.left)
            w.line(f"{w.kernel(source, 'collect')}(N, threads, {sources}, {of_edges}, {made[sender]});")
            w.drop(of_edges)
        return made

    def pull(h: Slot | None, g: Slot | None) -> None:
        if g is not None:
            by_move, bent = backward(g, ""), backward(g, moves)
            for name in names:
                b.give(name, bent[name], by_move[name])
        if h is not None:
            for name, slot in backward(h, "").items():
                b.give(name, slot, None)

    return Dual(out, moved, pull if names else None)


def _power(b: DualBuilder, step: Step, layer: PowerKernel) -> Dual:
    w, (name, kind) = b.w, step.inputs
    a, species = b.values[name], b.values[kind].slot
    owner, spec = layer.power.module, power_spec(layer.spec)
    assert isinstance(owner, Power)
    _, kinds, channels = owner.weight.shape
    value = sums.power(b.call(step, layer), layer)
    c, moved = value.keeps[0], w.buffer("node", spec.outputs * spec.channels)
    total = b.by_weight(w.weight(owner, "weight"), owner.weight.shape)
    if a.moved is None:
        raise UnsupportedError("a power of what does not move")
    table = sums.power_table(w, layer)

    def kernel(g: str, along: str, asked: str, to: Mapping[str, Slot]) -> None:
        source = power_backward(layer.spec, w.dtype, asked, along != _NONE)
        out = ", ".join(str(to.get(one, _NONE)) for one in "aco")
        head = f"N, (int64_t){kinds}, threads, {species}, {a.slot}, {c}, {g}, {along}"
        w.line(f"{w.kernel(source, 'backward')}({head}, {out});")

    # the derivative of the values does not read the gradient that it is asked beside
    kernel(str(value.slot), str(a.moved), "o", {"o": moved})

    def pull(h: Slot | None, g: Slot | None) -> None:
        for gradient, along in ((h, _NONE), (g, str(a.moved))):
            if gradient is None:
                continue
            made = {"c": w.buffer(1, kinds * len(spec.terms) * channels)}
            if b.learned(name):
                made["a"] = w.buffer("node", a.slot.dim)
            kernel(str(gradient), along, "".join(one for one in "ac" if one in made), made)
            w.line(f"by_coefficients({table}, {len(spec.terms)}, {kinds}, {channels}, {made['c']}, {total});")
            if "a" in made:
                b.give(name, made["a"], None)
        if g is not None and b.learned(name):
            by_move = w.buffer("node", a.slot.dim)
            kernel(str(g), _NONE, "a", {"a": by_move})
            b.give(name, None, by_move)

    return Dual(value.slot, moved, pull)


def _edge_order(b: DualBuilder, step: Step, layer: EdgeOrder) -> Dual:
    return Dual(sums.edge_order(b.call(step, layer), layer).slot)


def _shift_scale(b: DualBuilder, step: Step, layer: ShiftScale) -> Dual:
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


def _sum_system(b: DualBuilder, step: Step, layer: SumSystem) -> Dual:
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


_EMITTERS: dict[type[Layer], Callable[..., Any]] = {
    Input: _input,
    Relative: _relative,
    Length: _length,
    SphericalHarmonics: _harmonics,
    Radial: _radial,
    AllSpecies: _all_species,
    Embed: _embed,
    Lookup: _lookup,
    Linear: _linear,
    Mlp: _mlp,
    Pointwise: _pointwise,
    Gate: _gate,
    Add: _add,
    Message: _message,
    PowerKernel: _power,
    EdgeOrder: _edge_order,
    ShiftScale: _shift_scale,
    SumSystem: _sum_system,
}
