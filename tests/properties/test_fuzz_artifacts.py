"""A few hundred damaged artifacts: each is refused with a clear error, or is the very model that was written."""

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """A script of the folder as a module; scripts find each other beside themselves."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_damaged_artifacts_are_refused_or_whole(load):
    tally = load("fuzz_artifacts").fuzz(500, seed=5)
    assert [(what, kind) for what, kind, _ in tally.failures] == []
    assert len(tally.refused) >= 15, "every kind of damage is tried, and refused at least once"
    assert tally.same > 20, "some damage is where nothing reads"
    assert tally.other > 0, "whoever makes the hashes good again can write another model"


def test_a_wrong_answer_would_be_noticed(load, monkeypatch):
    """A loader that errs in one weight of every damaged file that it accepts."""
    import torch
    from equic.runtime import artifact

    right = artifact.load_artifact

    def wrong(path):
        found = right(path)
        if path.name == "bad.equic":
            with torch.no_grad():
                next(found.model.parameters()).view(-1)[-1] += 1e-6
        return found

    monkeypatch.setattr(artifact, "load_artifact", wrong)
    tally = load("fuzz_artifacts").fuzz(100, seed=0)
    assert {what for what, _, _ in tally.failures} == {"loaded as another model"}
    assert tally.same == 0


def test_the_same_seed_gives_the_same_files(load, tmp_path):
    files = load("fuzz_artifacts").sound_files(tmp_path)
    damage = load("damage").Damage
    first, again = damage(files, 3), damage(files, 3)
    assert [first.next() for _ in range(50)] == [again.next() for _ in range(50)]


def test_the_benchmark_writes_its_rows(load, tmp_path, capsys):
    file = tmp_path / "fuzz.json"
    assert load("fuzz_artifacts").main(["--count", "60", "--json", str(file)]) == 0
    rows = {row["name"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    assert rows["files"]["value"] == 60
    assert rows["failures"] | {"value": 0, "floor": 0, "holds": True} == rows["failures"]
    assert "failures" in capsys.readouterr().out
