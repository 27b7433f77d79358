"""How each layer runs forward and backward where only numbers are wanted: without autograd, weights folded.

A rule is made for one call of one layer. `run` gives the value, `pull` takes the gradient of a scalar by the value
to those by the inputs, of which only the wanted ones are made. Layers without a rule of their own take a small
autograd graph each: every plan runs, and those steps that take the time run without glue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from equic.runtime.layers.act import Gate, Pointwise
from equic.runtime.layers.algebra import Add, Concat
from equic.runtime.layers.base import Layer
from equic.runtime.layers.density import Density
from equic.runtime.layers.geometry import Length, Relative, SphericalHarmonics
from equic.runtime.layers.indexing import Gather, SumEdges, SumSystem
from equic.runtime.layers.inputs import ShiftScale
from equic.runtime.layers.linear import Linear
from equic.runtime.layers.merged import Merged, Part
from equic.runtime.layers.mlp import Mlp
from equic.runtime.layers.networks import Keep
from torch import Tensor

from .around import Around, AroundRule
from .couple import Couple, CoupleRule
from .density import DensityKernel
from .gemm import Gemms, has_blas
from .gemm_tasks import density_tasks, linear_tasks, merged_tasks, mlp_scales
from .geometry import HarmonicsRule, LengthRule, ShiftScaleRule, SumRule
from .message import Message
from .parts import SLOPES, ConcatRule, GateRule, GatherRule, KeepRule, gate_has_rule
from .power import PowerKernel
from .sums import DensityRule, MessageRule, SumEdgesRule
from .table import TableKernel, TableMessage, kind_of, table_of

Gradients = Sequence[Tensor | None]


class Rule(Protocol):
    """One call of one layer."""

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        """The value. `values` are those of the step's inputs, `context` what the layer reads beside them."""

    def pull(self, g: Tensor) -> Gradients:
        """Gradients by the inputs from that by the value; None where not wanted."""


def rule_for(layer: Layer) -> Callable[[], Rule]:
    """What makes the rule of a layer."""
    match layer:
        case Around():
            return lambda: AroundRule(layer)
        case Message():
            return lambda: MessageRule(layer)
        case SumEdges():
            return lambda: SumEdgesRule(layer)
        case Couple():
            return lambda: CoupleRule(layer)
        case TableMessage():
            return lambda: _TableMessageRule(layer)
        case TableKernel():
            return lambda: _TableRule(layer)
        case PowerKernel():
            return lambda: _PowerRule(layer)
        case DensityKernel() if has_blas():
            density = layer.density.module
            assert isinstance(density, Density)
            length = density.right.dim * density.species * layer.hidden
            sums = Gemms(density_tasks(density, layer.hidden), length, density.out.dim)
            return lambda: DensityRule(layer, sums)
        case Linear() if (
            has_blas() and layer.breaking is None and all(kind.commutant == 1 for kind in layer.kinds)
        ):
            gemms = Gemms(linear_tasks(layer), layer.source.dim, layer.out.dim)
            return lambda: _LinearRule(layer, gemms)
        case Merged() if has_blas():
            together = Gemms(merged_tasks(layer), layer.source.dim, sum(out.dim for out in layer.outs))
            return lambda: _MergedRule(together)
        case Part():
            return lambda: _PartRule(layer)
        case Mlp() if layer.act in SLOPES:
            return lambda: _MlpRule(layer)
        case Pointwise() if layer.f in SLOPES:
            return lambda: _PointwiseRule(layer)
        case Gate() if gate_has_rule(layer):
            return lambda: GateRule(layer)
        case Gather():
            return lambda: GatherRule(layer)
        case Keep():
            return lambda: KeepRule(layer)
        case Concat():
            return ConcatRule
        case Add():
            return lambda: _AddRule(layer)
        case SphericalHarmonics():
            return lambda: HarmonicsRule(layer)
        case Length():
            return LengthRule
        case SumSystem() if not layer.mean:
            return SumRule
        case ShiftScale():
            return ShiftScaleRule
        case Relative():
            return lambda: _RelativeRule(layer)
        case _:
            return lambda: _LocalRule(layer)


