"""The scalar functions of networks, with what the rules need of them."""

from __future__ import annotations

from typing import Literal

from ..types import Type

Activation = Literal[
    "silu",
    "tanh",
    "relu",
    "sigmoid",
    "softplus",
    "shifted_softplus",
    "gelu",
    "smooth_leaky_relu",
    "abs",
    "identity",
]
ODD = frozenset({"tanh", "identity"})
SMOOTHNESS = {"relu": 0.0, "abs": 0.0}
ZERO_AT_ZERO = frozenset(
    {"silu", "tanh", "relu", "shifted_softplus", "gelu", "smooth_leaky_relu", "abs", "identity"}
)


def faded(x: Type, f: str) -> float:
    """How a function of a value on edges goes to 0 at the cutoff: as the value does, where f(0) = 0."""
    return x.fades if f in ZERO_AT_ZERO else -1.0
