"""The integrators of ASE by the ensemble that they sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from .errors import DynamicsError

if TYPE_CHECKING:
    from ase import Atoms

Ensemble = Literal["nve", "nvt-langevin", "npt", "npt-flexible"]
ENSEMBLES: tuple[Ensemble, ...] = get_args(Ensemble)

# Hotter than the surface of any star a lattice could sit on: the integration has failed.
MAX_TEMPERATURE_K = 1e5
# Relaxation times of thermostat and barostat, in time steps.
_THERMOSTAT, _BAROSTAT = 100, 1000


def check_arguments(
    ensemble: str,
    temperature: float | None,
    pressure_bar: float,
    timestep_fs: float,
    steps: int,
    friction: float,
    log_every: int,
) -> None:
    """Refuse what no trajectory could be run with.

    Raises:
        DynamicsError: what is wrong.
    """
    if ensemble not in ENSEMBLES:
        raise DynamicsError(f"unknown ensemble `{ensemble}`", help=f"known: {', '.join(ENSEMBLES)}")
    if ensemble != "nve" and temperature is None:
        raise DynamicsError(f"{ensemble} needs a temperature", help="write `temperature=300`")
    if temperature is not None and not 0 <= temperature <= MAX_TEMPERATURE_K:
        raise DynamicsError(
            f"a temperature of {temperature} K is not between 0 and {MAX_TEMPERATURE_K:.0e} K"
        )
    if ensemble.startswith("npt") and temperature == 0:
        raise DynamicsError(f"{ensemble} needs a temperature above zero: its thermostat scales with it")
    if not np.isfinite(pressure_bar):
        raise DynamicsError(f"a pressure of {pressure_bar} bar is not finite")
    if not timestep_fs > 0 or not friction > 0:
        raise DynamicsError("time step and friction must be positive")
    if steps < 1 or log_every < 1:
        raise DynamicsError("steps and log_every must be at least 1")


def check_cell(atoms: Atoms, ensemble: str) -> None:
    """Refuse constant pressure where there is none to hold.

    Raises:
        DynamicsError: the structure does not repeat in three directions, is constrained, or there is no stress.
    """
    if not ensemble.startswith("npt"):
        return
    if not atoms.pbc.all():
        raise DynamicsError(
            f"{ensemble} changes the cell, and these atoms do not repeat in all three directions",
            help="give a periodic structure, or choose nve or nvt-langevin",
        )
    if atoms.constraints:
        raise DynamicsError(
            f"{ensemble} does not know constraints", help="remove them: `del atoms.constraints`"
        )
    if "stress" not in atoms.calc.implemented_properties:
        raise DynamicsError(
            f"{ensemble} needs the stress, which this model does not give",
            help="declare a target `stress: {gradient_of: energy, wrt: strain}` and train with it",
        )


def thermalize(
    system: Atoms, ensemble: str, temperature: float | None, generator: np.random.Generator
) -> None:
    """Draw momenta at a temperature (K); with `nve` the centre of mass is put at rest."""
    from ase import units
    from ase.md.velocitydistribution import Stationary

    if temperature is None:
        return
    # by hand: ASE's own function has changed its name and the unit of its argument
    width = np.sqrt(system.get_masses()[:, None] * units.kB * temperature)
    system.set_momenta(width * generator.standard_normal((len(system), 3)))
    if ensemble == "nve" and len(system) > 1 and not system.constraints:
        Stationary(system, preserve_temperature=False)


def degrees_of_freedom(system: Atoms, ensemble: str) -> int:
    """How many share the kinetic energy."""
    free = int(system.get_number_of_degrees_of_freedom())
    if ensemble == "nve" and len(system) > 1 and not system.constraints:
        momenta = system.get_momenta()
        if np.allclose(momenta.sum(axis=0), 0.0, atol=1e-8 * float(np.abs(momenta).sum() + 1.0)):
            free -= 3  # and it stays at rest: internal forces sum to zero
    return max(free, 1)


def make_integrator(
    system: Atoms,
    ensemble: str,
    temperature: float | None,
    pressure_bar: float,
    timestep_fs: float,
    friction: float,
    generator: np.random.Generator,
) -> Any:
    """ASE's own: velocity Verlet, Langevin, or Martyna, Tobias and Klein with Nosé-Hoover chains.

    Reference: swope1982computer, martyna1994constant

    Raises:
        DynamicsError: this version of ASE has no such integrator.
    """
    from ase import units

    step = timestep_fs * units.fs
    if ensemble == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(system, step)
    if ensemble == "nvt-langevin":
        from ase.md.langevin import Langevin

        return Langevin(
            system,
            step,
            temperature_K=temperature,
            friction=friction / units.fs,
            fixcm=False,  # ASE's own correction gives the wrong temperature, and warns
            rng=generator,
        )
    try:
        from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT
    except ImportError as problem:
        raise DynamicsError(
            f"this version of ASE has no {ensemble}", help="pip install --upgrade ase"
        ) from problem
    kind = IsotropicMTKNPT if ensemble == "npt" else MTKNPT
    return kind(
        system,
        step,
        temperature_K=temperature,
        pressure_au=pressure_bar * units.bar,
        tdamp=_THERMOSTAT * step,
        pdamp=_BAROSTAT * step,
    )
