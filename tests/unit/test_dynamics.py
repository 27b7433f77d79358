"""Molecular dynamics: conservation, temperature, drift, and what happens when it fails."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.io import read
from equic.runtime.build import build_module
from equic.runtime.calculators import EquicCalculator
from equic.runtime.dynamics import DynamicsError, run_md
from equic.runtime.errors import DataError
from equic.runtime.testing.plans import mace_plan


class Springs(Calculator):
    """Every atom on a spring of its own, E = k x²/2: analytic, and linear to integrate."""

    implemented_properties = ("energy", "forces")

    def __init__(self, k: float = 1.0, fail_after: int | None = None) -> None:
        super().__init__()
        self.k, self.fail_after, self.calls = k, fail_after, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        k = np.nan if self.fail_after is not None and self.calls > self.fail_after else self.k
        x = atoms.positions
        self.results = {"energy": 0.5 * k * float((x**2).sum()), "forces": -k * x}


def copper() -> Atoms:
    return bulk("Cu", cubic=True).repeat((2, 2, 2))


def test_nve_conserves_energy_and_momentum() -> None:
    start = copper()
    before = start.positions.copy()
    result = run_md(start, EMT(), temperature=300, timestep_fs=2.0, steps=300, log_every=5, seed=1)
    np.testing.assert_array_equal(start.positions, before)  # a copy was moved
    assert len(result.time) == 61
    assert result.time[-1] == pytest.approx(0.6)
    np.testing.assert_allclose(result.total, result.potential + result.kinetic, rtol=0, atol=1e-12)
    assert np.ptp(result.total) < 0.03 * np.ptp(result.kinetic)
    assert abs(result.drift.slope) < 5 * result.drift.standard_error + 1e-4
    np.testing.assert_allclose(result.atoms.get_momenta().sum(axis=0), 0.0, atol=1e-10)
    assert result.temperature[0] == pytest.approx(300, rel=0.25)


def test_momenta_are_drawn_at_the_temperature() -> None:
    """Against the analytic distribution: k_B T/2 per degree of freedom, whatever the mass."""
    atoms = Atoms("H500U500", positions=np.arange(3000.0).reshape(1000, 3))
    result = run_md(atoms, Springs(k=1e-12), temperature=400, timestep_fs=0.1, steps=1, seed=5)
    assert result.temperature[0] == pytest.approx(400, rel=0.06)
    momenta, masses = result.atoms.get_momenta(), result.atoms.get_masses()
    energies = (momenta**2 / (2 * masses[:, None])).mean(axis=1)
    for half in (energies[:500], energies[500:]):
        assert half.mean() == pytest.approx(0.5 * 8.617333e-5 * 400, rel=0.1)


def test_a_model_conserves_energy() -> None:
    plan = mace_plan(channels=2, lmax=1, correlation=2, layers=1, species=("Cu",), cutoff=3.4)
    model = build_module(plan, seed=0, dtype=torch.float64)
    model.set_statistics({"average_neighbors": 12.0, "scale": 0.1})
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=0)
    calculator = EquicCalculator(model, device="cpu")
    result = run_md(atoms, calculator, temperature=300, timestep_fs=1.0, steps=200, log_every=4)
    exchanged = float(np.ptp(result.kinetic))
    assert exchanged > 1e-3
    assert np.ptp(result.total) < 2e-3 * exchanged
    assert calculator.neighbors.searches < 50


def test_the_error_of_the_energy_falls_with_the_square_of_the_step() -> None:
    spreads = []
    for timestep in (2.0, 1.0):
        atoms = Atoms("H", positions=[[0.3, 0.0, 0.1]])
        atoms.set_momenta([[0.1, 0.2, 0.0]])
        steps = int(200 / timestep)
        result = run_md(atoms, Springs(), timestep_fs=timestep, steps=steps, log_every=1)
        spreads.append(float(np.ptp(result.total)))
    assert spreads[0] / spreads[1] == pytest.approx(4.0, rel=0.1)


def test_langevin_holds_the_temperature() -> None:
    """Analytic: for independent springs the kinetic energy is k_B T/2 per degree of freedom."""
    atoms = Atoms("H200", positions=np.zeros((200, 3)))
    result = run_md(
        atoms,
        Springs(),
        ensemble="nvt-langevin",
        temperature=450,
        timestep_fs=1.0,
        steps=600,
        friction=0.05,
        log_every=3,
        seed=3,
    )
    settled = result.temperature[60:]
    assert settled.mean() == pytest.approx(450, rel=0.05)


def test_the_seed_decides_everything() -> None:
    def run(seed: int) -> np.ndarray:
        settings = {"ensemble": "nvt-langevin", "temperature": 300, "timestep_fs": 2.0, "steps": 20}
        return run_md(copper(), EMT(), seed=seed, log_every=1, **settings).total

    np.testing.assert_array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


@pytest.mark.parametrize("suffix", [".extxyz", ".xyz", ".traj"])
def test_trajectories_are_written(tmp_path, suffix: str) -> None:
    path = tmp_path / "deep" / f"run{suffix}"
    result = run_md(copper(), EMT(), temperature=300, timestep_fs=2.0, steps=10, log_every=4, trajectory=path)
    frames = read(path, index=":")
    assert len(frames) == len(result.time) == 4  # 0, 4, 8 and the last
    energies = [frame.get_potential_energy() for frame in frames]
    np.testing.assert_allclose(energies, result.potential, atol=1e-6)
    assert frames[-1].get_forces().shape == (32, 3)
    assert np.abs(frames[-1].get_momenta()).max() > 0


def test_explosions_are_named(tmp_path) -> None:
    with pytest.raises(DynamicsError, match=r"exploded at step \d+ .*temperature"):
        run_md(Atoms("H", positions=[[1.0, 0, 0]]), Springs(k=1e4), timestep_fs=10.0, steps=100)
    path = tmp_path / "run.extxyz"
    with pytest.raises(DynamicsError, match=r"step 7 \(3.5 fs\): energy or forces are not finite"):
        run_md(
            Atoms("H", positions=[[1.0, 0, 0]]),
            Springs(fail_after=7),
            steps=100,
            log_every=1,
            trajectory=path,
        )
    assert len(read(path, index=":")) == 7  # what was sound is kept


def test_structures_that_a_model_refuses_name_their_step() -> None:
    class Refusing(Springs):
        def __init__(self, limit: int) -> None:
            super().__init__()
            self.limit = limit

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            if self.calls > self.limit:
                raise DataError("atoms 0 and 1 are in the same place")

    atoms = Atoms("H", positions=[[1.0, 0, 0]])
    with pytest.raises(DynamicsError, match=r"step 4 \(2 fs\): atoms 0 and 1"):
        run_md(atoms, Refusing(4), steps=100)
    with pytest.raises(DataError, match="same place"):  # the structure itself: no step is to blame
        run_md(atoms, Refusing(0), steps=100)


def test_wrong_arguments() -> None:
    for settings, message in (
        ({"ensemble": "nph"}, "unknown ensemble `nph`"),
        ({"ensemble": "nvt-langevin"}, "needs a temperature"),
        ({"ensemble": "npt"}, "needs a temperature"),
        ({"ensemble": "npt", "temperature": 0}, "above zero"),
        ({"pressure_bar": float("nan")}, "not finite"),
        ({"temperature": -1}, "not between 0 and"),
        ({"timestep_fs": 0}, "must be positive"),
        ({"steps": 0}, "at least 1"),
        ({"trajectory": "a.pdb"}, "no known kind of trajectory"),
    ):
        with pytest.raises(DynamicsError, match=message):
            run_md(copper(), EMT(), **settings)
    with pytest.raises(DynamicsError, match="no atoms"):
        run_md(Atoms(), EMT())
