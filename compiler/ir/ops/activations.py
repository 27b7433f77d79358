"""The scalar functions of networks, with what the rules need of them."""

from __future__ import annotations

from typing import Literal

Activation = Literal["silu", "tanh", "relu", "sigmoid", "softplus", "abs", "identity"]
ODD = frozenset({"tanh", "identity"})
SMOOTHNESS = {"relu": 0.0, "abs": 0.0}
