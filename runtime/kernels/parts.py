"""Rules of layers that pick numbers, join them, and let some open others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from equic.runtime.layers.act import Gate
from equic.runtime.layers.activations import ACTIVATIONS
from equic.runtime.layers.indexing import Gather
from equic.runtime.layers.networks import Keep
from torch import Tensor

from .geometry import Gradients

Slope = Callable[[Tensor, Tensor, Tensor], Tensor]


def _sigmoid_slope(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.sigmoid_backward(g, y)


def _silu_slope(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.silu_backward(g, x)


def _tanh_slope(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward(g, y)


# the backward functions of activations, of (g, x, f(x))
SLOPES: dict[Callable[[Tensor], Tensor], Slope] = {
    torch.nn.functional.silu: _silu_slope,
    torch.tanh: _tanh_slope,
    torch.sigmoid: _sigmoid_slope,
}


class GatherRule:
    """Every node has the sum of the gradients of its edges."""

    def __init__(self, layer: Gather) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.like, self.index = values[0], context[0][self.layer.row]
        return values[0].index_select(0, self.index)

    def pull(self, g: Tensor) -> Gradients:
        return [torch.zeros_like(self.like).index_add_(0, self.index, g)]


class KeepRule:
    """Blocks that are not kept have no gradient."""

    def __init__(self, layer: Keep) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.like = values[0]
        return self.layer(values[0])

    def pull(self, g: Tensor) -> Gradients:
        made = torch.zeros_like(self.like)
        parts, sizes = made.split(self.layer.sizes, dim=-1), self.layer.sizes
        for k, part in zip(
            self.layer.blocks, g.split([sizes[k] for k in self.layer.blocks], dim=-1), strict=True
        ):
            parts[k].add_(part)
        return [made]


class ConcatRule:
    """Each value has its part of the gradient."""

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.sizes, self.wants = [value.shape[-1] for value in values], wants
        return torch.cat(list(values), dim=-1)

    def pull(self, g: Tensor) -> Gradients:
        parts = g.split(self.sizes, dim=-1)
        return [part if want else None for part, want in zip(parts, self.wants, strict=True)]


class GateRule:
    """Scalars by the slope of their function, gates by what they scale."""

    def __init__(self, layer: Gate) -> None:
        self.layer = layer
        self.blocks = []  # of what is scaled: (size, mul, first number, first gate)
        self.passing = []  # of what passes a function of its own: (first number, length)
        at = 0
        for block in layer.gated:
            start = block.start + layer.gates
            if layer.passes(block):
                self.passing.append((start, block.dim))
            else:
                self.blocks.append((block.size, block.mul, start, at))
                at += block.mul

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        layer, x = self.layer, values[0]
        scalars, gates = layer.scalars, layer.gates
        out = x.new_empty((*x.shape[:-1], x.shape[-1] - gates))
        # (x, f(x), where they lie, f, factor) of what passes a function
        self.made = []
        pieces = [(0, scalars, layer.f, layer.factor)] if scalars else []
        if layer.odd:
            odd = ACTIVATIONS[layer.odd]
            pieces += [(start, length, odd, layer.odd_factor) for start, length in self.passing]
        for start, length, f, factor in pieces:
            part = x[..., start : start + length]
            value = f(part)
            self.made.append((part, value, start, f, factor))
            to = start - gates if start else 0
            torch.mul(value, factor, out=out[..., to : to + length])
        self.x, part = x, x[..., scalars : scalars + gates]
        self.opened = layer.gate(part)
        self.gates = self.opened * layer.gate_factor
        for size, mul, start, at in self.blocks:
            features = x[..., start : start + size * mul].unflatten(-1, (size, mul))
            to = out[..., start - gates : start - gates + size * mul].unflatten(-1, (size, mul))
            torch.mul(features, self.gates[..., None, at : at + mul], out=to)
        return out

    def pull(self, g: Tensor) -> Gradients:
        layer, x = self.layer, self.x
        scalars, gates = layer.scalars, layer.gates
        made = torch.empty_like(x)
        for part, value, start, f, factor in self.made:
            to, length = start - gates if start else 0, part.shape[-1]
            made[..., start : start + length] = SLOPES[f](g[..., to : to + length] * factor, part, value)
        by_gates = torch.empty_like(self.gates)
        for size, mul, start, at in self.blocks:
            shape, length = (size, mul), size * mul
            by = g[..., start - gates : start - gates + length].unflatten(-1, shape)
            to = made[..., start : start + length].unflatten(-1, shape)
            torch.mul(by, self.gates[..., None, at : at + mul], out=to)
            features = x[..., start : start + length].unflatten(-1, shape)
            torch.sum(by * features, dim=-2, out=by_gates[..., at : at + mul])
        part = x[..., scalars : scalars + gates]
        slope = SLOPES[layer.gate](by_gates * layer.gate_factor, part, self.opened)
        made[..., scalars : scalars + gates] = slope
        return [made]


def gate_has_rule(layer: Gate) -> bool:
    """Whether the slopes of all its functions are known."""
    odd = [ACTIVATIONS[layer.odd]] if layer.odd else []
    return all(f in SLOPES for f in (layer.f, layer.gate, *odd))
