"""One trajectory: steps, records, and an end that says what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from equic.runtime.errors import EquicError
from numpy.typing import NDArray

from .drift import Drift, fit_drift
from .ensembles import (
    MAX_TEMPERATURE_K,
    Ensemble,
    check_arguments,
    check_cell,
    degrees_of_freedom,
    make_integrator,
    thermalize,
)
from .errors import DynamicsError
from .shadow import ShadowEnergy
from .writing import frame_writer, step_meter

if TYPE_CHECKING:
    from ase import Atoms
    from rich.console import Console

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MDResult:
    """What a run measured, at every `log_every`-th step, the first and the last included.

    time [frames] ps; potential, kinetic, total [frames] eV; temperature [frames] K; volume [frames] Å^3 where the
    cell changes, else None. `conserved` [frames] eV is what the exact dynamics keeps: the total energy (`nve`), with
    that of bath, cell and pressure (`npt`), None for Langevin's; `drift` is its slope per atom, None below 16 frames.
    `shadow` [frames - 2] eV (`nve` without constraints) is the shadow energy at all frames but the first and the last,
    `shadow_drift` its slope per atom. `atoms` is the last frame, momenta included.
    """

    time: Array
    potential: Array
    kinetic: Array
    total: Array
    temperature: Array
    volume: Array | None
    conserved: Array | None
    shadow: Array | None
    ensemble: Ensemble
    timestep_fs: float
    steps: int
    atoms: Atoms

    @property
    def drift(self) -> Drift | None:
        """Slope of the conserved energy per atom."""
        return None if self.conserved is None else fit_drift(self.time, self.conserved / len(self.atoms))

    @property
    def shadow_drift(self) -> Drift | None:
        """Slope of the shadow energy per atom: what integration and forces add or lose."""
        return None if self.shadow is None else fit_drift(self.time[1:-1], self.shadow / len(self.atoms))

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the atoms: what a report needs."""
        slopes = {"drift": self.drift, "shadow_drift": self.shadow_drift}
        series = ("time", "potential", "kinetic", "total", "temperature", "volume", "conserved", "shadow")
        return {
            "ensemble": self.ensemble,
            "timestep_fs": self.timestep_fs,
            "steps": self.steps,
            "atoms": len(self.atoms),
            **{
                name: None
                if found is None
                else {"slope": found.slope, "standard_error": found.standard_error}
                for name, found in slopes.items()
            },
            **{name: values.tolist() for name in series if (values := getattr(self, name)) is not None},
        }


def run_md(
    atoms: Atoms,
    calculator: Any,
    *,
    ensemble: Ensemble = "nve",
    temperature: float | None = None,
    pressure_bar: float = 0.0,
    timestep_fs: float = 0.5,
    steps: int = 1000,
    friction: float = 0.01,
    trajectory: str | Path | None = None,
    log_every: int = 10,
    seed: int = 0,
    progress: bool = False,
    console: Console | None = None,
) -> MDResult:
    """Integrate a copy of `atoms` with one of ASE's integrators.

        nve           velocity Verlet
        nvt-langevin  Langevin's equation
        npt           Martyna, Tobias and Klein with Nosé-Hoover chains: the cell keeps its shape
        npt-flexible  the same, and the shape changes too

    With a `temperature` (K) momenta are drawn from the Boltzmann distribution with `seed`, and for `nve` the
    motion of the centre of mass is then removed; without one, `nve` starts from the momenta that the atoms
    have. `friction` (1/fs) couples the Langevin bath, which also moves the centre of mass; `pressure_bar` is held by
    `npt`, whose bath and cell respond within 100 and 1000 steps.

    `trajectory` writes the logged frames as they come: `.xyz` or `.extxyz` as text with energies, forces and
    momenta, `.traj` in ASE's format. An interrupted or failed run leaves what it had written. `progress` shows a bar
    on `console` (standard error) where that is a terminal.

    Example:
        >>> from ase.build import bulk
        >>> from ase.calculators.emt import EMT
        >>> result = run_md(bulk("Cu", cubic=True), EMT(), temperature=300, steps=200, timestep_fs=2.0)
        >>> abs(result.shadow_drift.slope) < 1e-4
        True

    Raises:
        DynamicsError: wrong arguments; constant pressure without a cell or a stress; or energies, forces or positions
            that are not finite, or a temperature above 1e5 K (the message names the step).
    """
    check_arguments(ensemble, temperature, pressure_bar, timestep_fs, steps, friction, log_every)
    if len(atoms) == 0:
        raise DynamicsError("there are no atoms to move")
    from ase import units

    system = atoms.copy()
    system.calc = calculator
    check_cell(system, ensemble)
    generator = np.random.default_rng(seed)
    thermalize(system, ensemble, temperature, generator)
    free = degrees_of_freedom(system, ensemble)
    integrator = make_integrator(
        system, ensemble, temperature, pressure_bar, timestep_fs, friction, generator
    )
    system.get_forces()  # what is wrong with the structure itself is said as it is, before any step
    shadow = ShadowEnergy(timestep_fs) if ensemble == "nve" and not system.constraints else None
    flexible = ensemble.startswith("npt")
    rows: list[tuple[float, ...]] = []
    shadows: list[float] = []
    with frame_writer(trajectory) as write, step_meter(progress, steps, console) as advance:
        for _ in _steps(integrator, steps, timestep_fs):
            step = integrator.nsteps
            # no property may be stale here: energies come from the calculation that made the forces
            potential, kinetic = float(system.get_potential_energy()), float(system.get_kinetic_energy())
            kelvin = 2.0 * kinetic / (free * units.kB)
            _check_step(system, step, timestep_fs, potential, kelvin)
            before = None if shadow is None else shadow.add(system, potential + kinetic)
            if before is not None and (step - 1) % log_every == 0:
                shadows.append(before)
            if step % log_every == 0 or step == steps:
                conserved = integrator.get_conserved_energy() if flexible else potential + kinetic
                rows.append(
                    (step * timestep_fs * 1e-3, potential, kinetic, kelvin, system.cell.volume, conserved)
                )
                write(system)
            advance(step, kelvin)
    time, potential_, kinetic_, kelvin_, volume, conserved_ = np.array(rows, dtype=np.float64).T
    return MDResult(
        time=time,
        potential=potential_,
        kinetic=kinetic_,
        total=potential_ + kinetic_,
        temperature=kelvin_,
        volume=volume if flexible else None,
        conserved=None if ensemble == "nvt-langevin" else conserved_,
        shadow=None if shadow is None else np.array(shadows, dtype=np.float64),
        ensemble=ensemble,
        timestep_fs=timestep_fs,
        steps=steps,
        atoms=system,
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
