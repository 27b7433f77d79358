"""`equic init`: a first spec from data or a kind, which compiles and reads the data it was written for."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from equic.compiler.pipeline import compile_file
from equic.runtime.data import load_sets
from equic.runtime.data.survey import survey_structures
from equic.runtime.plan import Plan
from typer.testing import CliRunner

from equic.cli import app

DATA = Path(__file__).parents[2] / "examples/data"
FILES = sorted([*DATA.glob("*.xyz"), *DATA.glob("*.npz")])


def init(source, out, *options):
    return CliRunner().invoke(app, ["init", str(source), "-o", str(out), *options])


def written(source, folder: Path):
    """The compiled spec that `init` writes into `folder`, and its text."""
    out = folder / "spec.yaml"
    run = init(source, out)
    assert run.exit_code == 0, run.output + str(run.exception)
    done = compile_file(str(out))
    assert done.ok, [str(one) for one in done.report.diagnostics]
    assert not done.report.diagnostics
    return done, out.read_text(encoding="utf-8")


def frames(count: int, name: str = "H2O", periodic: bool = False, **keys) -> list[Atoms]:
    """Shaken molecules (or crystals) whose `info` and `arrays` hold what `keys` computes from each."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True) if periodic else molecule(name)
        atoms.rattle(0.05, rng=rng)
        for key, make in keys.items():
            value = make(atoms)
            (atoms.arrays if np.shape(value) == (len(atoms), 3) else atoms.info)[key] = value
        found.append(atoms)
    return found


def pull(atoms):
    return np.zeros((len(atoms), 3))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_spec_for_every_file_of_the_examples_passes(path, tmp_path):
    done, text = written(path, tmp_path)
    assert Path(done.plan["data"]["sets"]["train"]["path"]) == path
    assert "GUESS" in text
    assert max(map(len, text.splitlines())) <= 150


@pytest.mark.parametrize("kind", ["atoms", "phase_space"])
def test_templates_of_kinds_pass_and_fill_in(kind, tmp_path):
    done, text = written(kind, tmp_path)
    assert done.spec.system.kind == kind
    assert done.spec.data is None
    filled = re.sub(r"(?m)^# (data:|  )", lambda match: match[1], text)
    filled = filled.replace("  stress:", "  # stress:") if kind == "atoms" else filled
    (tmp_path / "filled.yaml").write_text(filled, encoding="utf-8")
    assert compile_file(str(tmp_path / "filled.yaml")).plan["data"]["sets"]["train"]["labels"]


def test_ethanol_is_recognised(tmp_path):
    done, text = written(DATA / "ethanol.xyz", tmp_path)
    assert done.spec.system.species == ("H", "C", "O")
    assert set(done.spec.targets) == {"energy", "forces"}
    assert done.spec.data.isolated_atoms == "least_squares"
    assert "dipole" in text
    assert "field breaks" not in text


def test_a_crystal_has_stress_and_its_isolated_atoms(tmp_path):
    done, text = written(DATA / "periodic.xyz", tmp_path)
    assert set(done.spec.data.train.labels) == {"energy", "forces", "stress"}
    assert done.spec.data.isolated_atoms == "frames"
    assert "Cu 3.51" in text


def test_a_field_is_warned_of(tmp_path):
    assert "`electric_field` in the data" in written(DATA / "ethanol_field.xyz", tmp_path)[1]


def test_labels_keep_their_real_keys_and_the_data_loads(tmp_path):
    given = frames(
        12,
        REF_energy=lambda atoms: -14.0,
        REF_forces=pull,
        kinetic_energy=lambda atoms: 0.1,
        dipole_=lambda a: 1.0,
    )
    write(tmp_path / "my data.xyz", given)
    done, _ = written(tmp_path / "my data.xyz", tmp_path)
    labels = done.plan["data"]["sets"]["train"]["labels"]
    assert {target: one["key"] for target, one in labels.items()} == {
        "energy": "REF_energy",
        "forces": "REF_forces",
    }
    sets = load_sets(Plan.from_json(done.plan))
    assert sum(map(len, sets.values())) == 12


