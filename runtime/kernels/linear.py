"""Equivariant linear maps as matrix products in place, differentiable as often as one likes.

    y = L(x, W):   y_(m,v) = sum_u W_(u,v) x_(m,u) / sqrt(fan_in)     within each irrep, W that of a row's species

L is linear in x and in W, so three operations close under differentiation: L, its transpose in x, and the sums over
rows that are its gradient in W. A training step meets each of them as one node, where the layer as it is written has
one for every block that is cut out, turned, multiplied and joined.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from equic.runtime.layers.base import Hidden, Layer
from equic.runtime.layers.linear import Linear
from torch import Tensor

from .gemm import Gemms, has_blas
from .gemm_tasks import linear_tasks
from .ops import not_leaf, wanted


class LinearKernel(Layer):
    """A `linear` layer's function; the layer keeps its weights.

    Tracers (`torch.compile`, `torch.export`) see the layer itself.

    Shapes:    x [*, in.dim], species [*] if there is one map per species -> y [*, out.dim]
    Units:     those of the layer
    Claims:    those of the layer
    """

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.linear = Hidden(linear)
        self.products = Gemms(linear_tasks(linear), linear.source.dim, linear.out.dim)

    @property
    def layer(self) -> Linear:
        """The layer whose function this is."""
        assert isinstance(self.linear.module, Linear)
        return self.linear.module

    def forward(self, x: Tensor, species: Tensor | None = None) -> Tensor:
        if torch.compiler.is_compiling() or type(x) is not Tensor:
            return self.layer(x, species)
        rows = None if species is None else species.flatten().contiguous()
        y: Tensor = _Map.apply(x.flatten(0, -2), not_leaf(self.layer.weight), rows, self.products)
        return y.unflatten(0, x.shape[:-1])


def without_graph(layer: Layer) -> Layer:
    """What a program that keeps no graph runs in place of a layer: linear maps have products of its own there."""
    return layer.layer if isinstance(layer, LinearKernel) else layer


def has_kernel(layer: Layer) -> TypeGuard[Linear]:
    """Whether a layer is products with one weight within irreps, and torch's BLAS can be called."""
    return (
        isinstance(layer, Linear)
        and bool(layer.kinds)
        and layer.breaking is None
        and layer.bias is None
        and all(kind.commutant == 1 for kind in layer.kinds)
        and has_blas()
    )


class _Map(torch.autograd.Function):
    """L(x, W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, species: Tensor | None, products: Gemms) -> Tensor:
        ctx.save_for_backward(x, weight, species)
        ctx.products = products
        return products(x, weight, species=species)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, species = ctx.saved_tensors
        by_x, by_weight = wanted(ctx, 2)
        return (
            _Back.apply(g, weight, species, ctx.products) if by_x else None,
            _Sums.apply(x, g, weight.shape, species, ctx.products) if by_weight else None,
            None,
            None,
        )


class _Back(torch.autograd.Function):
    """The transpose of L(., W), of g."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, species: Tensor | None, products: Gemms) -> Tensor:
        ctx.save_for_backward(g, weight, species)
        ctx.products = products
        return products(g, weight, species=species, back=True)

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> tuple[Tensor | None, ...]:
        g, weight, species = ctx.saved_tensors
        by_g, by_weight = wanted(ctx, 2)
        return (
            _Map.apply(t, weight, species, ctx.products) if by_g else None,
            _Sums.apply(t, g, weight.shape, species, ctx.products) if by_weight else None,
            None,
            None,
        )


class _Sums(torch.autograd.Function):
    """The gradient of sum(g L(x, W)) by W."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, g: Tensor, shape: torch.Size, species: Tensor | None, products: Gemms
    ) -> Tensor:
        ctx.save_for_backward(x, g, species)
        ctx.products = products
        return products.outer(x, g, shape, species=species)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        x, g, species = ctx.saved_tensors
        by_x, by_g = wanted(ctx, 2)
        return (
            _Back.apply(g, v, species, ctx.products) if by_x else None,
            _Map.apply(x, v, species, ctx.products) if by_g else None,
            None,
            None,
            None,
        )
