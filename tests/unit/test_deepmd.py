"""DeePMD's folders, virials, and splits that keep groups together."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from equic.runtime.data import load_sets, read_frames
from equic.runtime.data.split import split_rows, written_down
from equic.runtime.data.structures import structures_of
from equic.runtime.errors import DataError
from equic.runtime.testing.data import displaced_molecules, with_data
from equic.runtime.testing.plans import mace_plan
from hypothesis import given, settings
from hypothesis import strategies as st

LABELS = {
    "energy": {"key": "energy", "factor": 1.0},
    "forces": {"key": "force", "factor": 1.0},
    "stress": {"key": "virial", "factor": 1.0, "virial": True},
}


def strained(count: int, seed: int = 0) -> list[Atoms]:
    """Argon crystals, strained and rattled, with Lennard-Jones energies, forces and stresses."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(0, 0.03, (3, 3))), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
        made.append(atoms)
    return made


def write_system(folder: Path, frames: list[Atoms], sets: int = 2) -> None:
    """Frames of one composition as a DeePMD system, whose virial is −V times ASE's stress."""
    folder.mkdir(parents=True)
    symbols = sorted(set(frames[0].get_chemical_symbols()))
    types = [symbols.index(symbol) for symbol in frames[0].get_chemical_symbols()]
    (folder / "type_map.raw").write_text("\n".join(symbols) + "\n")
    (folder / "type.raw").write_text("\n".join(map(str, types)) + "\n")
    for k, part in enumerate(np.array_split(np.arange(len(frames)), sets)):
        place = folder / f"set.{k:03d}"
        place.mkdir()
        chosen = [frames[i] for i in part]
        np.save(place / "coord.npy", [atoms.positions.ravel() for atoms in chosen])
        np.save(place / "energy.npy", [atoms.get_potential_energy() for atoms in chosen])
        np.save(place / "force.npy", [atoms.get_forces().ravel() for atoms in chosen])
        if chosen[0].pbc.all():
            np.save(place / "box.npy", [np.asarray(atoms.cell).ravel() for atoms in chosen])
            virials = [-atoms.get_volume() * atoms.get_stress(voigt=False).ravel() for atoms in chosen]
            np.save(place / "virial.npy", virials)
    if not frames[0].pbc.any():
        (folder / "nopbc").touch()


def test_frames_and_labels_of_a_system(tmp_path: Path) -> None:
    frames = strained(5)
    write_system(tmp_path / "data" / "b", frames)
    plan = mace_plan(species=("Ar",), cutoff=4.5)
    found = read_frames(plan, {"path": tmp_path / "data", "labels": LABELS})
    assert len(found) == 5
    for frame, atoms in zip(found, frames, strict=True):
        np.testing.assert_allclose(frame.positions, atoms.positions)
        np.testing.assert_allclose(frame.cell, np.asarray(atoms.cell))
        np.testing.assert_allclose(frame.labels["forces"], atoms.get_forces())
        np.testing.assert_allclose(frame.labels["stress"], atoms.get_stress(voigt=False), atol=1e-12)
    assert found[3].source == "data:frame 3"


