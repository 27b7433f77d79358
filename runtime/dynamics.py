"""Molecular dynamics on ASE, with the energy drift measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import EquicError

if TYPE_CHECKING:
    from ase import Atoms

Ensemble = Literal["nve", "nvt-langevin"]

# Hotter than the surface of any star a lattice could sit on: the integration has failed.
MAX_TEMPERATURE_K = 1e5


class DynamicsError(EquicError):
    """A trajectory that cannot go on, or one that was asked for wrongly."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A straight line through the total energy per atom against time.

    `slope` and its `standard_error` are in eV/atom/ps. The error accounts for the correlation between
    neighbouring samples (first-order autoregressive residuals).
    """

    slope: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class MDResult:
    """What a run measured, at every `log_every`-th step, the first and the last included.

    time [frames] ps; potential, kinetic, total [frames] eV; temperature [frames] K; `drift` is the slope of
    the total energy per atom, None below 8 frames. `atoms` is the last frame, momenta included.
    """

    time: NDArray[np.float64]
    potential: NDArray[np.float64]
    kinetic: NDArray[np.float64]
    total: NDArray[np.float64]
    temperature: NDArray[np.float64]
    drift: Drift | None
    ensemble: Ensemble
    timestep_fs: float
    steps: int
    atoms: Atoms

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the atoms: what a report needs."""
        return {
            "ensemble": self.ensemble,
            "timestep_fs": self.timestep_fs,
            "steps": self.steps,
            "atoms": len(self.atoms),
            "drift": None
            if self.drift is None
            else {"slope": self.drift.slope, "standard_error": self.drift.standard_error},
            **{
                name: getattr(self, name).tolist()
                for name in ("time", "potential", "kinetic", "total", "temperature")
            },
        }


def run_md(
    atoms: Atoms,
    calculator: Any,
    *,
    ensemble: Ensemble = "nve",
    temperature: float | None = None,
    timestep_fs: float = 0.5,
    steps: int = 1000,
    friction: float = 0.01,
    trajectory: str | Path | None = None,
    log_every: int = 10,
    seed: int = 0,
    progress: bool = False,
) -> MDResult:
    """Integrate a copy of `atoms` with velocity Verlet (`nve`) or Langevin dynamics (`nvt-langevin`).

    With a `temperature` (K) momenta are drawn from the Boltzmann distribution with `seed`, and for `nve` the
    motion of the centre of mass is then removed; without one, `nve` starts from the momenta that the atoms
    have. `friction` (1/fs) couples the Langevin bath, which also moves the centre of mass.

    `trajectory` writes the logged frames as they come: `.xyz` or `.extxyz` as text with energies, forces and
    momenta, `.traj` in ASE's format. An interrupted or failed run leaves what it had written.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> result = run_md(bulk("Cu", cubic=True), EMT(), temperature=300, steps=200, timestep_fs=2.0)
        >>> abs(result.drift.slope) < 0.1
        True

    Raises:
        DynamicsError: wrong arguments; or energies, forces or positions that are not finite, or a temperature
            above 1e5 K (the message names the step).
    """
    _check(ensemble, temperature, timestep_fs, steps, friction, log_every, len(atoms))
    from ase import units

    system = atoms.copy()
    system.calc = calculator
    generator = np.random.default_rng(seed)
    free = _thermalize(system, ensemble, temperature, generator)
    integrator = _integrator(system, ensemble, temperature, timestep_fs, friction, generator)
    system.get_forces()  # what is wrong with the structure itself is said as it is, before any step
    rows: list[tuple[float, float, float, float]] = []
    with _writer(trajectory) as write, _meter(progress, steps) as advance:
        for _ in _steps(integrator, steps, timestep_fs):
            step = integrator.nsteps
            # no property may be stale here: energies come from the calculation that made the forces
            potential, kinetic = float(system.get_potential_energy()), float(system.get_kinetic_energy())
            kelvin = 2.0 * kinetic / (free * units.kB)
            _check_step(system, step, timestep_fs, potential, kelvin)
            if step % log_every == 0 or step == steps:
                rows.append((step * timestep_fs * 1e-3, potential, kinetic, kelvin))
                write(system)
            advance(step)
    time, potential_, kinetic_, kelvin_ = np.array(rows, dtype=np.float64).T
    total = potential_ + kinetic_
    return MDResult(
        time=time,
        potential=potential_,
        kinetic=kinetic_,
        total=total,
        temperature=kelvin_,
        drift=fit_drift(time, total / len(system)),
        ensemble=ensemble,
        timestep_fs=timestep_fs,
        steps=steps,
        atoms=system,
    )


def fit_drift(time: NDArray[np.float64], energy: NDArray[np.float64]) -> Drift | None:
    """Least-squares slope of `energy` [frames] against `time` [frames] with a standard error.

    The plain standard error is multiplied by sqrt((1 + a) / (1 - a)), a the correlation of neighbouring
    residuals where positive: samples of one trajectory are not independent. None below 8 frames.
    """
    if len(time) < 8:
        return None
    centred = time - time.mean()
    spread = float(centred @ centred)
    slope = float(centred @ energy) / spread
    residual = energy - energy.mean() - slope * centred
    variance = float(residual @ residual)
    if variance == 0.0:
        return Drift(slope, 0.0)
    correlation = min(max(float(residual[1:] @ residual[:-1]) / variance, 0.0), 0.999)
    inflation = (1.0 + correlation) / (1.0 - correlation)
    return Drift(slope, float(np.sqrt(variance / (len(time) - 2) / spread * inflation)))


