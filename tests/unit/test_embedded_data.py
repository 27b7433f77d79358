"""The data in examples/data: made again by its scripts, and checked against physics.

Labels are compared with finite differences of the method's own energies, trajectories with conservation
laws.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from equic.runtime.data import compute_statistics, load_sets
from equic.runtime.testing.data import with_data
from equic.runtime.testing.plans import hnn_plan, mace_plan, pairwise_plan

DATA = Path(__file__).parents[2] / "examples" / "data"
XYZ = ("ethanol.xyz", "ethanol_field.xyz", "isolated_atoms.xyz", "periodic.xyz")
PARTICLES = ("charged_particles.npz", "charged_particles_test.npz")
NPZ = ("pendulum.npz", "pendulum_test.npz", "two_body.npz", "two_body_test.npz")
SCRIPTS = {
    "make_ethanol.py": XYZ[:3],
    "make_copper.py": XYZ[3:],
    "make_pendulum.py": NPZ[:2],
    "make_two_body.py": NPZ[2:],
    "make_nbody.py": PARTICLES,
}


@pytest.fixture(scope="module")
def ethanol_script():
    """The script as a module, for its method."""
    pytest.importorskip("tblite", reason="needs the extra `data`")
    sys.path.insert(0, str(DATA))
    try:
        spec = importlib.util.spec_from_file_location("make_ethanol", DATA / "make_ethanol.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(DATA))
    return module


def test_sizes_and_counts():
    sizes = {path.name: path.stat().st_size for path in DATA.iterdir() if path.suffix in (".xyz", ".npz")}
    assert sorted(sizes) == sorted(XYZ + NPZ + PARTICLES)
    assert max(sizes.values()) < 1e6
    assert sum(sizes.values()) < 2e6
    assert [len(read(DATA / name, ":")) for name in XYZ] == [400, 300, 3, 122]
    readme = (DATA / "README.md").read_text()
    assert all(
        f"`{name}`" in readme and script in readme for script, names in SCRIPTS.items() for name in names
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_make_the_same_again(script, tmp_path):
    if script == "make_ethanol.py":
        pytest.importorskip("tblite", reason="needs the extra `data`")
    frames = 3
    command = [sys.executable, "-W", "error", DATA / script, "--frames", str(frames), "--out", tmp_path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(SCRIPTS[script])
    for name in SCRIPTS[script]:
        if name.endswith(".npz"):
            with np.load(tmp_path / name) as new, np.load(DATA / name) as old:
                assert new.files == old.files
                for key in new.files:
                    count = len(new[key]) if "trajectory" not in new else len(np.unique(new["trajectory"]))
                    assert count == frames
                    np.testing.assert_allclose(new[key], old[key][: len(new[key])], rtol=0, atol=2e-9)
            continue
        new = read(tmp_path / name, ":")
        assert len(new) == {"isolated_atoms.xyz": 3, "periodic.xyz": 2 + frames}.get(name, frames)
        for a, b in zip(new, read(DATA / name, ":"), strict=False):
            np.testing.assert_array_equal(a.positions, b.positions)
            np.testing.assert_array_equal(a.cell.array, b.cell.array)
            assert a.info.keys() == b.info.keys()
            assert a.calc.results.keys() == b.calc.results.keys()
            for key, value in a.calc.results.items():
                # what self-consistency leaves open, beside the last digit written
                np.testing.assert_allclose(value, b.calc.results[key], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", PARTICLES)
def test_charged_particles_move_by_the_derivatives_of_their_energy(name):
    with np.load(DATA / name) as arrays:
        data = {key: arrays[key].astype(np.float64) for key in arrays.files}
    q, h = data["charge"], 1e-3
    assert set(np.unique(q)) == {-1.0, 1.0}

    def energy(x):
        i, j = np.triu_indices(5, 1)
        return (q[:, i] * q[:, j] / np.sqrt(((x[:, i] - x[:, j]) ** 2).sum(-1) + 0.09)).sum(-1)

    np.testing.assert_allclose(energy(data["positions"]), data["energy"], atol=2e-6)
    direction = np.random.default_rng(0).normal(size=data["positions"].shape)
    slope = (energy(data["positions"] + h * direction) - energy(data["positions"] - h * direction)) / (2 * h)
    np.testing.assert_allclose(-slope, (data["forces"] * direction).sum((1, 2)), rtol=1e-3, atol=1e-3)
    # the centre of mass stays, and accelerations act over half the time squared
    assert (
        np.abs(data["displacement"].mean(axis=1)).max() < 2e-6 + np.abs(data["velocity"].mean(axis=1)).max()
    )
    linear = np.sqrt(np.mean((data["displacement"] - data["velocity"]) ** 2))
    curved = np.sqrt(np.mean((data["displacement"] - data["velocity"] - data["forces"] / 2) ** 2))
    assert curved < linear < np.sqrt(np.mean(data["displacement"] ** 2))


@pytest.mark.parametrize("name", ["ethanol.xyz", "ethanol_field.xyz"])
def test_ethanol_forces_are_the_derivatives_of_its_energy(ethanol_script, name):
    frames = read(DATA / name, ":")
    step = 2e-3  # Å
    for atoms in (frames[0], frames[137], frames[-1]):
        field = atoms.info.get("electric_field")
        assert (field is not None) == ("field" in name)
        rng = np.random.default_rng(0)
        for _ in range(2):
            direction = rng.normal(size=(9, 3))
            direction /= np.linalg.norm(direction)
            energies = [
                ethanol_script.gfn2(atoms.numbers, atoms.positions + h * direction, field)[0]
                for h in (-2 * step, -step, step, 2 * step)
            ]
            slope = np.dot([1, -8, 8, -1], energies) / (12 * step)
            assert -slope == pytest.approx((atoms.get_forces() * direction).sum(), abs=3e-6)
        assert abs(atoms.get_forces().sum(axis=0)).max() < 1e-5


def test_ethanol_dipoles_are_the_derivatives_of_its_energy_by_the_field(ethanol_script):
    step = 1e-2  # V/Å
    for name in ("ethanol.xyz", "ethanol_field.xyz"):
        atoms = read(DATA / name, "29")
        field = np.array(atoms.info.get("electric_field", np.zeros(3)))
        for k in range(3):
            shifts = step * np.array([-2, -1, 1, 2])[:, None] * np.eye(3)[k]
            energies = [ethanol_script.gfn2(atoms.numbers, atoms.positions, field + s)[0] for s in shifts]
            slope = np.dot([1, -8, 8, -1], energies) / (12 * step)
            assert -slope == pytest.approx(atoms.get_dipole_moment()[k], abs=3e-5)


def test_the_field_breaks_rotations_but_those_about_itself(ethanol_script):
    frames = read(DATA / "ethanol_field.xyz", ":")
    fields = np.array([atoms.info["electric_field"] for atoms in frames])
    np.testing.assert_allclose(fields, np.broadcast_to([1 / 3, 2 / 3, 2 / 3], fields.shape), atol=1e-9)
    changes = [
        atoms.get_forces() - ethanol_script.gfn2(atoms.numbers, atoms.positions)[1] for atoms in frames[::30]
    ]
    assert np.sqrt(np.mean(np.square(changes))) > 0.1  # eV/Å
    # turned about the field, forces turn along; turned otherwise, they do not
    atoms = frames[0]
    axis = fields[0] / np.linalg.norm(fields[0])
    for direction, same in ((axis, True), (np.array([0.0, 0.0, 1.0]), False)):
        turned = atoms.copy()
        turned.rotate(70, direction)
        rotation = np.linalg.lstsq(atoms.positions, turned.positions, rcond=None)[0]
        forces = ethanol_script.gfn2(atoms.numbers, turned.positions, fields[0])[1]
        error = np.sqrt(np.mean((forces - atoms.get_forces() @ rotation) ** 2))
        assert error < 1e-5 if same else error > 0.03
    # every orientation occurs: the mean of a body-fixed unit vector is small
    bonds = np.array([atoms.positions[1] - atoms.positions[0] for atoms in frames])
    bonds /= np.linalg.norm(bonds, axis=1)[:, None]
    assert np.linalg.norm(bonds.mean(axis=0)) < 3 / np.sqrt(len(frames))


def test_ethanol_is_sampled_at_500_kelvin_and_decorrelated():
    """Configurations 20 fs apart differ, and the energy above the minimum is what thermal motion gives.

    21 harmonic vibrations at 500 K would hold kT/2 each, 0.45 ± 0.14 eV. Longer runs, with half the time
    step too, give 0.41 eV for the true, anharmonic molecule (its torsions are nearly free).
    """
    frames = read(DATA / "ethanol.xyz", ":")
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    minimum = -309.9885  # of GFN2-xTB, relaxed to 1 meV/Å
    assert 0.37 < energies.mean() - minimum < 0.45
    assert 0.11 < energies.std() < 0.17
    lag = [np.corrcoef(energies[:-k], energies[k:])[0, 1] for k in (1, 5, 10)]
    assert lag[0] < 0.5
    assert abs(lag[2]) < 0.2
    lengths = np.array([np.linalg.norm(atoms.positions[0] - atoms.positions[1]) for atoms in frames])
    assert 0.02 < lengths.std() < 0.12


def test_isolated_atoms_bind(ethanol_script):
    """They are of the molecule's method: it takes about 45 eV to take ethanol apart (experiment: 34 eV)."""
    energies = {
        atoms.symbols[0]: atoms.get_potential_energy() for atoms in read(DATA / "isolated_atoms.xyz", ":")
    }
    assert list(energies) == ["H", "C", "O"]
    molecule = np.mean([atoms.get_potential_energy() for atoms in read(DATA / "ethanol.xyz", ":")])
    binding = 6 * energies["H"] + 2 * energies["C"] + energies["O"] - molecule
    assert 40 < binding < 50
    for atoms in read(DATA / "isolated_atoms.xyz", ":"):
        assert atoms.info["config_type"] == "IsolatedAtom"
        assert not atoms.get_forces().any()


