"""From a plan to a torch module."""

from __future__ import annotations

import hashlib
import logging
from functools import cache

import torch

from .errors import ArtifactError
from .kernels import Form, Fused, find_toolchain, fuse, toolchain
from .layers import LAYERS, OWN_LAYERS
from .layers.base import Layer
from .model import Kernels, Model
from .plan import Plan

__all__ = ["Kernels", "Model", "build_module"]


def build_module(
    plan: Plan, *, seed: int = 0, dtype: torch.dtype = torch.float32, kernels: Kernels = "auto"
) -> Model:
    """The module of a plan, with fresh weights.

    `kernels` says what computes messages and powers: "reference" the layers as they are written, "torch" messages
    on tables of neighbours, without scatter, "c" generated C on the CPU and "torch" elsewhere, "auto" C where a
    compiler is found, else "torch". It changes rounding and time, and neither plan nor weights.

    Each step draws from its own generator, seeded by (`seed`, the step's name): the global random state
    is neither read nor moved, and a step added elsewhere in the plan leaves the others' weights alone.

    Raises:
        ArtifactError: the plan names a layer or parameter that this runtime does not know.
        KernelError: C was asked for, and no compiler is found.
    """
    layers: dict[str, Layer] = {}
    known = {**LAYERS, **OWN_LAYERS}
    for step in plan.steps:
        if step.layer not in known:
            raise ArtifactError(f"step `{step.name}`: this runtime has no layer `{step.layer}`")
        try:
            layer = known[step.layer](step.params)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"step `{step.name}`: layer `{step.layer}` refuses its parameters: {error!r}"
            ) from error
        layer.initialise(_generator(seed, step.name))
        layers[step.name] = layer
    return Model(plan, layers, _programs(plan, layers, kernels), kernels).to(dtype)


def _programs(plan: Plan, layers: dict[str, Layer], kernels: Kernels) -> list[Fused]:
    """The programs that a model may run, the first that can first."""
    forms: tuple[Form, ...] = ("c", "torch")
    if kernels == "reference":
        return []
    if kernels == "torch":
        forms = ("torch",)
    found = [program for form in forms if (program := fuse(plan, layers, form)) is not None]
    if found and found[0].form == "c":
        if kernels == "c":
            toolchain()
        elif not _compiler_found():
            return found[1:]
    return found


@cache
def _compiler_found() -> bool:
    if find_toolchain() is not None:
        return True
    logging.getLogger("equic").warning(
        "no C compiler was found: models run on torch alone, several times slower (`equic doctor`)"
    )
    return False


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
