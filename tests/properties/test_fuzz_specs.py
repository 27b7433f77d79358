"""A few thousand damaged specs: each compiles to a plan that the runtime reads, or has diagnostics with places."""

import importlib
import json
import time
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """A script of the folder as a module; scripts find each other beside themselves."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_damaged_specs_have_a_plan_or_diagnostics(load):
    tally = load("fuzz_specs").fuzz(2500, seed=7)
    assert [(what, name) for what, name, _ in tally.failures] == []
    assert tally.compiled > 50, "the damage is too heavy to reach the later stops"
    assert len(tally.codes) > 50, "the damage is too uniform"


HEAD = """\
equic: 1
name: a
system: {kind: atoms, species: [H], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets: {energy: {per: system, rep: 0e, unit: eV}}
model: {architecture: mace, channels: 4, lmax: 1}
"""
LARGE = {
    "values": HEAD + "x: [" + "1, " * 19_000 + "1]\n",
    "too many values": HEAD + "x: [" + "1, " * 300_000 + "1]\n",
    "unknown keys": HEAD + "".join(f"k{k}: 1\n" for k in range(9_000)),
    "equal keys": HEAD + "a: 1\n" * 9_000,
    "unknown aliases": HEAD + "x: [" + "*q, " * 19_000 + "1]\n",
    "wrong items": HEAD + "train: {freeze: [" + "1, " * 19_000 + "1]}\n",
    "choices": HEAD.replace("channels: 4", f"channels: {{search: {list(range(1, 9_000))}}}"),
    "layers": HEAD.replace("lmax: 1", f"lmax: 1, readout: {[8] * 19_000}"),
    "a deep model": HEAD.replace("lmax: 1", "lmax: {search: [1, 2, 3]}, layers: 100"),
    "one word": HEAD + "x: '" + "a" * 900_000 + "'\n",
    "brackets": HEAD + "x: " + "[" * 400_000,
}


FOUND = {  # by a hundred thousand mutants: each was a traceback
    "a tab in a blank line": HEAD + "\t\n",
    "tabs alone": "\t\n\t\n",
    "a tiny cutoff": HEAD.replace("4.0 Å", "1e-320 Å").replace("mace, channels: 4, lmax: 1", "egnn"),
    "a target named as a part": HEAD.replace(
        "{architecture: mace, channels: 4, lmax: 1}",
        "{features: {node: 4x0e, harmonics: 1}, blocks: [{kind: mp, carry: 4x0e, message: {irreps: 4x0e}}]}",
    ).replace("energy:", "update:"),
    "nothing to carry": HEAD.replace(
        "{architecture: mace, channels: 4, lmax: 1}",
        "{features: {node: 4x0e, harmonics: 1}, blocks: [{kind: mp, carry: 4x0o, "
        "message: {irreps: 4x0e, unreachable: drop}}]}",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(load, name):
    load("fuzz_specs").check_text(FOUND[name])


@pytest.mark.parametrize("name", LARGE)
def test_large_texts_are_answered_in_time(load, name):
    fuzz = load("fuzz_specs")
    start = time.process_time()
    fuzz.check_text(LARGE[name])
    assert time.process_time() - start < fuzz.LIMIT


def test_mutants_come_back_from_their_seed(load):
    mutator = load("mutate").Mutator
    first, again = mutator(3), mutator(3)
    assert [first.mutate() for _ in range(50)] == [again.mutate() for _ in range(50)]


def test_seeds_are_sound_and_reach_every_level(load):
    mutate, fuzz = load("mutate"), load("fuzz_specs")
    seeds = mutate.seeds()
    unsound = [seed.name for seed in seeds if not fuzz.check_text(seed.text)[0]]
    assert unsound == []
    levels = Counter(seed.name.rpartition(" level ")[2] for seed in seeds if " level " in seed.name)
    assert set(levels) == {"1", "2", "3"}
    assert len(set(levels.values())) == 1


def test_the_benchmark_writes_its_rows(load, tmp_path, capsys):
    file = tmp_path / "fuzz.json"
    assert load("fuzz_specs").main(["--count", "100", "--json", str(file)]) == 0
    rows = {row["name"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    assert rows["mutants"]["value"] == 100
    assert rows["failures"] | {"value": 0, "floor": 0, "holds": True} == rows["failures"]
    assert "failures" in capsys.readouterr().out
