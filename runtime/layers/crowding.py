"""Sums over neighbours, divided by how many there are in a learned sense."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Layer, Params


class Saturate(Layer):
    """How much a neighbour counts.

        y = tanh(x^2)

    Shapes:    x [*, n] -> y [*, n]
    Units:     dimensionless
    Claims:    invariant numbers to invariant numbers; a zero of x is a double zero of y
    Reference: batatia2023foundation
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x * x)


class Dilute(Layer):
    """Features over one more than a number of neighbours.

        y = x / (1 + n)

    Shapes:    x [*, dim], n [*, 1] -> y [*, dim]
    Units:     those of x
    Claims:    equivariant under every group that leaves n alone
    Reference: batatia2023foundation
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        return x / (1.0 + n)
