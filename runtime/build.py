"""From a plan to a torch module."""

from __future__ import annotations

import hashlib

import torch

from .errors import ArtifactError
from .layers import LAYERS
from .model import Model
from .plan import Plan

__all__ = ["Model", "build_module"]


def build_module(plan: Plan, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Model:
    """The module of a plan, with fresh weights.

    Each step draws from its own generator, seeded by (`seed`, the step's name): the global random state
    is neither read nor moved, and a step added elsewhere in the plan leaves the others' weights alone.

    Raises:
        ArtifactError: the plan names a layer or parameter that this runtime does not know.
    """
    layers = {}
    for step in plan.steps:
        if step.layer not in LAYERS:
            raise ArtifactError(f"step `{step.name}`: this runtime has no layer `{step.layer}`")
        try:
            layer = LAYERS[step.layer](step.params)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"step `{step.name}`: layer `{step.layer}` refuses its parameters: {error!r}"
            ) from error
        layer.initialise(_generator(seed, step.name))
        layers[step.name] = layer
    return Model(plan, layers).to(dtype)


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