@pytest.mark.parametrize(("unit", "size"), [("Ha", 1.0), ("eV", 27.2114), ("kcal/mol", 627.509)])
def test_all_electron_energies_give_their_unit_away(unit, size, tmp_path):
    # B3LYP total energy of ethanol, -154.99 Ha
    write(tmp_path / "a.xyz", frames(10, "CH3CH2OH", energy_dft=lambda atoms: -154.99 * size, forces=pull))
    survey = survey_structures(tmp_path / "a.xyz")
    assert survey.labels["energy"].unit == unit
    assert survey.labels["forces"].unit == {"Ha": "Ha/bohr"}.get(unit, f"{unit}/Å")
    done, _ = written(tmp_path / "a.xyz", tmp_path)
    factor = done.plan["data"]["sets"]["train"]["labels"]["energy"]["factor"]
    assert factor == pytest.approx(27.2114 / size, rel=1e-5)


def test_a_label_that_some_frames_lack_is_pointed_out(tmp_path):
    given = frames(10, my_energy=lambda atoms: 1.0, my_forces=pull)
    del given[3].info["my_energy"]
    write(tmp_path / "a.xyz", given)
    assert "MISSING in 1 of 10" in written(tmp_path / "a.xyz", tmp_path)[1]


def test_stress_in_gpa_and_virials_are_told_apart(tmp_path):
    given = frames(
        4,
        periodic=True,
        e_energy=lambda a: 1.0,
        my_stress=lambda a: np.eye(3) * 9.0,
        virials=lambda a: np.eye(3),
    )
    write(tmp_path / "a.xyz", given)
    done, text = written(tmp_path / "a.xyz", tmp_path)
    assert "{key: my_stress, unit: GPa}" in text
    assert "virial: true" not in text
    assert "also in the file: virials" in text
    assert done.spec.data.validation == 1


def test_virials_without_a_stress_are_offered_as_one(tmp_path):
    given = frames(4, periodic=True, energy_=lambda a: 1.0, virials=lambda a: np.eye(3))
    write(tmp_path / "a.xyz", given)
    done, text = written(tmp_path / "a.xyz", tmp_path)
    assert "# stress: {key: virials, unit: eV, virial: true}" in text
    assert "stress" not in done.spec.data.train.labels


@pytest.mark.parametrize("periodic", [True, False])
def test_a_folder_of_deepmd_systems_is_read(periodic, tmp_path):
    given = frames(12, periodic=periodic)
    part = tmp_path / "systems/one/set.000"
    part.mkdir(parents=True)
    symbols = sorted(set(given[0].get_chemical_symbols()))
    types = [str(symbols.index(symbol)) for symbol in given[0].get_chemical_symbols()]
    (part.parent / "type.raw").write_text("\n".join(types), encoding="utf-8")
    (part.parent / "type_map.raw").write_text("\n".join(symbols), encoding="utf-8")
    arrays = {"coord": [a.positions.ravel() for a in given], "energy": [-1.0] * 12}
    arrays |= {"force": [pull(a).ravel() for a in given]}
    if periodic:
        arrays |= {"box": [a.cell.array.ravel() for a in given], "virial": [np.eye(3).ravel()] * 12}
    else:
        (part.parent / "nopbc").touch()
    for name, values in arrays.items():
        np.save(part / f"{name}.npy", np.array(values))
    done, _ = written(tmp_path / "systems", tmp_path)
    labels = done.spec.data.train.labels
    assert {target: one.key for target, one in labels.items()} == {
        "energy": "energy",
        "forces": "force",
        **({"stress": "virial"} if periodic else {}),
    }
    assert [one.virial for target, one in labels.items() if target == "stress"] == [True] * periodic
    sets = load_sets(Plan.from_json(done.plan))
    assert sum(map(len, sets.values())) == 12


