"""One step of time, for any vector field on phase space."""

from collections.abc import Callable

import torch

Field = Callable[[torch.Tensor], torch.Tensor]
Stepper = Callable[[Field, torch.Tensor, float], torch.Tensor]


def kick_drift_kick(
    field: Field, state: torch.Tensor, dt: float, force: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One leapfrog step, and the force at its end, which is the force at the start of the next one.

        p½ = p + dt/2 F(q);  q' = q + dt T'(p½);  p' = p½ + dt/2 F(q')

    The field of a separable H = T(p) + V(q) is f(q, p) = (T'(p), F(q)) with F = -V': its first half is read
    where only the momenta are right, and its second half where only the coordinates are. Handing `force` back
    in saves one of three evaluations a step.

    Shapes:    state [*, D] = (q, p), force [*, D/2] -> state [*, D], force [*, D/2]
    Claims:    order 2; symplectic and time-reversible where the field is separable and Hamiltonian
    Reference: hairer2006geometric, section I.1.4
    """
    q, p = state.chunk(2, dim=-1)
    if force is None:
        force = field(state).chunk(2, dim=-1)[1]
    p = p + 0.5 * dt * force
    velocity = field(torch.cat([q, p], dim=-1)).chunk(2, dim=-1)[0]
    q = q + dt * velocity
    force = field(torch.cat([q, p], dim=-1)).chunk(2, dim=-1)[1]
    p = p + 0.5 * dt * force
    return torch.cat([q, p], dim=-1), force


def leapfrog(field: Field, state: torch.Tensor, dt: float) -> torch.Tensor:
    """One kick-drift-kick step of a separable field (`kick_drift_kick` without the force to carry on).

    Shapes:    state [*, D] = (q, p) -> [*, D]
    Claims:    order 2; symplectic and time-reversible where the field is separable and Hamiltonian
    Reference: hairer2006geometric, section I.1.4
    """
    return kick_drift_kick(field, state, dt)[0]


def rk4(field: Field, state: torch.Tensor, dt: float) -> torch.Tensor:
    """One step of the classical Runge-Kutta method, for any field.

        z' = z + dt/6 (k1 + 2 k2 + 2 k3 + k4)

    Shapes:    state [*, D] -> [*, D]
    Claims:    order 4; keeps linear invariants; neither symplectic nor reversible
    Reference: hairer1993solving, section II.1
    """
    k1 = field(state)
    k2 = field(state + 0.5 * dt * k1)
    k3 = field(state + 0.5 * dt * k2)
    k4 = field(state + dt * k3)
    return state + (dt / 6.0) * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
