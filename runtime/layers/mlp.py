"""Multilayer perceptrons on invariant numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .activations import ACTIVATIONS, second_moment_factor
from .base import Layer, Params, fill_normal, parameter


class Mlp(Layer):
    """A fully connected network; the activation acts between linears, not after the last.

        normal:      x <- c act(x W / sqrt(fan_in) + b),  W ~ N(0, 1), b = 0, c: unit second moment
        orthogonal:  x <- act(x W + b),                   W orthogonal, b = 0

    With `last: false` the last matrix is left to the layer that borrows it: y = x c / sqrt(fan_in) before it.

    Shapes:    x [*, in] -> y [*, out]
    Units:     dimensionless in and out
    Claims:    invariant numbers to invariant numbers under every group; as smooth as act
    Reference: normal: geiger2022e3nn (FullyConnectedNet); orthogonal: greydanus2019hamiltonian
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        sizes = [int(params["in"]), *(int(width) for width in params["widths"]), int(params["out"])]
        self.applied = len(sizes) - (1 if params.get("last", True) else 2)
        self.orthogonal = params["init"] == "orthogonal"
        self.act = ACTIVATIONS[params["act"]]
        self.factor = 1.0 if self.orthogonal else second_moment_factor(params["act"])
        self.weights = nn.ParameterList(parameter(a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(parameter(b) for b in sizes[1:]) if params["bias"] else None

    @property
    def last_matrix(self) -> nn.Parameter:
        """What is left to a layer that borrows it, where `last` is false: [fan_in, out]."""
        return self.weights[-1]

    def initialise(self, generator: torch.Generator) -> None:
        for weight in self.weights:
            if self.orthogonal:
                nn.init.orthogonal_(weight, generator=generator)
            else:
                fill_normal(weight, generator)

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for i, weight in enumerate(self.weights):
            # the factor of the activation before, and 1/sqrt(fan_in), are put on the small weight
            scale = 1.0 if self.orthogonal else 1.0 / math.sqrt(weight.shape[0])
            scale *= self.factor if i else 1.0
            if i == self.applied:
                return x * scale
            matrix = weight if scale == 1.0 else weight * scale
            x = x @ matrix if self.biases is None else nn.functional.linear(x, matrix.t(), self.biases[i])
            if i < last:
                x = self.act(x)
        return x