def test_the_cutoff_follows_the_distances(tmp_path):
    write(tmp_path / "a.xyz", [Atoms("Ar4", [[0, 0, 0], [3.8, 0, 0], [0, 3.8, 0], [0, 0, 3.8]])])
    survey = survey_structures(tmp_path / "a.xyz")
    assert survey.nearest == pytest.approx(3.8)
    assert survey.cutoff == 8.0
    assert survey.neighbors == pytest.approx(3.0)
    crowded = bulk("C", "diamond", a=3.57, cubic=True) * (2, 2, 2)
    write(tmp_path / "b.xyz", [crowded])
    assert survey_structures(tmp_path / "b.xyz").cutoff < 5.0


def test_structures_without_labels_still_make_a_spec(tmp_path):
    write(tmp_path / "a.xyz", frames(2))
    done, text = written(tmp_path / "a.xyz", tmp_path)
    assert done.spec.data is None
    assert "no energies" in text


def test_isolated_atoms_must_cover_every_species(tmp_path):
    lonely = Atoms("H", info={"config_type": "IsolatedAtom", "e_energy": -13.6})
    write(tmp_path / "a.xyz", [lonely, *frames(10, e_energy=lambda atoms: 1.0)])
    done, text = written(tmp_path / "a.xyz", tmp_path)
    assert done.spec.data.isolated_atoms == "least_squares"
    assert "isolated atoms of O are missing" in text


def test_arrays_are_found_by_name_or_shape(tmp_path):
    states = np.random.default_rng(0).normal(size=(20, 6))
    np.savez(tmp_path / "1.5e3.npz", trajectory_states=states, dzdt=states, t=states[:, 0])
    done, text = written(tmp_path / "1.5e3.npz", tmp_path)
    entry = done.plan["data"]["sets"]["train"]
    assert entry["state"] == "trajectory_states"
    assert entry["labels"]["derivatives"]["key"] == "dzdt"
    assert done.spec.name == "1.5e3"
    assert "{q1: 1, q2: 2}" in text
    np.savez(tmp_path / "b.npz", z=states)
    assert "no time derivatives" in written_again(tmp_path / "b.npz", tmp_path)


def written_again(source, folder):
    assert init(source, folder / "spec.yaml", "--force").exit_code == 0
    assert compile_file(str(folder / "spec.yaml")).ok
    return (folder / "spec.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"R": np.zeros((2, 3, 3)), "E": np.zeros(2), "z": np.array([1, 8, 1])}, "looks like molecules"),
        ({"q": np.zeros((5, 1)), "p": np.zeros((5, 1))}, "join `q` and `p`"),
        ({"a": np.zeros(3)}, "no array of states"),
    ],
)
def test_arrays_that_are_no_states_are_refused_with_help(arrays, message, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    run = init(tmp_path / "a.npz", tmp_path / "spec.yaml")
    assert message in str(run.exception)
    assert not (tmp_path / "spec.yaml").exists()


def test_nothing_is_overwritten_without_force(tmp_path):
    out = tmp_path / "spec.yaml"
    out.write_text("mine", encoding="utf-8")
    assert init("atoms", out).exit_code == 2
    assert out.read_text(encoding="utf-8") == "mine"
    assert init("atoms", out, "--force").exit_code == 0
    assert init("atoms", tmp_path / "none/spec.yaml").exit_code == 2


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "noise.xyz").write_text("3\nnot a structure\nH 0 0\n", encoding="utf-8")
    write(tmp_path / "x.xyz", Atoms("X"))
    assert "cannot be read" in str(init(tmp_path / "noise.xyz", tmp_path / "spec.yaml").exception)
    assert "no chemical element" in str(init(tmp_path / "x.xyz", tmp_path / "spec.yaml").exception)
    run = init("atom", tmp_path / "spec.yaml")
    assert run.exit_code == 2
    assert "kinds are atoms, particles, phase_space" in run.output