def test_periodic_forces_and_stress_are_derivatives_of_the_energy():
    from ase.calculators.emt import EMT

    frames = read(DATA / "periodic.xyz", ":")[2:]
    assert {len(atoms) for atoms in frames} == {8, 12, 16, 24, 32}
    assert sum("Al" in atoms.symbols for atoms in frames) > 100
    rng = np.random.default_rng(0)
    step = 1e-4
    for atoms in (frames[0], frames[51], frames[119]):
        direction, strain = rng.normal(size=(len(atoms), 3)), rng.normal(size=(3, 3))
        direction, strain = direction / np.linalg.norm(direction), (strain + strain.T) / 2

        def energy(h=0.0, e=0.0, atoms=atoms, direction=direction, strain=strain):
            moved = atoms.copy()
            moved.positions += h * direction
            moved.set_cell(moved.cell.array @ (np.eye(3) + e * strain), scale_atoms=True)
            moved.calc = EMT()
            return moved.get_potential_energy()

        assert energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        slope = -(energy(h=step) - energy(h=-step)) / (2 * step)
        assert slope == pytest.approx((atoms.get_forces() * direction).sum(), abs=2e-6)
        slope = (energy(e=step) - energy(e=-step)) / (2 * step) / atoms.get_volume()
        assert slope == pytest.approx((atoms.get_stress(voigt=False) * strain).sum(), abs=1e-6)


