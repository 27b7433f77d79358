"""Order, symplecticity, reversibility and energy drift of the steppers, on systems with known answers."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from equic.runtime.errors import EquicError
from equic.runtime.integrators import energies, kick_drift_kick, leapfrog, rk4, rollout


def oscillator(state: torch.Tensor) -> torch.Tensor:
    """H = (p² + q²) / 2."""
    q, p = state.chunk(2, dim=-1)
    return torch.cat([p, -q], dim=-1)


def pendulum(state: torch.Tensor) -> torch.Tensor:
    """H = p²/2 + 1 - cos q."""
    q, p = state.chunk(2, dim=-1)
    return torch.cat([p, -torch.sin(q)], dim=-1)


def coupled(state: torch.Tensor) -> torch.Tensor:
    """H = |p|²/2 + |q|²/2 + q1² q2 - q2³/3 (Hénon-Heiles)."""
    q1, q2, p1, p2 = state.unbind(-1)
    return torch.stack([p1, p2, -q1 - 2 * q1 * q2, -q2 - q1**2 + q2**2], dim=-1)


def pendulum_energy(state: torch.Tensor) -> torch.Tensor:
    q, p = state.unbind(-1)
    return 0.5 * p**2 + 1.0 - torch.cos(q)


class AnalyticModel:
    """The pendulum with the face of a model."""

    def __init__(
        self, *, separable: bool = True, hamiltonian: bool = True, integrator: str = "leapfrog"
    ) -> None:
        system = {"dim": 2, "integrator": integrator, "separable": separable, "structure": "hamiltonian"}
        self.plan = SimpleNamespace(name="pendulum", kind="phase_space", system=system)
        self.dtype = torch.float64
        self.hamiltonian = hamiltonian

    def __call__(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        state = inputs["state"]
        out = {"derivatives": pendulum(state)}
        if self.hamiltonian:
            out["hamiltonian"] = pendulum_energy(state)
        return out


def states(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(count, dim, generator=generator, dtype=torch.float64)


def run(stepper, field, state, dt, steps):
    for _ in range(steps):
        state = stepper(field, state, dt)
    return state


@pytest.mark.parametrize(("stepper", "order"), [(leapfrog, 2), (rk4, 4)])
def test_order_by_step_halving_on_the_oscillator(stepper, order) -> None:
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    exact = torch.tensor([[math.cos(2.0), -math.sin(2.0)]], dtype=torch.float64)
    errors = [float((run(stepper, oscillator, start, 2.0 / n, n) - exact).norm()) for n in (20, 40, 80, 160)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders == pytest.approx([order] * 3, abs=0.1)


@pytest.mark.parametrize(("stepper", "order"), [(leapfrog, 2), (rk4, 4)])
def test_order_on_the_pendulum_against_scipy(stepper, order) -> None:
    from scipy.integrate import solve_ivp

    start = torch.tensor([[1.2, 0.4]], dtype=torch.float64)

    def field(_: float, z):
        return pendulum(torch.as_tensor(z)).numpy()

    reference = solve_ivp(field, (0.0, 3.0), start[0].numpy(), rtol=1e-12, atol=1e-12, method="DOP853")
    exact = torch.as_tensor(reference.y[:, -1])
    errors = [float((run(stepper, pendulum, start, 3.0 / n, n)[0] - exact).norm()) for n in (30, 60, 120)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders == pytest.approx([order] * 2, abs=0.15)


def symplectic_residual(stepper, field, state, dt, steps=1) -> float:
    """|M^T J M - J| by automatic differentiation of the whole run."""
    jacobian = torch.autograd.functional.jacobian(lambda z: run(stepper, field, z, dt, steps), state)
    half = state.shape[-1] // 2
    eye, zero = torch.eye(half, dtype=torch.float64), torch.zeros(half, half, dtype=torch.float64)
    J = torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)], 0)
    return float((jacobian.T @ J @ jacobian - J).abs().max())


@pytest.mark.parametrize(("field", "dim"), [(oscillator, 2), (pendulum, 2), (coupled, 4)])
def test_leapfrog_is_symplectic_and_rk4_is_not(field, dim) -> None:
    for state in states(3, dim):
        assert symplectic_residual(leapfrog, field, state, 0.3, steps=10) < 1e-12
        assert symplectic_residual(rk4, field, state, 0.3, steps=10) > 1e-6


@pytest.mark.parametrize("field", [pendulum, coupled])
def test_leapfrog_is_reversible(field) -> None:
    start = 0.5 * states(5, 2 if field is pendulum else 4)  # well inside the well of Hénon-Heiles
    flip = torch.ones(start.shape[-1], dtype=torch.float64)
    flip[start.shape[-1] // 2 :] = -1.0
    there = run(leapfrog, field, start, 0.1, 100)
    back = run(leapfrog, field, there * flip, 0.1, 100) * flip
    assert (back - start).abs().max() < 1e-12
    there = run(rk4, field, start, 0.3, 100)
    back = run(rk4, field, there * flip, 0.3, 100) * flip
    assert (back - start).abs().max() > 1e-6  # the method, not the test, tells them apart


def test_energy_drift_slope() -> None:
    """Leapfrog's energy error has no slope at a step where rk4 steadily loses energy."""
    start = torch.tensor([[1.0, 0.0], [0.2, 0.9]], dtype=torch.float64)
    time = torch.arange(2001, dtype=torch.float64) * 0.4
    slopes = {}
    for name in ("leapfrog", "rk4"):
        energy = pendulum_energy(rollout(AnalyticModel(), start, dt=0.4, steps=2000, integrator=name))
        centred = time - time.mean()
        slopes[name] = float(((centred @ energy) / (centred @ centred)).abs().max())
        assert (energy - energy[0]).abs().max() < (0.03 if name == "leapfrog" else 0.5)
    assert slopes["leapfrog"] < 1e-7
    assert slopes["rk4"] > 1e-6


