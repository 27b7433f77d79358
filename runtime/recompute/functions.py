"""Blocks of steps as functions that keep nothing but their arguments.

Forces make training differentiate twice, and what the first pass back holds for the second is more than what the
way forward holds. torch.utils.checkpoint gives back the latter only. Here the gradients of a block y = f(x, θ) by
its arguments are a function of their own,

    (ḡ_x, ḡ_θ) = G(g, x, θ),   G(g, x, θ) = ∇_(x,θ) <g, f(x, θ)>,

and f and G keep their arguments alone. Where they are differentiated they compute f again, so that a step of
training takes three more passes forward and one more back through a block. Derivatives of third order are refused.

Reference: chen2016sublinear
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from equic.runtime.kernels.ops import wanted
from equic.runtime.layers.base import Hidden, Layer
from torch import Tensor, nn

from .blocks import Block
from .parts import Part, Whole

_FIELDS = {"edges": "ends", "species": "node"}


class Recomputed:
    """One block with its layers.

    `indices` are the sets that values live on; `borrowed` the parameters that each step reads of other steps.
    """

    def __init__(
        self,
        block: Block,
        layers: Sequence[Layer],
        indices: Mapping[str, str],
        borrowed: Sequence[Sequence[nn.Parameter]],
    ) -> None:
        self.block, self.layers, self.borrowed = block, layers, borrowed
        self.fields = tuple(
            dict.fromkeys(name for layer in layers for name in (*layer.fields, *layer.statistics))
        )
        owned = (one for layer in layers for one in _weights(layer))
        self.weights = tuple(dict.fromkeys((*owned, *(one for some in borrowed for one in some))))
        self.count = len(block.inputs) + len(self.fields)
        rows = {name: index if index in ("edge", "node") else "whole" for name, index in indices.items()}
        self.given = (
            *(rows[name] for name in block.inputs),
            *(_FIELDS.get(name, "whole") for name in self.fields),
            *("whole" for _ in self.weights),
        )
        self.made = tuple({"node": "receiver"}.get(rows[name], rows[name]) for name in block.outputs)

    def __call__(
        self, values: Mapping[str, Tensor], context: Mapping[str, Tensor], parts: Sequence[Part]
    ) -> dict[str, Tensor]:
        """The block's outputs, differentiable twice by whatever it reads; in `parts` where it can be."""
        given = [values[name] for name in self.block.inputs] + [context[name] for name in self.fields]
        # of views the engine says whether it wants their gradients, of leaves it does not
        weights = [weight.view_as(weight) for weight in self.weights]
        rows = {kind: value.shape[0] for value, kind in zip(given, self.given, strict=False) if value.ndim}
        if "positions" in context:
            rows |= dict.fromkeys(("node", "receiver"), context["positions"].shape[0])
        call = _Call(self, parts if self.block.in_parts else (Whole(),), rows)
        made = _Value.apply(*given, *weights, call)
        return dict(zip(self.block.outputs, made, strict=True))

    def run(self, given: Sequence[Tensor], part: Part) -> list[Tensor]:
        """The part's outputs from its values and context, on the weights themselves."""
        inputs = self.block.inputs
        values = dict(zip(inputs, given, strict=False))
        context = dict(zip(self.fields, given[len(inputs) : self.count], strict=True))
        for step, layer, borrowed in zip(self.block.steps, self.layers, self.borrowed, strict=True):
            read = [context[name] for name in (*layer.fields, *layer.statistics)]
            values[step.name] = layer(*(values[name] for name in step.inputs), *read, *borrowed)
        return [
            part.cut(values[name], kind) for name, kind in zip(self.block.outputs, self.made, strict=True)
        ]


def _weights(layer: nn.Module) -> Iterator[nn.Parameter]:
    """What a layer learns, and what the layers learn that it stands for."""
    for module in layer.modules():
        yield from module.parameters(recurse=False)
        for value in vars(module).values():
            if isinstance(value, Hidden):
                yield from _weights(value.module)


