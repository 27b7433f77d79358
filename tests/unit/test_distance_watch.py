"""Where a model extrapolates: the shortest distances of training, and the warnings that come from them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from equic.runtime.artifact import read_manifest, save_artifact
from equic.runtime.build import build_module
from equic.runtime.calculators import EquicCalculator, OutsideRangeWarning
from equic.runtime.data import frame_from_atoms
from equic.runtime.data.distances import closest_distances
from equic.runtime.errors import EquicError
from equic.runtime.testing.plans import mace_plan
from typer.testing import CliRunner

import equic
from equic.cli import app

PLAN = mace_plan(
    channels=2, lmax=1, correlation=1, layers=1, widths=(4,), species=("H", "C", "O"), cutoff=3.0
)
CLOSEST = {"C-H": 1.0, "C-O": 1.3, "H-H": 1.6}


def molecule(ch: float, co: float = 1.4) -> Atoms:
    return Atoms("COH", positions=[[0, 0, 0], [co, 0, 0], [0, ch, 0]])


def calculator(warn: str = "once") -> EquicCalculator:
    return EquicCalculator(build_module(PLAN, seed=0), device="cpu", closest=CLOSEST, warn=warn)


def test_the_shortest_distances_of_a_set_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    structures = [
        Atoms("CCOHHH", positions=rng.uniform(0, 4, (6, 3)), cell=np.diag([4.0, 5.0, 6.0]), pbc=True) for _ in range(4)
    ]  # fmt: skip
    expected: dict[str, float] = {}
    for atoms in structures:
        images = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
        for a in atoms:
            for b in atoms:
                apart = np.linalg.norm(b.position - a.position + images @ atoms.cell.array, axis=1)
                apart = apart[apart > 1e-8]
                name = "-".join(sorted((a.symbol, b.symbol)))
                if apart.min() < 3.0:
                    expected[name] = min(expected.get(name, np.inf), float(apart.min()))
    found = closest_distances(PLAN, [frame_from_atoms(atoms, PLAN, source="") for atoms in structures])
    assert list(found) == sorted(expected)
    assert found == pytest.approx(expected, rel=1e-12)


def test_within_the_range_there_is_no_word() -> None:
    atoms = molecule(1.05)
    del atoms[1]
    atoms.calc = calculator()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_forces()
        atoms.positions[1, 1] = 0.96  # shorter, but within the margin
        atoms.get_forces()


def test_every_pair_is_named_once() -> None:
    atoms = molecule(0.8, co=1.2)
    atoms.calc = calculator()
    with pytest.warns(OutsideRangeWarning) as caught:
        atoms.get_potential_energy()
    texts = sorted(str(one.message) for one in caught)
    assert [text.partition(",")[0] for text in texts] == [
        "C-H are 0.80 Å apart",
        "C-O are 1.20 Å apart",
        "H-O are 1.44 Å apart",
    ]
    assert "were never below 1.00 Å" in texts[0]
    assert "never met within the cutoff" in texts[2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.positions[2, 1] = 0.7
        atoms.get_potential_energy()


def test_always_and_never() -> None:
    loud, quiet = molecule(0.8, co=4.0), molecule(0.8, co=4.0)
    loud.calc, quiet.calc = calculator("always"), calculator("never")
    for height in (0.8, 0.7):
        loud.positions[2, 1] = quiet.positions[2, 1] = height
        with pytest.warns(OutsideRangeWarning, match=f"C-H are {height:.2f}"):
            loud.get_potential_energy()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            quiet.get_potential_energy()
    with pytest.raises(EquicError, match="once, always or never"):
        calculator("sometimes")


def test_the_numbers_are_those_without_it() -> None:
    watched, plain = molecule(1.02), molecule(1.02)
    watched.calc = calculator("never")
    plain.calc = EquicCalculator(build_module(PLAN, seed=0), device="cpu")
    np.testing.assert_array_equal(watched.get_forces(), plain.get_forces())


def test_training_leaves_them_in_the_file(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples/01_ethanol/spec.yaml"
    small = ["model.channels=2", "model.layers=1", "model.radial=[4]", "model.lmax=1", "model.correlation=1"]
    short = ["train.epochs=1", "data.validation=20", "data.test=340"]
    result = equic.train(example, [*small, *short], runs=tmp_path, progress=False, device="cpu")
    found = read_manifest(result.artifact)["training"]["closest_distances"]
    assert sorted(found) == ["C-C", "C-H", "C-O", "H-H", "H-O"]
    assert 0.85 < found["H-O"] < 0.97
    loaded = equic.load(result.artifact, device="cpu")
    assert loaded.closest == found
    folder = equic.export(result.artifact, target="standalone")
    assert equic.load(folder).closest == found
    start = read(example.parents[1] / "data/ethanol.xyz", index=0)
    start.positions[2] += 0.45 * (start.positions[8] - start.positions[2])  # O towards its carbon
    write(tmp_path / "close.xyz", start)
    done = CliRunner().invoke(app, ["md", str(result.artifact), str(tmp_path / "close.xyz"), "--steps", "1"])
    said = " ".join(done.output.split())
    assert "warning: C-O are 1.18 Å apart, and in training they were never below 1.31 Å" in said


def test_files_without_them_are_not_watched(tmp_path: Path) -> None:
    file = save_artifact(tmp_path / "m.equic", build_module(PLAN, seed=0), spec_text="")
    loaded = equic.load(file, device="cpu")
    assert loaded.closest is None
    atoms = molecule(0.5)
    atoms.calc = loaded.calculator()
    atoms.get_potential_energy()  # no warning, or the test run would stop