def test_a_virial_is_minus_the_volume_times_the_stress_by_strain(tmp_path: Path) -> None:
    """The label against dE/dε / V by finite differences, so that no convention is taken on trust."""
    (atoms,) = strained(1, seed=3)
    write_system(tmp_path / "a", [atoms], sets=1)
    plan = mace_plan(species=("Ar",), cutoff=4.5)
    (frame,) = read_frames(plan, {"path": tmp_path / "a", "labels": LABELS})
    h = 1e-4
    for i, j in ((0, 0), (0, 1), (2, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * h / 2
            strain[j, i] += sign * h / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
            moved.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
            energies.append(moved.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * h) / atoms.get_volume()
        assert frame.labels["stress"][i, j] == pytest.approx(slope, abs=1e-7)


def test_molecules_have_no_virial(tmp_path: Path) -> None:
    molecules = displaced_molecules(3, names=("CH4",))
    write_system(tmp_path / "m", molecules)
    plan = mace_plan(species=("H", "C"), cutoff=3.0)
    labels = {name: LABELS[name] for name in ("energy", "forces")}
    found = read_frames(plan, {"path": tmp_path / "m", "labels": labels})
    assert not found[0].pbc.any()
    np.testing.assert_allclose(found[1].labels["forces"], molecules[1].get_forces())
    labels["stress"] = {"key": "energy", "factor": 1.0, "virial": True}
    with pytest.raises(DataError):
        read_frames(plan, {"path": tmp_path / "m", "labels": labels})


def test_damage_is_named(tmp_path: Path) -> None:
    write_system(tmp_path / "a", strained(2))
    place = tmp_path / "a" / "set.000"
    np.save(place / "energy.npy", np.zeros(7))
    with pytest.raises(DataError, match=r"energy\.npy has 7 rows, coord\.npy 1"):
        structures_of(tmp_path / "a")
    (place / "energy.npy").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"energy\.npy cannot be read"):
        structures_of(tmp_path / "a")
    (tmp_path / "a" / "type.raw").write_text("0 1 0 0")
    with pytest.raises(DataError, match="must hold numbers from 0 to 0"):
        structures_of(tmp_path / "a")
    with pytest.raises(DataError, match="is a folder without data"):
        structures_of(place)


@pytest.mark.skipif("EQUIC_DATA" not in os.environ, reason="set EQUIC_DATA to a folder with deepmd/")
def test_systems_of_deepmd_itself() -> None:
    folder = Path(os.environ["EQUIC_DATA"]) / "deepmd"
    plan = mace_plan(species=("O", "H"), cutoff=3.0, stress=False)
    labels = {name: LABELS[name] for name in ("energy", "forces")}
    found = read_frames(plan, {"path": folder / "water" / "data" / "data_0", "labels": labels})
    assert {len(frame) for frame in found} == {192}
    assert all(frame.pbc.all() for frame in found)
    # forces of a periodic calculation add up to nothing but what rounding leaves
    assert np.abs(found[0].labels["forces"].sum(0)).max() < 0.05
    assert structures_of(folder / "water_tensor" / "polar", most=1)[0].arrays[
        "atomic_polarizability"
    ].shape == (
        192,
        9,
    )


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.sampled_from("abcdefgh"), min_size=12, max_size=80),
    fraction=st.floats(0.05, 0.4),
    seed=st.integers(0, 5),
)
def test_no_group_is_torn_apart(groups: list[str], fraction: float, seed: int) -> None:
    parts = {"validation": {"fraction": fraction}, "test": {"count": 3}}
    if len(set(groups)) < 3:
        with pytest.raises(DataError, match="too few for 3 sets"):
            split_rows(len(groups), parts, seed, groups)
        return
    kept, drawn = split_rows(len(groups), parts, seed, groups)
    sets = [kept, *drawn.values()]
    assert sorted(np.concatenate(sets)) == list(range(len(groups)))
    assert all(len(rows) for rows in sets)
    names = [{groups[row] for row in rows} for rows in sets]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    again = split_rows(len(groups), parts, seed, groups)
    np.testing.assert_array_equal(again[0], kept)


def test_frames_are_split_by_a_key_of_the_file(plan, saved) -> None:
    frames = displaced_molecules(20)
    for k, atoms in enumerate(frames):
        atoms.info["molecule"] = f"m{k // 4}"
    labels = {"energy": {"key": "energy", "factor": 1.0}}
    sets = {
        "train": {"path": saved("a.xyz", frames), "labels": labels},
        "validation": {"fraction": 0.2, "group": "molecule"},
    }
    loaded = load_sets(with_data(plan, sets))
    assert len(loaded["validation"]) == 4
    assert len({frame.group for frame in loaded["validation"]}) == 1
    sets["validation"]["group"] = "molecul"
    with pytest.raises(DataError, match=r"(?s)a\.xyz:frame 0 has no `molecul`.*did you mean `molecule`"):
        load_sets(with_data(plan, sets))


def test_a_split_is_written_down_in_ranges() -> None:
    sources = {"train": [f"a.xyz:frame {k}" for k in (5, 0, 1, 2, 9)], "test": ["b.xyz:frame 3"]}
    assert written_down(sources) == {"train": {"a.xyz": "0-2, 5, 9"}, "test": {"b.xyz": "3"}}
