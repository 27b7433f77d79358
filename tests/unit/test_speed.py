"""The benchmarks of speed against other programs, as far as they go without them."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("speed")


@pytest.fixture
def side_by_side(speed):
    return importlib.import_module("side_by_side")


@pytest.mark.parametrize(
    ("name", "option"), [("speed", "--peer"), ("speed_symmetrix", "--peer"), ("speed_nequip", "--nequip")]
)
@pytest.mark.usefixtures("speed")
def test_without_the_peer_it_says_how_to_get_it(name, option, tmp_path):
    with pytest.raises(SystemExit, match="make oracles"):
        importlib.import_module(name).main(["--quick", option, str(tmp_path / "python")])


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("speed_symmetrix", "--peer", "--origin"), ("speed_nequip", "--nequip", "--allegro")],
)
@pytest.mark.usefixtures("speed")
def test_nothing_is_measured_when_the_second_peer_is_missing(name, first, second, tmp_path):
    """The first is no Python of a peer, either, which its worker would say."""
    missing = str(tmp_path / "python")
    with pytest.raises(SystemExit, match=f"{missing} does not exist"):
        importlib.import_module(name).main(["--quick", first, sys.executable, second, missing])


WORKER = """\
import sys
sys.path.insert(0, {folder!r})
from serving import serve

def build(command):
    print("libraries print")
    return {{"count": lambda: sum(range(command["size"]))}}, {{"size": command["size"], "threads": 1}}

serve(build)
"""


def test_a_worker_is_asked_and_timed_and_told_of_when_it_ends(side_by_side, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(folder=str(FOLDER / "peers")), encoding="utf-8")
    with side_by_side.Peer(Path(sys.executable), script) as peer:
        assert peer.ask(do="build", size=10**5, threads=1) == {"size": 10**5, "threads": 1}
        assert 0 < peer.step("count")() < 10
        assert peer.version("numpy") == np.__version__
        with pytest.raises(SystemExit, match="ended with 1"):
            peer.ask(do="nothing")


def test_turns_are_taken_and_first_calls_are_not_counted(side_by_side):
    order = []

    def step(name, seconds):
        def taken():
            order.append(name)
            return seconds

        return taken

    pairs = {"a": (step("ours", 1.0), step("theirs", 3.0))}
    assert side_by_side.in_turn(pairs, 4, threads=1) == {"a": ([1.0] * 4, [3.0] * 4)}
    once = (["theirs", "ours"] + ["ours", "theirs"]) * ((4 + side_by_side.WARMUP) // 2)
    assert order == once
    # a peer that takes the whole budget for its first call still gives three
    found = side_by_side.in_turn(pairs, 100, threads=1, budget=-1.0)
    assert {len(taken) for taken in found["a"]} == {3}
    # with several threads a turn begins with a rest and a step that is not counted
    order.clear()
    assert side_by_side.in_turn(pairs, 4, threads=2) == {"a": ([1.0] * 4, [3.0] * 4)}
    assert order == [name for name in once for _ in range(2)]


def test_models_that_differ_are_not_timed(side_by_side):
    rng = np.random.default_rng(0)
    answer = {"energy": rng.normal(size=4), "forces": rng.normal(size=(6, 3))}

    def outputs(shift):
        return {
            "energy": torch.from_numpy(answer["energy"]),
            "forces": torch.from_numpy(answer["forces"] + shift),
        }

    side_by_side.check(outputs(0.0), answer, 1e-8, "float64")
    side_by_side.check(outputs(1e-6), answer, 1e-4, "float32")
    with pytest.raises(SystemExit, match=r"forces differ by .* in float64"):
        side_by_side.check(outputs(1e-6), answer, 1e-8, "float64")
    with pytest.raises(SystemExit, match="forces differ"):
        side_by_side.check(outputs(float("nan")), answer, 1e-4, "float32")


def test_ratios_are_of_the_times_of_both(speed):
    case = speed.Case("big", "acac10", "float64", 1)
    row = speed._row(case, "energy+forces", [1.0, 2.0, 1.0], [3.0, 4.0, 3.0], "peer")
    assert (row.value, row.reference, row.ratio) == (1e3, 3e3, 3.0)
    assert row.holds is False  # the big model has a floor of 12


@pytest.mark.parametrize("name", ["speed", "speed_symmetrix", "speed_nequip"])
@pytest.mark.usefixtures("speed")
def test_the_full_run_has_both_dtypes_and_degrees(name):
    speed = importlib.import_module(name)
    full, quick = list(speed.cases(quick=False)), list(speed.cases(quick=True))
    assert {case.dtype for case in full} == {"float32", "float64"}
    assert {case.model for case in quick} == {case.model for case in full}
    assert set(quick) <= set(full)
    assert len(set(full)) == len(full)


def test_the_picture_names_each_row(speed, side_by_side, tmp_path):
    case = speed.Case("small", "acac10", "float32", 1)
    rows = [speed._row(case, what, [1.0, 1.0, 1.0], [5.0, 6.0, 7.0], "peer").to_json() for what in speed.WHAT]
    side_by_side.draw(tmp_path / "speed.svg", rows, "the peer")
    text = (tmp_path / "speed.svg").read_text(encoding="utf-8")
    assert all(case.name(what) in text for what in speed.WHAT)
    assert all(f"{label}</text>" in text for label in ("floor", "float32, 1 thread"))
    assert "float64" not in text


def test_a_case_against_symmetrix_has_each_row_once(speed):
    symmetrix = importlib.import_module("speed_symmetrix")
    rows = [
        (name, case.threads, case.dtype)
        for case in symmetrix.cases(quick=False)
        for name in symmetrix.names(case)
    ]
    assert len(set(rows)) == len(rows)
    assert any(name.startswith("md step") for name, *_ in rows)
    assert not any(name.startswith("md step") and "acac10" in name for name, *_ in rows)
    assert {name.split(", ")[2] for name, *_ in rows if name.endswith(", symmetrix")} == {"single"}


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
    command = {"do": "training", "model": [4, 0], "system": "single", "dtype": "float64", "threads": 1}
    for recompute in (False, True):
        found = alone.ask({**command, "calls": 2, "recompute": recompute})
        assert found["seconds"] > 0
        assert found["growth"] > 0
        assert found["atoms"] == 15
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
