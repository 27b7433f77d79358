"""Slopes of energies: their error covers the truth for every kind of noise, and shadow energies have less of it."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from equic.runtime.dynamics import drift, fit_drift, run_md
from scipy.signal import lfilter
from scipy.stats import t as student

FRAMES, RUNS = 800, 400


def damped(period: float, lifetime: float) -> tuple[float, float]:
    """The coefficients of an AR(2) process that oscillates with this period and loses its phase in this time."""
    radius = np.exp(-1.0 / lifetime)
    return 2.0 * radius * np.cos(2.0 * np.pi / period), -(radius**2)


def process(rng: np.random.Generator, *coefficients: float) -> np.ndarray:
    """Autoregressive noise [RUNS, FRAMES] of unit variance, long after its start."""
    start = 4 * FRAMES
    noise = rng.normal(size=(RUNS, start + FRAMES))
    made = lfilter([1.0], [1.0, *(-c for c in coefficients)], noise, axis=1)[:, start:]
    return made / made.std()


NOISE = {
    "white": lambda rng: process(rng, 0.0),
    "short memory": lambda rng: process(rng, np.exp(-1 / 10)),
    "a twentieth of the run": lambda rng: process(rng, np.exp(-20 / FRAMES)),
    "a tenth of the run": lambda rng: process(rng, np.exp(-10 / FRAMES)),
    "a vibration": lambda rng: process(rng, *damped(7.0, 100.0)),
    "a slow vibration": lambda rng: process(rng, *damped(FRAMES / 20, FRAMES / 4)),
    "a fast and a slow one": lambda rng: (
        process(rng, *damped(3.0, 100.0)) + 0.3 * process(rng, np.exp(-20 / FRAMES))
    ),
    "a pure tone": lambda rng: np.sin(np.arange(FRAMES) * 0.0497 + 2 * np.pi * rng.random((RUNS, 1))),
}


@pytest.mark.parametrize("kind", NOISE)
def test_three_standard_errors_cover_zero(kind: str) -> None:
    """Nominally 99.7 of 100, and no interval is several times wider than it must be."""
    time = np.linspace(0.0, 2.0, FRAMES)
    found = [fit_drift(time, noise) for noise in NOISE[kind](np.random.default_rng(3))]
    slopes = np.array([each.slope for each in found])
    errors = np.array([each.standard_error for each in found])
    assert np.mean(np.abs(slopes) <= 3.0 * errors) > 0.98
    assert 0.9 < errors.mean() / slopes.std() < 2.6


def test_one_coefficient_of_memory_is_not_enough() -> None:
    """Why the error is not that of an AR(1) fit: a vibration hides the slow noise, and one run in ten
    is missed."""
    time = np.linspace(-1.0, 1.0, FRAMES)
    spread, missed = time @ time, 0
    for noise in NOISE["a fast and a slow one"](np.random.default_rng(4)):
        slope = time @ noise / spread
        rest = noise - noise.mean() - slope * time
        memory = max((rest[1:] @ rest[:-1]) / (rest @ rest), 0.0)
        error = np.sqrt(rest @ rest / (FRAMES - 2) / spread * (1 + memory) / (1 - memory))
        missed += abs(slope) > 3.0 * error
    assert missed > 0.1 * RUNS


def test_drift_of_a_known_line() -> None:
    time = np.linspace(0.0, 2.0, 400)
    line = 5.0 + 3e-3 * time
    found = fit_drift(time, line)
    assert found.slope == pytest.approx(3e-3, rel=1e-9)
    assert found.standard_error < 1e-14
    noisy = fit_drift(time, line + 1e-4 * np.random.default_rng(0).normal(size=400))
    assert noisy.slope == pytest.approx(3e-3, abs=3 * noisy.standard_error)
    assert noisy.slope > 30 * noisy.standard_error
    assert fit_drift(time[:15], line[:15]) is None
    assert fit_drift(time, np.full(400, -7.0)).standard_error == 0.0


def test_a_slope_does_not_depend_on_the_origin_of_the_energy() -> None:
    """Total energies of all-electron methods are 1e5 times their fluctuation."""
    time, noise = np.linspace(0.0, 2.0, 400), 1e-3 * np.random.default_rng(1).normal(size=400)
    low, high = fit_drift(time, noise), fit_drift(time, noise - 4e5)
    assert high.slope == pytest.approx(low.slope, rel=1e-4)
    assert high.standard_error == pytest.approx(low.standard_error, rel=1e-4)


def test_the_factor_is_students() -> None:
    outside = 0.5 * (1.0 - 0.9973002039367398)
    np.testing.assert_allclose(3.0 * drift._STUDENT, student.ppf(1.0 - outside, drift._WAVES), rtol=1e-9)


class Bond(Calculator):
    """Two atoms on a Morse curve; `leak` adds a force along the velocities, which no energy has."""

    implemented_properties = ("energy", "forces")

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        self.leak = leak

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        arm = atoms.positions[1] - atoms.positions[0]
        distance = float(np.linalg.norm(arm))
        decay = np.exp(-2.0 * (distance - 1.0))
        pull = 4.0 * 2.0 * 2.0 * (1.0 - decay) * decay / 2.0 * arm / distance
        push = self.leak * atoms.get_velocities()
        self.results = {"energy": 4.0 * (1.0 - decay) ** 2, "forces": np.array([pull, -pull]) * 2.0 + push}


def stretched() -> Atoms:
    atoms = Atoms("H2", positions=[[0.0, 0.0, 0.0], [1.15, 0.1, 0.0]])
    atoms.set_momenta([[0.05, 0.1, 0.02], [-0.05, -0.1, -0.02]])
    return atoms


def test_the_shadow_energy_is_kept_to_fourth_order() -> None:
    spreads = []
    for timestep in (0.4, 0.2):
        steps = round(80 / timestep)
        result = run_md(stretched(), Bond(), timestep_fs=timestep, steps=steps, log_every=1)
        assert len(result.shadow) == len(result.time) - 2
        spreads.append((np.std(result.total), np.std(result.shadow)))
    total, shadow = np.array(spreads).T
    assert total[0] / total[1] == pytest.approx(4.0, rel=0.1)
    assert shadow[0] / shadow[1] == pytest.approx(16.0, rel=0.15)
    assert shadow[1] < 0.02 * total[1]


@pytest.mark.parametrize("every", [1, 7, 10])
def test_shadow_energies_stand_at_the_frames_between(every: int) -> None:
    full = run_md(stretched(), Bond(), timestep_fs=0.4, steps=60, log_every=1)
    some = run_md(stretched(), Bond(), timestep_fs=0.4, steps=60, log_every=every)
    places = np.searchsorted(full.time[1:-1], some.time[1:-1] - 1e-9)
    np.testing.assert_array_equal(some.shadow, full.shadow[places])


def test_forces_without_an_energy_are_seen_in_the_shadow() -> None:
    """A leak of a fifth of a percent of the energy in the run, which the fluctuation of the total hides."""
    sound, leaking = (
        run_md(stretched(), Bond(leak), timestep_fs=0.5, steps=1000, log_every=5) for leak in (0.0, -1e-5)
    )
    lost = sound.total[-1] - leaking.total[-1]
    assert abs(sound.shadow_drift.slope) < 3 * sound.shadow_drift.standard_error
    assert leaking.shadow_drift.slope < -3 * leaking.shadow_drift.standard_error
    assert abs(leaking.drift.slope) < 3 * leaking.drift.standard_error, lost
