"""Steps on rows by themselves, with the derivatives along the direction, and back with pairs of gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equic.runtime.layers.act import Gate, Pointwise
from equic.runtime.layers.algebra import Add
from equic.runtime.layers.linear import Linear
from equic.runtime.layers.mlp import Mlp
from equic.runtime.plan import Step

from ...gemm_tasks import mlp_scales
from .. import maps
from ..maps import NAMES
from ..products import Map
from ..slots import Slot
from ..writer import UnsupportedError
from .value import Dual

if TYPE_CHECKING:
    from .builder import DualBuilder


def linear(b: DualBuilder, step: Step, layer: Linear) -> Dual:
    """Matrices for values and derivatives alike."""
    w, name, call = b.w, step.inputs[0], b.call(step, layer)
    x = b.values[name]
    value = maps.linear(call, layer).slot
    own = maps.map_of(call, layer)
    total = b.by_weight(own.matrix, layer.weight.shape)
    by_bias = None if layer.bias is None else b.by_weight(w.weight(layer, "bias"), layer.bias.shape)
    moved = None
    if x.moved is not None:
        moved = w.buffer(value.rows, value.dim)
        own.write(w, x.moved, moved)

    def pull(h: Slot | None, g: Slot | None) -> None:
        for gradient, of, found in ((h, x.slot, b.by_value), (g, x.moved, b.by_move)):
            if gradient is None or of is None:
                continue
            own.outer(w, of, gradient, total)
            if b.learned(name):
                to, fresh = found.into(name, of.rows, of.dim)
                own.write(w, gradient, to, back=True, fresh=fresh)
        if by_bias is not None and h is not None:
            columns = layer.get_buffer("bias_columns").tolist()
            place = f"{w.table('int64_t', columns)}, {len(columns)}, {h}, {by_bias}"
            w.line(f"add_columns({h.count}, {h.width}, {place});")

    return Dual(value, moved, pull)


def mlp(b: DualBuilder, step: Step, layer: Mlp) -> Dual:
    """Layer by layer; where lengths go in, nothing is followed further."""
    if layer.act not in NAMES:
        raise UnsupportedError("an activation without C")
    w, name, f = b.w, step.inputs[0], NAMES[layer.act]
    x, scales = b.values[name], mlp_scales(layer)
    shapes = [tuple(weight.shape) for weight in layer.weights[: layer.applied]]
    matrices = [w.weight(layer.weights, str(i)) for i in range(len(shapes))]
    biases = [] if layer.biases is None else [w.weight(layer.biases, str(i)) for i in range(len(shapes))]
    # where the last matrix is another layer's, its constant is on the last activation
    left = layer.applied < len(layer.weights)
    by = [1.0] * (len(shapes) - 1) + ([scales[layer.applied]] if left else [])
    # what goes into each product, and what comes out of it
    into, out = [(x.slot, x.moved)], []
    own = [Map(maps.one(shapes[i], scales[i]), matrix) for i, matrix in enumerate(matrices)]
    for i in range(len(matrices)):
        value, move = into[-1]
        y = w.buffer(value.rows, shapes[i][1])
        if biases:
            w.line(f"spread({y.count}, threads, {y.width}, {biases[i]}, {y});")
        own[i].write(w, value, y, fresh=not biases)
        dy = None
        if move is not None:
            dy = w.buffer(value.rows, shapes[i][1])
            own[i].write(w, move, dy)
        out.append((y, dy))
        if i < len(by):
            into.append(_activated(b, f, by[i], y, dy))

    def pull(h: Slot | None, g: Slot | None) -> None:
        pair = list(_bent(b, f, by[-1], *out[-1], h, g)) if left else [h, g]
        for slot in () if left else pair:
            if slot is not None:
                w.hold(slot)
        for i in reversed(range(len(matrices))):
            for gradient, of in zip(pair, into[i], strict=True):
                if gradient is not None and of is not None:
                    own[i].outer(w, of, gradient, b.by_weight(matrices[i], shapes[i]))
            if biases and pair[0] is not None:
                to = b.by_weight(biases[i], shapes[i][1:])
                w.line(f"sum_rows({pair[0].count}, {pair[0].width}, {pair[0]}, {to});")
            if i or b.learned(name):
                back = []
                for gradient in pair:
                    made = None if gradient is None else w.buffer(gradient.rows, shapes[i][0])
                    if made is not None and gradient is not None:
                        own[i].write(w, gradient, made, back=True)
                    back.append(made)
                new = _bent(b, f, by[i - 1], *out[i - 1], *back) if i else back
            for slot in (*pair, *(back if i else ())):
                if slot is not None:
                    w.drop(slot)
            pair = list(new) if i or b.learned(name) else [None, None]
        b.give(name, *pair)

    for i, matrix in enumerate(matrices):
        b.by_weight(matrix, shapes[i])
    return Dual(*(into[-1] if left else out[-1]), pull)


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


def pointwise(b: DualBuilder, step: Step, layer: Pointwise) -> Dual:
    """y = c f(x)."""
    if layer.f not in NAMES:
        raise UnsupportedError("an activation without C")
    name, f = step.inputs[0], NAMES[layer.f]
    x = b.values[name]

    def pull(h: Slot | None, g: Slot | None) -> None:
        b.give(name, *_bent(b, f, layer.factor, x.slot, x.moved, h, g))

    return Dual(*_activated(b, f, layer.factor, x.slot, x.moved), pull if b.learned(name) else None)


def gate(b: DualBuilder, step: Step, layer: Gate) -> Dual:
    """Scalars pass an activation, the rest is scaled by functions of scalars."""
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


def add(b: DualBuilder, step: Step, layer: Add) -> Dual:
    """Every term has the gradients of the sum."""
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
