"""Trajectories of phase-space models."""

from typing import Any

import torch
from equic.runtime.errors import EquicError

from .field import field_of, phase_space_system
from .steppers import Field, Stepper, kick_drift_kick, leapfrog, rk4

INTEGRATORS: dict[str, Stepper] = {"leapfrog": leapfrog, "rk4": rk4}


def choose_integrator(plan: Any, name: str | None) -> str:
    """The integrator of this name, or the plan's own, after checking that the plan may use it.

    Raises:
        EquicError: the name is unknown, or leapfrog is asked for where H is not separable.
    """
    system = phase_space_system(plan)
    chosen = name if name is not None else system["integrator"]
    if chosen not in INTEGRATORS:
        raise EquicError(
            f"there is no integrator `{chosen}`", help=f"choose one of: {', '.join(sorted(INTEGRATORS))}"
        )
    if chosen == "leapfrog" and not system["separable"]:
        raise EquicError(
            f"leapfrog needs H = T(p) + V(q), and `{plan.name}` does not declare its H separable",
            help="use `integrator: rk4`, or declare `separable: true`",
        )
    return chosen


def rollout(
    model: Any, state0: torch.Tensor, *, dt: float, steps: int, integrator: str | None = None
) -> torch.Tensor:
    """The trajectory of a batch of initial states under the model's flow.

    Sums run in the dtype of `state0`, the field in the model's own.

    Shapes: state0 [B, D] -> [steps + 1, B, D], the initial states first
    Raises:
        EquicError: no phase space, an unknown integrator, or leapfrog without a separable H.

    Example:
        >>> orbit = rollout(model, torch.tensor([[1.0, 0.0]]), dt=0.1, steps=100)  # doctest: +SKIP
    """
    name = choose_integrator(model.plan, integrator)
    return integrate(field_of(model), state0, dt=dt, steps=steps, integrator=name)


def integrate(field: Field, state0: torch.Tensor, *, dt: float, steps: int, integrator: str) -> torch.Tensor:
    """`rollout` for a bare field f(z).

    Shapes: state0 [B, D] -> [steps + 1, B, D]
    """
    states = [state0]
    if integrator == "leapfrog":
        force = None
        for _ in range(steps):
            state, force = kick_drift_kick(field, states[-1], dt, force)
            states.append(state)
        return torch.stack(states)
    step = INTEGRATORS[integrator]
    for _ in range(steps):
        states.append(step(field, states[-1], dt))
    return torch.stack(states)


def energies(model: Any, states: torch.Tensor) -> torch.Tensor:
    """The model's own H along trajectories, in float64.

    Shapes: states [T, B, D] -> [T, B]
    Raises:
        EquicError: the model has no Hamiltonian.
    """
    flat = states.reshape(-1, states.shape[-1]).to(model.dtype)
    with torch.no_grad():
        outputs = model({"state": flat})
    if "hamiltonian" not in outputs:
        raise EquicError(
            f"`{model.plan.name}` has no Hamiltonian, so it has no energy of its own",
            help="declare `constraints: {hamiltonian: ...}`, or compute a known energy from the states",
        )
    values = outputs["hamiltonian"]
    return values.detach().to(torch.float64).reshape(states.shape[:-1])