def test_rollout_is_repeated_steps_and_keeps_shapes() -> None:
    start = states(3, 2)
    orbit = rollout(AnalyticModel(), start, dt=0.1, steps=7)
    assert orbit.shape == (8, 3, 2)
    assert torch.equal(orbit[0], start)
    torch.testing.assert_close(orbit[-1], run(leapfrog, pendulum, start, 0.1, 7), rtol=0, atol=1e-15)
    orbit = rollout(AnalyticModel(integrator="rk4", separable=False), start, dt=0.1, steps=7)
    torch.testing.assert_close(orbit[-1], run(rk4, pendulum, start, 0.1, 7), rtol=0, atol=1e-15)


def test_carrying_the_force_saves_an_evaluation_and_changes_nothing() -> None:
    calls = 0

    def counted(z: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return coupled(z)

    state, force = kick_drift_kick(counted, states(2, 4), 0.1)
    assert calls == 3
    again, _ = kick_drift_kick(counted, state, 0.1, force)
    assert calls == 5
    assert torch.equal(again, leapfrog(coupled, state, 0.1))


def test_energies_along_a_rollout() -> None:
    orbit = rollout(AnalyticModel(), states(3, 2), dt=0.1, steps=5)
    torch.testing.assert_close(energies(AnalyticModel(), orbit), pendulum_energy(orbit))
    with pytest.raises(EquicError, match="no Hamiltonian"):
        energies(AnalyticModel(hamiltonian=False), orbit)


def test_refusals_name_the_way_out() -> None:
    start = states(1, 2)
    with pytest.raises(EquicError, match="separable") as error:
        rollout(AnalyticModel(separable=False), start, dt=0.1, steps=1)
    assert "rk4" in str(error.value)
    with pytest.raises(EquicError, match="no integrator `euler`"):
        rollout(AnalyticModel(), start, dt=0.1, steps=1, integrator="euler")
    atoms = AnalyticModel()
    atoms.plan.kind = "atoms"
    with pytest.raises(EquicError, match="no phase-space flow"):
        rollout(atoms, start, dt=0.1, steps=1)


def test_leapfrog_keeps_momentum_and_angular_momentum_of_two_bodies() -> None:
    """Both momentum maps of the plane are kept exactly, whatever the step."""

    def two_bodies(z: torch.Tensor) -> torch.Tensor:
        a, b, pa, pb = z.split(2, dim=-1)
        d = a - b
        force = -d / (1.0 + (d * d).sum(-1, keepdim=True)) ** 1.5
        return torch.cat([pa, pb, force, -force], dim=-1)

    def momenta(z: torch.Tensor) -> torch.Tensor:
        a, b, pa, pb = z.split(2, dim=-1)
        spin = a[:, 0] * pa[:, 1] - a[:, 1] * pa[:, 0] + b[:, 0] * pb[:, 1] - b[:, 1] * pb[:, 0]
        return torch.cat([pa + pb, spin[:, None]], dim=-1)

    start = states(4, 8)
    end = run(leapfrog, two_bodies, start, 0.3, 200)
    assert (momenta(end) - momenta(start)).abs().max() < 1e-12
