"""Layers on the pairs of bodies of a phase space."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Layer, Params


class Distances(Layer):
    """Squared distances of all pairs of bodies.

        y_(ij) = |x_i - x_j|^2,   i < j

    Shapes:    each x [batch, dim] -> y [batch, pair, 1]
    Units:     the square of those of x
    Claims:    invariant under translations and rotations; a permutation of the bodies permutes the pairs
    Reference: satorras2021egnn
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, *bodies: Tensor) -> Tensor:
        n = len(bodies)
        apart = [bodies[i] - bodies[j] for i in range(n) for j in range(i + 1, n)]
        return torch.stack(apart, dim=-2).square().sum(-1, keepdim=True)


class SumPairs(Layer):
    """Sum over the pairs of bodies of each state.

        y = sum_(i<j) x_(ij)

    Shapes:    x [batch, pair, dim] -> y [batch, dim]
    Units:     those of x
    Claims:    invariant under permutations of the bodies
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(-2)
