"""Messages and powers, with the derivatives along the direction, and back with pairs of gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from equic.runtime.layers.power import Power
from equic.runtime.plan import Step

from ...message import Message
from ...message_source import backward_source, forward_source, message_spec
from ...power import PowerKernel
from ...power_source import backward_source as power_backward
from ...power_source import power_spec
from .. import ends, sums
from ..slots import Slot
from ..writer import UnsupportedError
from .value import Dual

if TYPE_CHECKING:
    from .builder import DualBuilder

_NONE = "(void *)0"


def message(b: DualBuilder, step: Step, layer: Message) -> Dual:
    """Linear in each of x, Y and w: its kernels along tangents."""
    w, call, spec = b.w, b.call(step, layer), message_spec(layer.spec)
    order = call.inputs[3]
    values = [b.values[name] for name in step.inputs[:3]]
    edges, scale = ends.edges_of(call), sums.scale_of(call, layer)
    targets = sums.orders(order)[0]
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
            name: w.buffer(value.slot.rows, value.slot.dim)
            for name, value in zip(step.inputs, values, strict=False)
            if name in names
        }
        to, sender = {name: str(slot) for name, slot in made.items()}, step.inputs[0]
        of_edges = w.buffer("edge", spec.left, several=True) if sender in made else None
        if of_edges is not None:
            to[sender] = sums.by_senders(w, made[sender], of_edges)
        pointers = ", ".join(to.get(name, _NONE) for name in step.inputs[:3])
        rest = along if tangents else still
        kernel = w.kernel(source, "backward")
        w.line(f"{kernel}(N, threads, {targets}, {edges}, {scale}, {slots}, {rest}, {g}, {pointers});")
        if of_edges is not None:
            sums.collect(w, w.kernel(source, "collect"), order, of_edges, made[sender])
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


def power(b: DualBuilder, step: Step, layer: PowerKernel) -> Dual:
    """Polynomials: their kernels along a tangent."""
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