def _check(
    ensemble: str,
    temperature: float | None,
    timestep_fs: float,
    steps: int,
    friction: float,
    log_every: int,
    atoms: int,
) -> None:
    if ensemble not in ("nve", "nvt-langevin"):
        raise DynamicsError(f"unknown ensemble `{ensemble}`", help="known: nve, nvt-langevin")
    if ensemble == "nvt-langevin" and temperature is None:
        raise DynamicsError("nvt-langevin needs a temperature", help="write `temperature=300`")
    if temperature is not None and not 0 <= temperature <= MAX_TEMPERATURE_K:
        raise DynamicsError(
            f"a temperature of {temperature} K is not between 0 and {MAX_TEMPERATURE_K:.0e} K"
        )
    if not timestep_fs > 0 or not friction > 0:
        raise DynamicsError("time step and friction must be positive")
    if steps < 1 or log_every < 1:
        raise DynamicsError("steps and log_every must be at least 1")
    if atoms == 0:
        raise DynamicsError("there are no atoms to move")


def _thermalize(
    system: Atoms, ensemble: str, temperature: float | None, generator: np.random.Generator
) -> int:
    """Draw momenta; return the number of degrees of freedom that share the kinetic energy."""
    from ase import units
    from ase.md.velocitydistribution import Stationary

    if temperature is not None:
        # by hand: ASE's own function has changed its name and the unit of its argument
        width = np.sqrt(system.get_masses()[:, None] * units.kB * temperature)
        system.set_momenta(width * generator.standard_normal((len(system), 3)))
    free = int(system.get_number_of_degrees_of_freedom())
    if ensemble == "nve" and len(system) > 1 and not system.constraints:
        if temperature is not None:
            Stationary(system, preserve_temperature=False)
        momenta = system.get_momenta()
        if np.allclose(momenta.sum(axis=0), 0.0, atol=1e-8 * float(np.abs(momenta).sum() + 1.0)):
            free -= 3  # and it stays at rest: internal forces sum to zero
    return max(free, 1)


def _integrator(
    system: Atoms,
    ensemble: str,
    temperature: float | None,
    timestep_fs: float,
    friction: float,
    generator: np.random.Generator,
) -> Any:
    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    if ensemble == "nve":
        return VelocityVerlet(system, timestep_fs * units.fs)
    return Langevin(
        system,
        timestep_fs * units.fs,
        temperature_K=temperature,
        friction=friction / units.fs,
        fixcm=False,  # ASE's own correction gives the wrong temperature, and warns
        rng=generator,
    )


def _steps(integrator: Any, steps: int, timestep_fs: float) -> Iterator[Any]:
    """The integrator's own steps; a structure that the model refuses on the way names its step."""
    try:
        yield from integrator.irun(steps)
    except EquicError as problem:
        step = integrator.nsteps + 1
        raise DynamicsError(
            f"the dynamics exploded at step {step} ({step * timestep_fs:g} fs): {problem.message}",
            help="take a smaller time step, or train on structures like those of the last frames",
        ) from problem


def _check_step(system: Atoms, step: int, timestep_fs: float, potential: float, kelvin: float) -> None:
    finite = np.isfinite(potential) and np.isfinite(kelvin) and np.isfinite(system.get_forces(md=True)).all()
    if finite and kelvin <= MAX_TEMPERATURE_K:
        return
    what = f"the temperature reached {kelvin:.3g} K" if finite else "energy or forces are not finite"
    raise DynamicsError(
        f"the dynamics exploded at step {step} ({step * timestep_fs:g} fs): {what}",
        help="take a smaller time step, or train on structures like those of the last frames",
    )


@contextmanager
def _writer(path: str | Path | None) -> Iterator[Any]:
    """A function that appends one frame to `path`; closed, flushed, whatever happens."""
    if path is None:
        yield lambda system: None
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".traj":
        from ase.io import Trajectory

        with Trajectory(path, "w") as file:
            yield file.write
    elif path.suffix in (".xyz", ".extxyz"):
        from ase.io.extxyz import write_extxyz

        with open(path, "w", encoding="utf-8") as text:

            def write(system: Atoms) -> None:
                write_extxyz(text, [system])
                text.flush()

            yield write
    else:
        raise DynamicsError(
            f"`{path}` is no known kind of trajectory", help="end it in .extxyz, .xyz or .traj"
        )


@contextmanager
def _meter(progress: bool, steps: int) -> Iterator[Any]:
    if not progress:
        yield lambda step: None
        return
    from rich.progress import MofNCompleteColumn, Progress

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as bar:
        task = bar.add_task("dynamics", total=steps)
        yield lambda step: bar.update(task, completed=step)
