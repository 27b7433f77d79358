"""README's blocks run: the shell commands, the Python, and the error message it shows."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.render import render_full
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A place with the examples, as a newcomer has after cloning."""
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", place / "examples")
    return place


def test_the_spec_compiles():
    (text,) = blocks("yaml")
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report)
    assert done.ok, done.report.diagnostics


def test_the_error_is_what_equic_prints():
    (shown,) = blocks("text")
    wrong = """\
equic: 1
name: readme
system: {kind: atoms, species: [H, C, O], cutoff: 4.5 Å}
symmetry:
  O(3): hard
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model:
  features: {node: 8x0e, harmonics: 2}
  blocks:
    - kind: mp
      carry: 8x0e+8x1o
      message: {irreps: 8x(0..2), radial: [16]}
      act: {form: pointwise, f: silu}
"""
    report = Report()
    done = compile_spec(source_from_text(wrong, report=report), report)
    # the activation is at fault in one layer: pruning never gets to run
    (error,) = done.report.errors
    assert render_full(error, done.report.texts).strip() == shown.strip()


def test_the_commands_run(folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    (text,) = blocks("bash")
    for line in text.splitlines():
        command = line.split("  #")[0].strip()
        program, *arguments = command.split()
        assert program == "equic"
        run = subprocess.run(
            [sys.executable, "-m", "equic", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"
    assert (folder / "best.yaml").exists()


def test_the_python_runs(folder, monkeypatch, capsys):
    (text,) = blocks("python")
    script = folder / "readme.py"
    script.write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    assert (folder / "runs/ethanol/1/model.equic").exists(), "the commands above it have not run"
    runpy.run_path(str(script))
    assert "(9, 3)" in capsys.readouterr().out


def test_the_two_commands_exist():
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in blocks("sh")[0].splitlines():
        name = line.split()[1]
        assert re.search(rf"(?m)^{name}:", targets), name


def test_the_figures_are_those_of_the_benchmark():
    rows = json.loads((ROOT / "benchmarks/results/speed.json").read_text(encoding="utf-8"))["rows"]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert {row["threads"] for row in rows} == {1, 2}
    for start, words in (
        ("energy+forces", "energy and forces are"),
        ("tabulated", "in the place of radial networks"),
        ("training step", "training steps"),
    ):
        ratios = [row["ratio"] for row in rows if row["name"].startswith(start)]
        assert f"{words} {min(ratios):.1f} to {max(ratios):.1f} times" in text


def test_the_figures_beside_nequip_and_allegro_are_those_of_the_benchmark():
    rows = json.loads((ROOT / "benchmarks/results/speed_nequip.json").read_text(encoding="utf-8"))["rows"]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    def times(what: str, form: str, threads: set[int]) -> str:
        found = []
        for package in ("nequip", "nequip-allegro"):
            ratios = [
                row["ratio"]
                for row in rows
                if row["name"].startswith(what)
                and row["name"].endswith(f", {package} {form}")
                and row["threads"] in threads
            ]
            found.append(f"{min(ratios):.1f} to {max(ratios):.1f}")
        return " and ".join(found)

    assert f"weights are {times('energy+forces', 'compiled', {1})} times as fast as their own" in text
    assert f"{times('energy+forces', 'compiled', {2})} times with two" in text
    assert f"training steps {times('training step', 'eager', {1, 2})} times" in text


def test_the_figures_beside_symmetrix_are_those_of_the_benchmark():
    rows = json.loads((ROOT / "benchmarks/results/speed_symmetrix.json").read_text(encoding="utf-8"))["rows"]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    def times(engine: str, *, single: bool) -> str:
        ratios = [
            row["ratio"]
            for row in rows
            if row["name"].startswith("tabulated")
            and row["name"].endswith(f", {engine}")
            and (", single, " in row["name"]) is single
        ]
        return f"{min(ratios):.1f} to {max(ratios):.1f} times"

    fastest = "symmetrix-xl without its check of BLAS"
    assert f"`mace` is {times(fastest, single=False)} as fast on batches" in text
    assert f"check of BLAS, {times(fastest, single=True)} on one molecule" in text
    assert f"there {times('symmetrix', single=True)} as fast as the latter" in text


def test_time_per_atom_is_as_flat_as_the_benchmark_says():
    rows = json.loads((ROOT / "benchmarks/results/speed_alone.json").read_text(encoding="utf-8"))["rows"]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    longest = max(row["value"] for row in rows if "longest time per atom" in row["name"])
    assert f"one of 1,000, within {100 * (longest - 1):.0f} %" in text


def test_the_figures_on_acetylacetone_are_those_of_the_benchmark():
    rows = json.loads((ROOT / "benchmarks/results/acac.json").read_text(encoding="utf-8"))["rows"]
    found = {row["name"]: row for row in rows}
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    forces = found["forces RMSE, 300 K"]["value"]
    weights = found["parameters, against MACE"]["value"]
    processor = found["processor time of the run"]["value"]
    clock = found["wall-clock time of the run"]["value"]
    published = [
        found[f"forces RMSE, 300 K, against {peer}"]["reference"] for peer in ("MACE", "NequIP", "BOTNet")
    ]
    for words in (
        f"{processor:.0f} minutes of one CPU core ({clock:.0f} by the clock",
        f"a `mace` of {weights:,} weights",
        f"to {forces:.1f} meV/Å",
        f"reach {min(published)} to {max(published)}",
    ):
        assert words in text, words


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_figures_in_equal_time_are_those_of_the_benchmark():
    rows = json.loads((ROOT / "benchmarks/results/equal_time.json").read_text(encoding="utf-8"))["rows"]
    found = {row["name"]: row["value"] for row in rows}
    seeds = {row["name"]: row["seeds"] for row in rows}
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "a larger `mace` (three seeds)" in text
    longest = found["forces RMSE, 300 K, equic, 45 minutes of 2 cores"]
    assert f"(one seed of ours reaches {longest:.1f} after 90)" in text
    for minutes in (5, 15):
        after = f"forces RMSE, 300 K, {{}}, {minutes} minutes of 2 cores"
        assert seeds[after.format("equic")] == 3
        ours, mace, nequip = (found[after.format(name)] for name in ("equic", "mace-torch", "nequip"))
        assert f"{ours:.1f} meV/Å, mace-torch {mace:.1f}, nequip {nequip:.1f} after {2 * minutes}" in text