class _LocalRule:
    """Any layer, with a graph of its own from its inputs to its value."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        if not any(wants):
            return self.layer(*values, *context)
        self.leaves = [
            value.detach().requires_grad_() if want else value
            for value, want in zip(values, wants, strict=True)
        ]
        self.wants = wants
        with torch.enable_grad():
            self.value = self.layer(*self.leaves, *context)
        return self.value.detach()

    def pull(self, g: Tensor) -> Gradients:
        if not self.value.requires_grad:  # harmonics of degree 0: their inputs have no say
            return [None for _ in self.wants]
        wanted = [leaf for leaf, want in zip(self.leaves, self.wants, strict=True) if want]
        # torch reads gradients that are given to it with sympy, which takes half a second to import
        with torch.enable_grad():
            total = torch.dot(self.value.flatten(), g.flatten())
        made = iter(torch.autograd.grad(total, wanted, materialize_grads=True))
        return [next(made) if want else None for want in self.wants]


class _AddRule:
    def __init__(self, layer: Add) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.wants = wants
        return self.layer(*values)

    def pull(self, g: Tensor) -> Gradients:
        return [g if want else None for want in self.wants]


class _PointwiseRule:
    def __init__(self, layer: Pointwise) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.x = values[0]
        self.y = self.layer.f(self.x)
        return self.y * self.layer.factor

    def pull(self, g: Tensor) -> Gradients:
        return [SLOPES[self.layer.f](g * self.layer.factor, self.x, self.y)]


class _RelativeRule:
    """Edge vectors; gradients are added up in float64."""

    def __init__(self, layer: Relative) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.positions, self.edges = values[0], context[0]
        return self.layer(*values, *context)

    def pull(self, g: Tensor) -> Gradients:
        g = g.to(self.positions.dtype)
        total = torch.zeros_like(self.positions).index_add_(0, self.edges[1], g)
        return [total.index_add_(0, self.edges[0], g, alpha=-1)]


class _MlpRule:
    """Each product with the constants that belong to its matrix."""

    def __init__(self, layer: Mlp) -> None:
        self.layer = layer
        self.scales = mlp_scales(layer)

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        layer = self.layer
        x, self.shape = values[0].flatten(0, -2), values[0].shape[:-1]
        self.hidden: list[tuple[Tensor, Tensor]] = []
        for i in range(layer.applied):
            if layer.biases is None:
                x = _product(x, layer.weights[i], self.scales[i])
            else:
                x = torch.addmm(layer.biases[i], x, layer.weights[i], alpha=self.scales[i])
            if i < len(layer.weights) - 1:
                y = layer.act(x)
                if any(wants):
                    self.hidden.append((x, y))
                x = y
        if layer.applied < len(layer.weights):
            x = x * self.scales[layer.applied]
        return x.unflatten(0, self.shape)

    def pull(self, g: Tensor) -> Gradients:
        layer, g = self.layer, g.flatten(0, -2)
        if layer.applied < len(layer.weights):
            g = g * self.scales[layer.applied]
        for i in reversed(range(layer.applied)):
            if i < len(layer.weights) - 1:
                g = SLOPES[layer.act](g, *self.hidden[i])
            g = _product(g, layer.weights[i].t(), self.scales[i])
        return [g.unflatten(0, self.shape)]


def _product(x: Tensor, matrix: Tensor, scale: float) -> Tensor:
    # with beta = 0 what is added is not read
    return torch.addmm(x.new_empty(1), x, matrix, beta=0, alpha=scale)


class _LinearRule:
    """One matrix product for each component and pair of blocks, in place."""

    def __init__(self, layer: Linear, gemms: Gemms) -> None:
        self.layer, self.gemms = layer, gemms

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.shape, self.rest = values[0].shape[:-1], [None] * (len(values) - 1)
        self.species = values[1] if len(values) == 2 else None
        layer = self.layer
        y = self.gemms(values[0].flatten(0, -2), layer.weight, species=self.species)
        if layer.bias is not None:
            y.index_add_(1, layer.get_buffer("bias_columns"), layer.bias.expand(y.shape[0], -1))
        return y.unflatten(0, self.shape)

    def pull(self, g: Tensor) -> Gradients:
        made = self.gemms(g.flatten(0, -2), self.layer.weight, species=self.species, back=True)
        return [made.unflatten(0, self.shape), *self.rest]


class _MergedRule:
    """The products of all parts, one list."""

    def __init__(self, gemms: Gemms) -> None:
        self.gemms = gemms

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.shape, self.weights = values[0].shape[:-1], torch.cat(list(context))
        return self.gemms(values[0].flatten(0, -2), self.weights).unflatten(0, self.shape)

    def pull(self, g: Tensor) -> Gradients:
        made = self.gemms(g.flatten(0, -2), self.weights, back=True)
        return [made.unflatten(0, self.shape)]


class _PartRule:
    def __init__(self, layer: Part) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.like = values[0]
        return self.layer(values[0])

    def pull(self, g: Tensor) -> Gradients:
        whole = torch.zeros_like(self.like)
        whole[..., self.layer.start : self.layer.stop] = g
        return [whole]


class _TableMessageRule:
    def __init__(self, layer: TableMessage) -> None:
        self.layer, self.table = layer, table_of(layer.table)

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        table, message = self.table, self.layer.message
        *self.arguments, order = values[:3] + values[-1:]
        self.edges, *average = context
        kind = kind_of(table, values[3], self.edges) if len(values) == 5 else None
        self.names = "".join(name for name, want in zip("xyr", wants[:3], strict=True) if want)
        self.lengths = kind, table.knots, table.start, table.end
        self.order, self.scale, self.rest = order, message.scale(*average), [None] * (len(values) - 3)
        return torch.ops.equic.table_message(
            *self.arguments, *self.lengths, self.edges[0], order[0], self.scale, message.spec
        )

    def pull(self, g: Tensor) -> Gradients:
        made = torch.ops.equic.table_message_backward(
            g,
            *self.arguments,
            *self.lengths,
            self.edges[1],
            self.order[1],
            self.scale,
            self.layer.message.spec,
            self.names,
        )
        kept = (value if name in self.names else None for name, value in zip("xyr", made, strict=True))
        return [*kept, *self.rest]


class _TableRule:
    def __init__(self, layer: TableKernel) -> None:
        self.table = table_of(layer.table)

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        table = self.table
        kind = kind_of(table, values[1], context[0]) if context else None
        self.lengths = values[0], kind, table.knots, table.start, table.end
        self.rest = [None] * (len(values) - 1)
        return torch.ops.equic.table(*self.lengths)

    def pull(self, g: Tensor) -> Gradients:
        return [torch.ops.equic.table_backward(g, *self.lengths), *self.rest]


class _PowerRule:
    def __init__(self, layer: PowerKernel) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.a, self.species = values
        self.coefficients = self.layer.coefficients()
        return torch.ops.equic.power(self.a, self.coefficients, self.species, self.layer.spec)

    def pull(self, g: Tensor) -> Gradients:
        made = torch.ops.equic.power_backward(
            g, self.a, self.coefficients, None, self.species, self.layer.spec, "a"
        )
        return [made[0], None]
