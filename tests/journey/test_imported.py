"""An imported foundation model in miniature lives like any other: trained further, tuned, exported, moved in time.

It has density blocks, distances on the scale of Agnesi, and ZBL.
"""

from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.io import read, write
from equic.runtime.artifact import load_artifact
from typer.testing import CliRunner

import equic
from equic import api
from equic.cli import app

NAME = "density, agnesi, zbl"
ETHANOL = Path(__file__).parents[2] / "examples/data/ethanol.xyz"
LABELS = {"energy": {"key": "energy", "unit": "eV"}, "forces": {"key": "forces", "unit": "eV/Å"}}
TRAIN = {
    **{"from": "peer.equic", "epochs": 8, "batch": 2, "learning_rate": 0.05, "precision": "float64"},
    "loss": {"energy": {"weight": 0.0}},  # the peer's random model has energies of its own
}


def run(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def home(mace_dump, tmp_path_factory):
    """A folder with the imported model, its spec, and a spec to train it further on frames of ethanol."""
    folder = tmp_path_factory.mktemp("imported")
    np.savez(folder / "peer.npz", **mace_dump(NAME))
    run("import", "mace", folder / "peer.npz", "-o", folder / "peer.equic", "--spec", folder / "peer.yaml")
    frames = read(ETHANOL, index="::10")
    write(folder / "train.xyz", frames[:20])
    write(folder / "test.xyz", frames[20:28])
    spec = yaml.safe_load((folder / "peer.yaml").read_text(encoding="utf-8"))
    del spec["targets"]["stress"]
    spec["data"] = {
        "train": {"path": "train.xyz", "labels": LABELS},
        "validation": 4,
        "test": {"path": "test.xyz"},
        "isolated_atoms": {"H": -10.70721138, "C": -48.79807982, "O": -102.52180711},
    }
    for name, rate in (("further", 0.05), ("tuned", {"search": {"low": 0.001, "high": 0.05, "log": True}})):
        text = yaml.safe_dump(spec | {"train": TRAIN | {"learning_rate": rate}}, allow_unicode=True)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(home):
    return equic.train(home / "further.yaml", runs=home / "runs", progress=False, device="cpu")


def weights(path):
    return {name: value.detach().numpy() for name, value in load_artifact(path).model.named_parameters()}


def rmse(path, frames):
    found = equic.load(path, device="cpu").predict(frames)
    errors = [one["forces"] - frame.get_forces() for one, frame in zip(found, frames, strict=True)]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def test_it_trains_further_from_the_weights_that_it_came_with(home, trained):
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    frames = read(home / "train.xyz", index=":")
    assert rmse(trained.artifact, frames) < rmse(home / "peer.equic", frames)
    old, new = weights(home / "peer.equic"), weights(trained.artifact)
    assert old.keys() == new.keys()
    moved = {name for name in old if not np.array_equal(old[name], new[name])}
    assert any("crowd" in name for name in moved), "learned numbers of neighbours are learned further"
    # what it learned before is still there: no weight was drawn anew
    name = "steps.layer1__weights.weights.0"
    assert np.corrcoef(old[name].ravel(), new[name].ravel())[0, 1] > 0.9


def test_its_heads_may_be_trained_alone(home):
    overrides = ["train.only=heads", "train.epochs=1"]
    heads = equic.train(home / "further.yaml", overrides, runs=home / "heads", progress=False, device="cpu")
    old, new = weights(home / "peer.equic"), weights(heads.artifact)
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert changed
    assert all("energy" in name for name in changed)


def test_it_tunes(home):
    settings = ["--set", "tune.epochs=1", "--set", "tune.minimize=validation.forces.rmse"]
    run(
        "tune",
        home / "tuned.yaml",
        "--trials",
        2,
        *settings,
        "--write",
        home / "best.yaml",
        "--runs",
        home / "t",
    )
    best = yaml.safe_load((home / "best.yaml").read_text(encoding="utf-8"))
    assert 0.001 <= best["train"]["learning_rate"] <= 0.05
    assert api.check(home / "best.yaml").ok


def test_it_exports_with_its_forces(home):
    out = api.export(home / "peer.equic", home / "peer.standalone")
    frames = read(home / "test.xyz", index=":2")
    ours, theirs = (equic.load(path, device="cpu").predict(frames) for path in (home / "peer.equic", out))
    for one, other in zip(ours, theirs, strict=True):
        scale = np.sqrt(np.mean(one["forces"] ** 2))
        np.testing.assert_allclose(other["forces"], one["forces"], rtol=0, atol=1e-11 * scale)
        assert float(other["energy"]) == pytest.approx(float(one["energy"]), abs=1e-9)


def test_it_moves_atoms_and_keeps_the_energy(home, trained):
    write(home / "start.xyz", read(home / "test.xyz", index=0))
    settings = ["--steps", 40, "--timestep", 0.05, "--temperature", 50, "--every", 4]
    run("md", trained.artifact, home / "start.xyz", *settings, "-o", home / "run.extxyz")
    frames = read(home / "run.extxyz", index=":")[1:]
    potential = np.array([frame.get_potential_energy() for frame in frames])
    total = potential + [frame.get_kinetic_energy() for frame in frames]
    assert np.abs(frames[-1].positions - frames[0].positions).max() > 1e-4
    assert np.ptp(total) < 0.05 * np.ptp(potential)
