"""The vector field of a phase-space model."""

from typing import Any

import torch
from equic.runtime.errors import EquicError

from .steppers import Field


def phase_space_system(plan: Any) -> dict[str, Any]:
    """`plan.system` of a phase-space plan.

    Raises:
        EquicError: the plan is of another kind of system.
    """
    if plan.kind != "phase_space":
        raise EquicError(
            f"`{plan.name}` is a model of {plan.kind}, which has no phase-space flow",
            help="integrators serve `kind: phase_space`; for atoms use the ASE calculator",
        )
    return plan.system


def field_of(model: Any) -> Field:
    """The flow z' = f(z) of a phase-space model, as a function of states of any dtype.

    The model computes in its own dtype; the result returns in the state's, so that a float32 model can be
    integrated with float64 sums.

    Shapes: state [B, D] -> [B, D]

    Raises:
        EquicError: the model has no phase space.
    """
    phase_space_system(model.plan)
    dtype = model.dtype

    def field(state: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            out = model({"state": state.to(dtype)})["derivatives"]
        return out.detach().to(state.dtype)

    return field