@dataclass(frozen=True, slots=True)
class _Call:
    """A block on one batch: its parts, and how many rows there are of each kind."""

    of: Recomputed
    parts: Sequence[Part]
    rows: Mapping[str, int]

    def sum(
        self, kinds: Sequence[str], totals: list[Tensor | None], found: Sequence[Tensor | None], part: Part
    ) -> list[Tensor | None]:
        """The totals with a part's values in them."""
        return [
            part.put(total, value, kind, self.rows.get(kind, 0))
            for total, value, kind in zip(totals, found, kinds, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Precision:
    """Whether, and to what, products of matrices are rounded where a value was first made."""

    device: str
    enabled: bool
    dtype: torch.dtype

    @classmethod
    def here(cls, like: Tensor) -> _Precision:
        device = like.device.type
        return cls(device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))

    def __call__(self) -> AbstractContextManager[Any]:
        # a rounded weight that is kept from one pass to the next would lack the other's graph
        return torch.autocast(self.device, self.dtype, enabled=self.enabled, cache_enabled=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Gradients of a block: by which outputs they come in, and by which arguments they go out."""

    call: _Call
    outputs: tuple[int, ...]
    arguments: tuple[int, ...]
    precision: _Precision

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of what comes in, and of the arguments."""
        return (*(self.call.of.made[i] for i in self.outputs), *self.call.of.given)

    def leaves(self, tensors: Sequence[Tensor], which: Sequence[int], part: Part) -> list[Tensor]:
        """What comes in, and the arguments, for one part; those of `which` at the head of a graph."""
        taken = [part.take(value.detach(), kind) for value, kind in zip(tensors, self.kinds, strict=True)]
        start = len(self.outputs) + self.call.of.count
        return [
            value.requires_grad_() if i in which and i < start else value for i, value in enumerate(taken)
        ]

    def values(self, leaves: Sequence[Tensor], part: Part) -> list[Tensor]:
        """The outputs by which gradients come in."""
        with self.precision():
            made = self.call.of.run(leaves[len(self.outputs) :], part)
        return [made[i] for i in self.outputs]

    def place(self, leaves: Sequence[Tensor], i: int) -> Tensor:
        """What to differentiate by for the tensor of this number: weights stand in the layers themselves."""
        start = len(self.outputs) + self.call.of.count
        return leaves[i] if i < start else self.call.of.weights[i - start]


class _Value(torch.autograd.Function):
    """f(x, θ)."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, ...]:
        *tensors, call = given
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.call, ctx.precision = call, _Precision.here(tensors[0])
        of = call.of
        totals: list[Tensor | None] = [None] * len(of.made)
        for part in call.parts:
            taken = [part.take(value, kind) for value, kind in zip(tensors, of.given, strict=True)]
            with ctx.precision():
                totals = call.sum(of.made, totals, of.run(taken, part), part)
        made = tuple(value for value in totals if value is not None)
        ctx.mark_non_differentiable(*(value for value in made if not value.is_floating_point()))
        return made

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        outputs = tuple(i for i, g in enumerate(incoming) if g is not None)
        arguments = tuple(i for i, want in enumerate(wanted(ctx, len(tensors))) if want)
        found: list[Tensor | None] = [None] * (len(tensors) + 1)
        if outputs and arguments:
            asked = _Asked(ctx.call, outputs, arguments, ctx.precision)
            made = _Gradients.apply(*(incoming[i] for i in outputs), *tensors, asked)
            for i, value in zip(arguments, made, strict=True):
                found[i] = value
        return tuple(found)


class _Gradients(torch.autograd.Function):
    """G(g, x, θ)."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor | None, ...]:
        *tensors, asked = given
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.asked, ctx.precision = asked, _Precision.here(tensors[0])
        count = len(asked.outputs)
        which = [count + i for i in asked.arguments]
        kinds = [asked.kinds[i] for i in which]
        totals: list[Tensor | None] = [None] * len(which)
        for part in asked.call.parts:
            leaves = asked.leaves(tensors, which, part)
            with torch.enable_grad():
                values = asked.values(leaves, part)
                by = [asked.place(leaves, i) for i in which]
                found = _gradients(values, by, leaves[:count], create_graph=False)
            totals = asked.call.sum(kinds, totals, found, part)
        return tuple(totals)

    @staticmethod
    def backward(ctx: Any, *along: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("what is made again on the way back has no derivatives of third order")
        tensors, asked = ctx.saved_tensors, ctx.asked
        count = len(asked.outputs)
        which = [i for i, want in enumerate(wanted(ctx, len(tensors))) if want]
        # the gradients depend on each argument by which they are taken, wanted here or not
        first = [count + i for i in asked.arguments]
        kinds = [asked.kinds[i] for i in which]
        totals: list[Tensor | None] = [None] * len(which)
        for part in asked.call.parts:
            leaves = asked.leaves(tensors, [*which, *first], part)
            with torch.enable_grad():
                values = asked.values(leaves, part)
                with ctx.precision():
                    by = [asked.place(leaves, i) for i in first]
                    slopes = _gradients(values, by, leaves[:count], create_graph=True)
                moves = [
                    None if move is None else part.take(move, asked.kinds[i])
                    for i, move in zip(first, along, strict=True)
                ]
                found = _gradients(slopes, [asked.place(leaves, i) for i in which], moves, create_graph=False)
            totals = asked.call.sum(kinds, totals, found, part)
        result: list[Tensor | None] = [None] * (len(tensors) + 1)
        for i, value in zip(which, totals, strict=True):
            result[i] = value
        return tuple(result)


def _gradients(
    values: Sequence[Tensor | None],
    by: Sequence[Tensor],
    incoming: Sequence[Tensor | None],
    *,
    create_graph: bool,
) -> Sequence[Tensor | None]:
    """As of `torch.autograd.grad`; None where there is no way from one to the other."""
    pairs = [
        (value, g)
        for value, g in zip(values, incoming, strict=True)
        if value is not None and g is not None and value.requires_grad
    ]
    if not pairs or not by:
        return (None,) * len(by)
    # torch reads gradients that are given to it with sympy, which takes a second to import, and 30 MB
    total = torch.stack([torch.dot(value.flatten(), g.flatten()).double() for value, g in pairs]).sum()
    return torch.autograd.grad(total, list(by), create_graph=create_graph, allow_unused=True)
