"""The command line met with wrong files and wrong words: one clear message, no traceback, exit code 2."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from equic.runtime.artifact import save_artifact

import equic

EXAMPLES = Path(__file__).parents[2] / "examples"
ETHANOL = str(EXAMPLES / "01_ethanol/spec.yaml")
FRAMES = str(EXAMPLES / "data/ethanol.xyz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("cli")
    small = ["model.channels=4", "model.layers=1", "model.radial=[8]"]
    save_artifact(place / "model.equic", equic.compile(ETHANOL, small), spec_text="")
    (place / "junk.equic").write_text("junk", encoding="utf-8")
    (place / "empty.xyz").write_text("", encoding="utf-8")
    (place / "copper.xyz").write_text("1\n\nCu 0 0 0\n", encoding="utf-8")
    return place


def test_the_version_is_that_of_the_package():
    run = subprocess.run(
        [sys.executable, "-m", "equic", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"equic {metadata.version('equic')}\n"


WRONG = {
    "no such spec": (["check", "nope.yaml"], "there is no file `nope.yaml`"),
    "no such data": (["train", ETHANOL, "--set", "data.train.path=nope.xyz"], "does not exist"),
    "no such label": (
        ["train", ETHANOL, "--set", "data.train.labels.forces.key=force"],
        "did you mean `forces`?",
    ),
    "no such parameter": (["check", ETHANOL, "--set", "model.chanels=3"], "did you mean `channels`?"),
    "a damaged artifact": (["verify", "junk.equic"], "junk.equic is damaged"),
    "no such export": (["verify", "nope.pt2"], "`nope.pt2` is not a file"),
    "another kind of file": (["predict", FRAMES, FRAMES, "-o", "out.xyz"], "neither an artifact"),
    "no such structures": (
        ["predict", "model.equic", "nope.xyz", "-o", "out.xyz"],
        "nope.xyz does not exist",
    ),
    "no structures": (["predict", "model.equic", "empty.xyz", "-o", "out.xyz"], "empty.xyz"),
    "unknown element": (["md", "model.equic", "copper.xyz", "--steps", "1"], "Cu"),
    "nothing to tune": (["tune", ETHANOL], "no `tune` section"),
    "no run": (["report", "."], "there is no run below"),
    "no such code": (["explain", "T999"], "there is no code `T999`"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_use_says_what_is_wrong(name, folder):
    arguments, words = WRONG[name]
    run = subprocess.run(
        [sys.executable, "-m", "equic", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert words in " ".join(run.stderr.split())


def test_every_command_has_help_with_an_example():
    from typer.main import get_command

    from equic.cli import app

    for name, command in get_command(app).commands.items():
        assert "Example:" in (command.help or ""), name
        assert f"equic {name}" in command.help, name
