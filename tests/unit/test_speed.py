"""The benchmark against mace-torch, as far as it goes without mace-torch."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("speed")


def test_without_the_peer_it_says_how_to_get_it(speed, tmp_path):
    with pytest.raises(SystemExit, match="make oracles"):
        speed.main(["--quick", "--peer", str(tmp_path / "python")])


def test_models_that_differ_are_not_timed(speed):
    rng = np.random.default_rng(0)
    answer = {"energy": rng.normal(size=4), "forces": rng.normal(size=(6, 3))}

    def outputs(shift):
        return {
            "energy": torch.from_numpy(answer["energy"]),
            "forces": torch.from_numpy(answer["forces"] + shift),
        }

    speed.check(outputs(0.0), answer, "float64")
    speed.check(outputs(1e-6), answer, "float32")
    with pytest.raises(SystemExit, match="forces differ"):
        speed.check(outputs(1e-6), answer, "float64")
    with pytest.raises(SystemExit, match="forces differ"):
        speed.check(outputs(float("nan")), answer, "float32")


def test_ratios_are_of_the_times_of_both(speed):
    case = speed.Case("big", "acac10", "float64", 1)
    row = speed._row(case, "energy+forces", [1.0, 2.0, 1.0], [3.0, 4.0, 3.0], "peer")
    assert (row.value, row.reference, row.ratio) == (1e3, 3e3, 3.0)
    assert row.holds is False  # the big model has a floor of 12


def test_the_full_run_has_both_dtypes_and_degrees(speed):
    full, quick = list(speed.cases(quick=False)), list(speed.cases(quick=True))
    assert {case.dtype for case in quick} == {"float32", "float64"}
    assert set(quick) <= set(full)
    assert len(set(full)) == len(full)


def test_the_picture_has_a_bar_for_each_row(speed, tmp_path):
    case = speed.Case("small", "acac10", "float32", 1)
    rows = [speed._row(case, what, [1.0, 1.0, 1.0], [5.0, 6.0, 7.0], "peer").to_json() for what in speed.WHAT]
    speed.draw(tmp_path / "speed.svg", rows)
    text = (tmp_path / "speed.svg").read_text(encoding="utf-8")
    assert all(case.name(what) in text for what in speed.WHAT)


def test_every_row_of_a_run_alone_has_a_name_of_its_own(speed):
    alone = importlib.import_module("speed_alone")
    for quick in (True, False):
        keys = [key for one in alone.measurements(quick, 1, Path()) for key in one.keys]
        assert len(set(keys)) == len(keys)


def test_a_worker_says_how_long_and_how_large(speed):
    alone = importlib.import_module("speed_alone")
    (row,) = alone.latency("tiny", "float64", 1, True, "step", 2)
    assert 0 < row.value < 1e4
    assert row.name == "latency, mace tiny, one molecule, tabulated"
    with pytest.raises(SystemExit, match="no system"):
        alone.ask(
            {
                "do": "step",
                "model": [4, 0],
                "system": "none",
                "dtype": "float64",
                "threads": 1,
                "tables": False,
            }
        )
