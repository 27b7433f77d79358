"""Whether a flow is Hamiltonian, and its steps symplectic."""

import numpy as np
import torch
from numpy.typing import NDArray

from .baseline import rms
from .certificate import Item
from .judge import EPSILON, demanded, judge, not_applicable, unclaimed
from .phase_symmetry import FLOOR
from .stencil import NODES, STEPS, best_step, derivative
from .subject import DTYPES, Subject

Array = NDArray[np.float64]

FIELD, JACOBIAN, SYMPLECTIC = "field against H", "symmetric Jacobian", "symplectic residual"
ROLLOUT = 1000
MEMBERS = 8  # states that are rolled out
_STIFF = 0.05  # time step times the largest singular value of the flow's Jacobian


def structure_items(subject: Subject, states: Array) -> list[Item]:
    """The field against differences of H, and the symmetry of the field's own Jacobian.

        f = J dH/dz;  J^-1 Df symmetric,  J = [[0, 1], [-1, 0]]

    Shapes: states [M, D]
    """
    dtype, hamiltonian = subject.dtype, subject.plan.system["structure"] == "hamiltonian"
    flow = subject.flow(states)
    steps = STEPS[dtype]
    if subject.has_hamiltonian:
        value, step = best_step(lambda h: _field_error(subject, states, flow, h), steps)
        rule = (
            demanded("differences", dtype)
            if hamiltonian
            else unclaimed("the flow is not claimed Hamiltonian")
        )
        measure = f"f - J dH/dz, differences of step {step:g}, relative to the RMS flow {rms(flow):.3g}"
        items = [
            judge(FIELD, dtype, value, rule, measure=measure, rounding=_rounding(subject, states, flow, step))
        ]
    else:
        items = [not_applicable(FIELD, dtype, "no Hamiltonian: the model gives the flow itself")]
    value, step = best_step(lambda h: _twist(jacobians(subject, states, h)), steps)
    rule = demanded("differences", dtype) if hamiltonian else unclaimed("the flow is not claimed Hamiltonian")
    measure = f"S - S^T beside S = J^-1 df/dz, all {states.shape[1]} directions, differences of step {step:g}"
    return [*items, judge(JACOBIAN, dtype, value, rule, measure=measure)]


def jacobians(subject: Subject, states: Array, step: float) -> Array:
    """df/dz by fourth-order differences: [M, D] -> [M, D (of f), D (of z)]."""
    nudged = states[None, :, None, :] + step * NODES[:, None, None, None] * np.eye(states.shape[1])
    return np.swapaxes(derivative(subject.flow(nudged), step), 1, 2)


def symplectic_form(dim: int) -> Array:
    """J = [[0, 1], [-1, 0]]: [D, D]."""
    half = dim // 2
    return np.kron(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(half))


def time_step(subject: Subject, states: Array) -> float:
    """A step that resolves the flow: 0.05 of the fastest time in its Jacobian at the states, at most 0.1."""
    fastest = float(
        np.linalg.norm(jacobians(subject, states, STEPS[subject.dtype][0]), ord=2, axis=(1, 2)).max()
    )
    return min(0.1, _STIFF / fastest) if np.isfinite(fastest) and fastest > 0 else 0.1


def symplectic_item(subject: Subject, states: Array) -> Item:
    """M^T J M - J for the Jacobian M of 1,000 steps, by differences of trajectories, relative to |M|².

    Shapes: states [M, D]
    """
    dtype, system = subject.dtype, subject.plan.system
    if system["structure"] != "hamiltonian":
        return not_applicable(SYMPLECTIC, dtype, "no Hamiltonian: the flow need not be symplectic")
    start = states[:2]
    dim, dt = states.shape[1], time_step(subject, states[:MEMBERS])

    steps = STEPS[dtype]
    # all nudges of all steps travel together: a rollout costs by its length, hardly by its width
    nodes = np.outer(steps, NODES)[..., None, None, None]
    nudged = start[:, None, :] + nodes * np.eye(dim)
    ends = roll_out(subject, nudged.reshape(-1, dim), dt, ROLLOUT)[-1].reshape(nudged.shape)
    residuals = {step: _residual(derivative(end, step)) for step, end in zip(steps, ends, strict=True)}
    value, step = best_step(residuals.__getitem__, steps)
    integrator = system["integrator"]
    rule = (
        demanded("differences", dtype)
        if integrator == "leapfrog"
        else unclaimed(f"{integrator} is not symplectic")
    )
    measure = (
        f"M^T J M - J, relative to |M|², of {ROLLOUT} {integrator} steps of {dt:.3g}, differences of {step:g}"
    )
    return judge(SYMPLECTIC, dtype, value, rule, measure=measure)


def _residual(rows: Array) -> float:
    """The largest |M^T J M - J| / |M|² over states, from the rows dz'/dz_i: [M, D, D]."""
    M, J = np.swapaxes(rows, 1, 2), symplectic_form(rows.shape[-1])
    defect = np.swapaxes(M, 1, 2) @ J @ M - J
    sizes = np.linalg.norm(M, ord=2, axis=(1, 2)) ** 2
    return float(np.max(np.linalg.norm(defect, ord=2, axis=(1, 2)) / sizes))


def roll_out(subject: Subject, states: Array, dt: float, steps: int) -> Array:
    """[M, D] -> [steps + 1, M, D], summed in float64 around the field in the subject's dtype."""
    from equic.runtime.integrators.rollout import choose_integrator, integrate

    def field(z: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            out = subject.call({"state": z.to(DTYPES[subject.dtype])})["derivatives"]
        return out.detach().to(z.dtype)

    start = torch.as_tensor(states).to(subject.device)
    name = choose_integrator(subject.plan, None)
    return integrate(field, start, dt=dt, steps=steps, integrator=name).cpu().numpy()


def _field_error(subject: Subject, states: Array, flow: Array, step: float) -> float:
    nudged = states[None, :, None, :] + step * NODES[:, None, None, None] * np.eye(states.shape[1])
    gradient = derivative(subject.hamiltonian(nudged), step)
    return rms(flow - gradient @ symplectic_form(states.shape[1]).T) / max(rms(flow), FLOOR)


def _rounding(subject: Subject, states: Array, flow: Array, step: float) -> float:
    return 4.0 * EPSILON[subject.dtype] * rms(subject.hamiltonian(states)) / step / max(rms(flow), FLOOR)


def _twist(jacobian: Array) -> float:
    S = symplectic_form(jacobian.shape[-1]).T @ jacobian
    size = float(np.sqrt(np.square(S).sum()))
    return float(np.sqrt(np.square(S - np.swapaxes(S, 1, 2)).sum())) / max(size, FLOOR)