def test_pendulum_and_two_body_obey_hamilton_and_conserve():
    for name in NPZ:
        with np.load(DATA / name) as file:
            z, dz, t, trajectory = (file[key] for key in ("z", "dz", "t", "trajectory"))
        points = 45 if "pendulum" in name else 50
        assert len(z) == len(dz) == len(t) == len(trajectory) == points * (trajectory[-1] + 1)

        if "pendulum" in name:

            def energy(z):
                return 3 * (1 - np.cos(z[:, 0])) + z[:, 1] ** 2
        else:

            def energy(z):
                return (z[:, 4:] ** 2).sum(1) / 2 - 1 / np.linalg.norm(z[:, :2] - z[:, 2:4], axis=1)

        dim, h = z.shape[1], 1e-4
        gradient = np.stack(
            [(energy(z + h * unit) - energy(z - h * unit)) / (2 * h) for unit in np.eye(dim)], axis=1
        )
        flow = np.concatenate([gradient[:, dim // 2 :], -gradient[:, : dim // 2]], axis=1)
        np.testing.assert_allclose(dz, flow, atol=1e-7)

        runs = energy(z).reshape(-1, points)
        assert abs(runs - runs[:, :1]).max() < 1e-8
        assert np.unique(runs[:, 0].round(6)).size == len(runs)  # every trajectory is another one
        if dim == 8:
            q, p = z[:, :4].reshape(-1, 2, 2), z[:, 4:].reshape(-1, 2, 2)
            assert abs(p.sum(axis=1)).max() < 1e-8
            assert abs(q.sum(axis=1)).max() < 1e-6
            angular = (q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]).sum(axis=1).reshape(-1, points)
            assert abs(angular - angular[:, :1]).max() < 1e-7


def test_states_are_on_the_trajectory_of_their_derivatives():
    """From point to point, states move by the integral of the derivatives (Hermite's rule, error h⁵/720 z⁽⁵⁾)."""
    with np.load(DATA / "pendulum.npz") as file:
        z, dz = file["z"].reshape(25, 45, 2), file["dz"].reshape(25, 45, 2)
    h = 3 / 44
    second = np.stack([2 * dz[..., 1], -3 * np.cos(z[..., 0]) * dz[..., 0]], axis=-1)
    moved = h / 2 * (dz[:, 1:] + dz[:, :-1]) - h**2 / 12 * (second[:, 1:] - second[:, :-1])
    np.testing.assert_allclose(z[:, 1:] - z[:, :-1], moved, atol=1e-5)


def test_training_and_test_trajectories_are_different():
    for train, test in (NPZ[:2], NPZ[2:]):
        with np.load(DATA / train) as a, np.load(DATA / test) as b:
            assert not {row.tobytes() for row in a["z"]} & {row.tobytes() for row in b["z"]}


def test_plans_read_all_of_it():
    energy, forces, stress = ({key: {"key": key, "factor": 1.0}} for key in ("energy", "forces", "stress"))
    free = {"path": str(DATA / "isolated_atoms.xyz")}
    for name in ("ethanol.xyz", "ethanol_field.xyz"):
        sets = {
            "train": {"path": str(DATA / name), "labels": energy | forces},
            "validation": {"fraction": 0.1},
        }
        plan = with_data(mace_plan(cutoff=5.0), sets, isolated_atoms=free)
        notes: list[str] = []
        loaded = load_sets(plan, notes=notes)
        assert len(loaded["validation"]) == (40 if name == "ethanol.xyz" else 30)
        assert notes[0].startswith("3 isolated atoms (isolated_atoms.xyz:frame 0")
        statistics = compute_statistics(plan, loaded["train"])
        assert statistics["atomic_energies"][0] == pytest.approx(-10.70721138)
        assert 7.5 < statistics["average_neighbors"] <= 8
        assert 0.9 < statistics["scale"] < 1.1
        assert -5.2 < statistics["shift"] < -4.8  # the binding energy per atom
    sets = {"train": {"path": str(DATA / "periodic.xyz"), "labels": energy | forces | stress}}
    plan = with_data(mace_plan(species=("Cu", "Al"), cutoff=5.0), sets, isolated_atoms="frames")
    train = load_sets(plan)["train"]
    assert len(train) == 120
    assert compute_statistics(plan, train)["atomic_energies"] == [3.51, 3.28]
    for file, plan in (("pendulum", hnn_plan()), ("two_body", pairwise_plan())):
        spec = {"state": "z", "labels": {"derivatives": {"key": "dz", "factor": 1.0}}}
        sets = {
            "train": {**spec, "path": str(DATA / f"{file}.npz")},
            "validation": {"fraction": 0.1},
            "test": {"path": str(DATA / f"{file}_test.npz")},
        }
        assert len(load_sets(with_data(plan, sets))["test"]) in (1125, 1000)
