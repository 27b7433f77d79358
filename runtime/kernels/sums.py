"""Rules of sums over edges: of edges' own values, of messages, of densities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from equic.runtime.layers.density import Density
from equic.runtime.layers.indexing import SumEdges
from torch import Tensor

from .density import DensityKernel
from .gemm import Gemms
from .geometry import Gradients
from .message import Message, message_sums


class EdgeSumRule:
    """A rule of a sum over edges: what `pull` reads is there before there is a value.

    Where only some nodes are receivers, the first ones are, and the orders of the edges count no others by target.
    """

    def keep(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> None:
        """Take what `run` is given."""
        raise NotImplementedError

    def value(self) -> Tensor:
        """The sums [receiver, dim]."""
        raise NotImplementedError

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        """Both."""
        self.keep(values, context, wants)
        return self.value()


class SumEdgesRule(EdgeSumRule):
    """Every edge has the gradient of its receiver."""

    def __init__(self, layer: SumEdges) -> None:
        self.layer = layer

    def keep(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> None:
        self.x, self.context = values[0], context

    def value(self) -> Tensor:
        return self.layer(self.x, *self.context)

    def pull(self, g: Tensor) -> Gradients:
        edges, _, average = self.context
        return [self.layer.scaled(g, edges[1], average).index_select(0, edges[1])]


class MessageRule(EdgeSumRule):
    """A message on its kernels."""

    def __init__(self, layer: Message) -> None:
        self.layer = layer

    def keep(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> None:
        *self.arguments, self.order = values
        self.edges, *average = context
        self.scale = self.layer.scale(*average)
        self.names = "".join(name for name, want in zip("xyw", wants[:3], strict=True) if want)

    def value(self) -> Tensor:
        return message_sums(*self.arguments, self.edges[0], self.order[0], self.scale, self.layer.spec)

    def pull(self, g: Tensor) -> Gradients:
        made = torch.ops.equic.message_backward(
            g, *self.arguments, None, None, None, self.edges[1], self.order[1], self.scale, self.layer.spec,
            self.names,
        )  # fmt: skip
        return [
            *(value if name in self.names else None for name, value in zip("xyw", made, strict=True)),
            None,
        ]


class DensityRule(EdgeSumRule):
    """Sums by the kernel, then the matrix products from them."""

    def __init__(self, layer: DensityKernel, gemms: Gemms) -> None:
        self.gemms = gemms
        density = layer.density.module
        assert isinstance(density, Density)
        self.density = density

    def keep(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> None:
        table, self.y, self.h, species, order = values
        edges, average, matrix = context
        self.order, self.kind = order[0], species.index_select(0, edges[0])
        self.nodes, self.wants = self.order.shape[0] - 1 - edges.shape[1], wants
        matrices = self.density.matrices(table, average, matrix)
        self.weights = torch.cat([weights.flatten() for _, _, weights in matrices])

    def value(self) -> Tensor:
        sums = torch.ops.equic.outer_sum(
            self.y, self.h, self.kind, self.order, self.nodes, self.density.species
        )
        return self.gemms(sums.flatten(1), self.weights)

    def pull(self, g: Tensor) -> Gradients:
        by_sums = self.gemms(g, self.weights, back=True).view(self.nodes, self.y.shape[1], -1)
        made = torch.ops.equic.outer_sum_backward(
            by_sums, self.y, self.h, self.kind, self.order, self.nodes, self.density.species
        )
        kept = (value if want else None for value, want in zip(made, self.wants[1:3], strict=True))
        return [None, *kept, None, None]
