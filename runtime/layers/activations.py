"""Scalar functions of the networks, and the constants that give them unit second moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor


def identity(x: Tensor) -> Tensor:
    """f(x) = x."""
    return x


def smooth_leaky_relu(x: Tensor) -> Tensor:
    """f(x) = 0.6 x + 0.4 x (2 sigmoid(x) - 1): x far above 0, 0.2 x far below (Liao and Smidt 2023)."""
    return x * (0.2 + 0.8 * torch.sigmoid(x))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "shifted_softplus": lambda x: torch.nn.functional.softplus(x) - math.log(2.0),
    "gelu": torch.nn.functional.gelu,
    "smooth_leaky_relu": smooth_leaky_relu,
    "relu": torch.relu,
    "abs": torch.abs,
    "identity": identity,
}


@cache
def second_moment_factor(name: str) -> float:
    """The c for which E[(c f(x))^2] = 1 under x ~ N(0, 1), to float64 accuracy.

    Gauss-Legendre on panels of [-12, 12], one border at 0 where relu and abs have their kink; the normal
    distribution beyond is below 1e-31.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    edges = np.linspace(-12.0, 12.0, 25)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * nodes).ravel()
    w = (half[:, None] * weights).ravel() * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    f = ACTIVATIONS[name](torch.from_numpy(x)).numpy()
    return float((w * f * f).sum() ** -0.5)
