"""Constant pressure: an ideal gas in an elastic box, whose volume is known, and where it is refused."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.io import write
from equic.runtime.artifact import save_artifact
from equic.runtime.build import build_module
from equic.runtime.calculators import EquicCalculator
from equic.runtime.dynamics import DynamicsError, ensembles, run_md
from equic.runtime.testing.plans import mace_plan
from typer.testing import CliRunner

from equic.cli import app

STIFFNESS, VOLUME = 2e-4, 1000.0  # eV/Å^6, Å^3


class Box(Calculator):
    """E = a (V − V0)²/2, whatever the atoms do: stress a (V − V0), no forces."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        change = atoms.cell.volume - VOLUME
        stress = STIFFNESS * change * np.array([1.0, 1, 1, 0, 0, 0])
        energy = 0.5 * STIFFNESS * change**2
        self.results = {"energy": energy, "free_energy": energy, "stress": stress}
        self.results["forces"] = np.zeros((len(atoms), 3))


def gas() -> Atoms:
    rng = np.random.default_rng(0)
    return Atoms("Ar40", positions=rng.uniform(0, 10, (40, 3)), cell=[8.0, 10.0, 12.5], pbc=True)


def settled_volume(kelvin: float, bar: float) -> float:
    """Where N k T / V − a (V − V0) = P."""
    pressure, heat = bar * units.bar, 40 * units.kB * kelvin
    roots = np.roots([STIFFNESS, pressure - STIFFNESS * VOLUME, -heat])
    return float(roots.real.max())


@pytest.mark.parametrize(("ensemble", "bar"), [("npt", 1.0), ("npt", 30_000.0), ("npt-flexible", 30_000.0)])
def test_the_volume_is_that_of_the_equation_of_state(
    monkeypatch: pytest.MonkeyPatch, ensemble: str, bar: float
) -> None:
    monkeypatch.setattr(
        ensembles, "_THERMOSTAT", 20
    )  # a gas that does not collide settles as fast as its bath
    monkeypatch.setattr(ensembles, "_BAROSTAT", 100)
    kelvin = 600.0
    settings = {"temperature": kelvin, "pressure_bar": bar, "timestep_fs": 2.0, "steps": 800, "log_every": 5}
    result = run_md(gas(), Box(), ensemble=ensemble, **settings)
    half = len(result.time) // 2
    assert result.volume[half:].mean() == pytest.approx(settled_volume(kelvin, bar), rel=0.01)
    assert result.temperature[half:].mean() == pytest.approx(kelvin, rel=0.1)
    assert np.ptp(result.conserved) < 0.02 * np.ptp(result.total)
    shape = result.atoms.cell.lengths() / result.atoms.cell.volume ** (1 / 3)
    start = np.array([8.0, 10.0, 12.5]) / 10.0
    kept = np.allclose(shape, start, rtol=1e-9)
    assert kept == (ensemble == "npt")
    assert result.shadow is None


def test_the_conserved_energy_errs_by_the_square_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    spreads = []
    for timestep in (2.0, 1.0):
        # the same times of response, not the same numbers of steps
        monkeypatch.setattr(ensembles, "_THERMOSTAT", round(200 / timestep))
        monkeypatch.setattr(ensembles, "_BAROSTAT", round(2000 / timestep))
        settings = {"temperature": 600.0, "pressure_bar": 1e4, "timestep_fs": timestep, "log_every": 1}
        result = run_md(gas(), Box(), ensemble="npt", steps=round(400 / timestep), **settings)
        spreads.append(float(np.std(result.conserved)))
    assert spreads[0] / spreads[1] == pytest.approx(4.0, rel=0.1)


def test_where_there_is_no_pressure_to_hold() -> None:
    settings = {"ensemble": "npt", "temperature": 300.0, "steps": 10}
    with pytest.raises(DynamicsError, match="do not repeat in all three directions"):
        run_md(molecule("H2O"), Box(), **settings)
    slab = bulk("Cu", cubic=True)
    slab.pbc = [True, True, False]
    with pytest.raises(DynamicsError, match="do not repeat"):
        run_md(slab, Box(), **settings)
    held = gas()
    held.set_constraint(FixAtoms([0]))
    with pytest.raises(DynamicsError, match="does not know constraints"):
        run_md(held, Box(), **settings)
    without = build_module(mace_plan(channels=2, lmax=1, layers=1, species=("Ar",), stress=False))
    with pytest.raises(DynamicsError, match=r"needs the stress[^$]*declare a target"):
        run_md(gas(), EquicCalculator(without, device="cpu"), **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("md")
    plan = mace_plan(channels=2, lmax=1, correlation=1, layers=1, widths=(4,), species=("Cu",), cutoff=3.4)
    model = build_module(plan, seed=0, dtype=torch.float64)
    model.set_statistics({"average_neighbors": 12.0, "scale": 0.1})
    save_artifact(place / "m.equic", model, spec_text="equic: 1\n")
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.03, seed=1)
    write(place / "start.xyz", crystal, format="extxyz")
    return place


@pytest.mark.parametrize("ensemble", ["nve", "nvt-langevin", "npt"])
def test_the_command_writes_energies_and_a_picture(folder: Path, ensemble: str) -> None:
    out = folder / f"{ensemble}.extxyz"
    options = ["--ensemble", ensemble, "--steps", "40", "--every", "2", "-o", str(out)]
    done = CliRunner().invoke(app, ["md", str(folder / "m.equic"), str(folder / "start.xyz"), *options])
    assert done.exit_code == 0, done.output
    assert f"of {ensemble}" in done.output
    assert ("Å^3 after" in done.output) == (ensemble == "npt")
    assert ("shadow energy drifts" in done.output) == (ensemble == "nve")
    assert ("drifts" in done.output) == (ensemble != "nvt-langevin")
    record = json.loads(out.with_suffix(".md.json").read_text(encoding="utf-8"))
    assert len(record["time"]) == 21
    words = out.with_suffix(".md.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(words)
    assert ("shadow" in words) == (ensemble == "nve")


def test_the_command_prints_json_and_refuses_with_a_reason(folder: Path) -> None:
    arguments = ["md", str(folder / "m.equic"), str(folder / "start.xyz"), "--steps", "20", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert json.loads(done.stdout)["steps"] == 20
    write(folder / "cluster.xyz", Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.4]]), format="extxyz")
    refused = CliRunner().invoke(
        app, ["md", str(folder / "m.equic"), str(folder / "cluster.xyz"), "--ensemble", "npt"]
    )
    assert isinstance(refused.exception, DynamicsError)
    assert "do not repeat" in str(refused.exception)
