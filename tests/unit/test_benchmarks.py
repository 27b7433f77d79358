"""The benchmarks: their format, their resuming, and a reduced run of each."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
TOP = {"benchmark", "commit", "date", "quick", "hardware", "versions", "rows"}
HARDWARE = {"cpu", "cores", "gpu", "memory"}
ROW = {
    "name", "value", "unit", "better", "reference", "source", "ratio", "floor", "aim", "holds", "seeds", "spread",
    "threads", "dtype",
}  # fmt: skip


@pytest.fixture
def load(monkeypatch):
    """A script of the folder as a module; scripts find `common` beside themselves."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def threads():
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def check_format(data):
    assert set(data) == TOP
    assert set(data["hardware"]) == HARDWARE
    assert {"python", "torch", "equic"} <= set(data["versions"])
    assert data["rows"]
    for row in data["rows"]:
        assert set(row) == ROW
        assert math.isfinite(row["value"])
        assert row["better"] in ("lower", "higher")
    keys = [(row["name"], row["threads"], row["dtype"]) for row in data["rows"]]
    assert len(set(keys)) == len(keys)


@pytest.mark.usefixtures("threads")
def test_step_time_runs_quickly_and_writes_the_format(load, tmp_path, capsys):
    file = tmp_path / "results" / "step_time.json"
    step_time = load("step_time")
    assert step_time.main(["--quick", "--only", "16x0e", "--repeats", "3", "--json", str(file)]) == 0
    data = json.loads(file.read_text())
    check_format(data)
    assert data["quick"]
    names = [row["name"].split(", ") for row in data["rows"]]
    assert [name[0] for name in names[::3]] == ["energy+forces", "training step"] * 2
    assert {name[-1] for name in names} == set(step_time.FORMS.values())
    inference, training = (data["rows"][at]["value"] for at in (0, 3))
    assert 0.1 < inference < training
    assert "acac10, generated C (float32, 1 thread)" in capsys.readouterr().out


def test_step_time_measures_the_systems_of_the_field(load):
    from equic.runtime.neighbors import model_inputs
    from equic.runtime.testing.plans import mace_plan

    step_time = load("step_time")
    sizes = {}
    for system, species in (("acac10", ("H", "C", "O")), ("si216", ("Si",))):
        plan = mace_plan(species=species, cutoff=step_time.CUTOFF)
        inputs = model_inputs(step_time.structures(system), plan)
        sizes[system] = (len(inputs["positions"]), inputs["edges"].shape[1])
    assert sizes == {"acac10": (150, 1794), "si216": (216, 6048)}
    full = list(step_time.cases(quick=False))
    assert {case.channels for case in full} == {16, 64}
    assert {case.lmax for case in full} == {2, 3}
    assert {case.dtype for case in full} == {"float32", "float64"}


def test_both_steps_give_what_they_are_named_for(load):
    step_time = load("step_time")
    case = step_time.Case("acac10", 4, 1, "float64", 1)
    steps = step_time.steps_of(case)
    losses = [step() for step in steps["training step"].values()]
    assert all(loss.requires_grad and math.isfinite(loss.item()) for loss in losses)
    assert [loss.item() for loss in losses] == pytest.approx([losses[0].item()] * 3, rel=1e-9)
    assert all({"energy", "forces"} <= set(step()) for step in steps["energy+forces"].values())


@pytest.mark.parametrize(
    "name",
    sorted(
        path.stem
        for path in FOLDER.glob("*.py")
        if path.stem not in ("common", "damage", "mutate", "side_by_side", "trainings")
    ),
)
def test_every_benchmark_has_the_common_command_line(load, name, capsys):
    with pytest.raises(SystemExit) as stopped:
        load(name).main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "--quick" in text
    assert "--json" in text


def test_rows_know_whether_they_hold(load):
    row = load("common").Row
    assert row("a", 1.0, "ms", "lower").holds is None
    assert row("a", 1.0, "ms", "lower", floor=2.0).holds
    assert row("a", 3.0, "atoms/s", "higher", floor=2.0).holds
    assert not row("a", 3.0, "ms", "lower", floor=2.0).holds
    against = row("a", 3.0, "ms", "lower", reference=9.0, source="peer", ratio=3.0, floor=2.0, aim=5.0)
    assert against.holds
    assert row.from_json(json.loads(json.dumps(against.to_json()))) == against


def test_a_stopped_run_goes_on_where_it_was_but_not_with_other_code(load, tmp_path, monkeypatch):
    common = load("common")
    monkeypatch.setattr(common, "commit", lambda: "abc")
    file = tmp_path / "x.json"
    measured, stops = [], [KeyboardInterrupt]

    def group(name):
        def measure():
            measured.append(name)
            if name == "third" and stops:
                raise stops.pop()
            return [common.Row(name, 1.0, "ms", "lower", threads=1)]

        return common.Measurement(keys=((name, 1, None),), measure=measure)

    groups = [group(name) for name in ("first", "second", "third")]
    options = common.parser("x").parse_args(["--json", str(file)])
    with pytest.raises(KeyboardInterrupt):
        common.run("x", groups, options)
    data = common.run("x", groups, options)
    assert measured == ["first", "second", "third", "third"]
    assert [row["name"] for row in data["rows"]] == ["first", "second", "third"]
    assert json.loads(file.read_text()) == data
    check_format(data)
    for other in ("abd", "abc+", "abc+"):  # `+`: files differ from the commit, so nothing is reused
        monkeypatch.setattr(common, "commit", lambda other=other: other)
        measured.clear()
        common.run("x", groups, options)
        assert measured == ["first", "second", "third"]


def test_paired_ratios_cancel_what_slows_both(load):
    common = load("common")
    ours, theirs = [1.0, 2.0, 10.0, 1.0], [3.0, 6.0, 30.0, 3.0]
    assert common.paired_ratio(ours, theirs) == (3.0, 0.0)
    calls = []
    seconds = common.interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, warmup=1
    )
    assert calls == ["a", "b"] * 4
    assert {name: len(samples) for name, samples in seconds.items()} == {"a": 3, "b": 3}


def test_forces_of_the_baseline_are_the_gradient_of_its_energy(load):
    import numpy as np
    from ase.build import bulk
    from equic.runtime.data import frame_from_atoms
    from equic.runtime.testing.plans import mace_plan

    mlearn = load("mlearn")
    plan = mace_plan(species=("Si",), cutoff=4.0)
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=0)
    weights = np.random.default_rng(0).normal(size=mlearn.GAUSSIANS + 1)

    def energy(positions):
        moved = atoms.copy()
        moved.positions = positions
        return mlearn.features(frame_from_atoms(moved, plan, source="a"), 4.0)[0] @ weights

    forces = mlearn.features(frame_from_atoms(atoms, plan, source="a"), 4.0)[1] @ weights
    h = 1e-5
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        step = np.zeros((len(atoms), 3))
        step[atom, axis] = h
        slope = (energy(atoms.positions + step) - energy(atoms.positions - step)) / (2 * h)
        assert forces[atom, axis] == pytest.approx(-slope, rel=1e-5, abs=1e-7)


def test_a_pair_potential_is_found_where_there_is_one(load):
    """The fit on frames whose labels come from a pair potential of its own form."""
    import numpy as np
    from ase.build import bulk
    from equic.runtime.data import frame_from_atoms
    from equic.runtime.testing.plans import mace_plan

    mlearn = load("mlearn")
    plan = mace_plan(species=("Si",), cutoff=4.0)
    truth = np.random.default_rng(1).normal(size=mlearn.GAUSSIANS + 1)
    frames = []
    for seed in range(8):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.2, seed=seed)
        energy, forces = mlearn.features(frame_from_atoms(atoms, plan, source="a"), 4.0)
        labels = {"energy": np.array(energy @ truth), "forces": forces @ truth}
        frames.append(frame_from_atoms(atoms, plan, source="a", labels=labels))
    errors = mlearn.pair_potential(frames[:6], frames[6:], 4.0)
    size = float(np.sqrt(np.mean(np.square(np.concatenate([f.labels["forces"] for f in frames])))))
    assert errors["forces"] < 0.02 * size


@pytest.mark.usefixtures("threads")
def test_an_epoch_from_disk_takes_as_long_as_one_from_memory(load, tmp_path, monkeypatch):
    reading = load("reading")
    monkeypatch.setattr(reading, "TRAINED", 64)
    (row,) = reading.epoch_row(tmp_path, 3)
    assert row.ratio > 0.7  # loose: other tests share the cores; the full benchmark holds it to 0.91


def test_the_rows_of_acac_are_those_it_announces(load, tmp_path, monkeypatch):
    from types import SimpleNamespace

    import equic.runtime.artifact
    import torch

    acac = load("acac")
    model = SimpleNamespace(parameters=lambda: [torch.zeros(10)])
    monkeypatch.setattr(equic.runtime.artifact, "load_artifact", lambda path: SimpleNamespace(model=model))
    for name in acac.TESTS:
        (tmp_path / f"{name}.xyz").touch()
    errors = {"energy": {"rmse": 0.002}, "forces": {"rmse": 0.0102}}
    results = {
        "metrics": {"test": errors, "test_MD_600K": errors},
        "seconds": 60.0,
        "cpu_seconds": 30.0,
        "epochs": 5.0,
    }
    rows = acac.rows(results, tmp_path, 1, "float32", quick=False)
    assert {row.key for row in rows} == set(acac.keys(tmp_path, 1))
    found = {row.name: row for row in rows}
    assert found["forces RMSE, 300 K"].holds
    assert found["forces RMSE, 300 K, against MACE"].ratio == pytest.approx(0.5)
    assert found["forces RMSE, 300 K"].value == pytest.approx(10.2)


@pytest.mark.usefixtures("threads")
def test_constant_energy_is_measured_on_any_file(load, tmp_path):
    """A model of springs by its weights' seed: hardly a molecule, but its energy is kept all the same."""
    from equic.runtime.artifact import save_artifact
    from equic.runtime.build import build_module
    from equic.runtime.testing.plans import mace_plan

    nve = load("nve")
    model = build_module(mace_plan(channels=2, lmax=1, correlation=1, layers=1, widths=(4,)), seed=1)
    model.set_statistics({"average_neighbors": 8.0, "scale": 0.05})
    file = save_artifact(tmp_path / "m.equic", model, spec_text="equic: 1\n")
    picture = tmp_path / "nve.svg"
    rows = {row.name: row for row in nve.long_rows(lambda dtype: file, "float64", 0.2, picture)}
    assert rows["slope of the total energy in its standard errors, 0.2 ps"].floor == 3.0
    total, shadow = (rows[f"fluctuation of the {name} energy, 0.2 ps"] for name in ("total", "shadow"))
    assert shadow.value < total.value
    assert "shadow" in picture.read_text(encoding="utf-8")
    ratio, distance = nve.halved_rows(lambda dtype: file, 0.01, 2)
    assert ratio.value > 1.0
    assert distance.value == abs(ratio.value / 4.0 - 1.0)
    assert nve.pooled_ratio(np.array([[4.0, 1.0], [8.0, 2.0]])) == pytest.approx(4.0)


def test_a_run_in_pieces_keeps_the_pieces(load, tmp_path, monkeypatch):
    common = load("common")
    monkeypatch.setattr(common, "commit", lambda: "0" * 40)
    file = tmp_path / "pieces.json"
    taken = []

    def group(*names):
        def measure():
            taken.extend(names)
            return [common.Row(name, 1.0, "ms", "lower") for name in names]

        return common.Measurement(tuple((name, None, None) for name in names), measure)

    # a piece may be a part of a group, measured before with the rest or not
    for only in ("b", "a", "", "a1"):
        given = common.parser("x").parse_args(["--json", str(file), "--only", only])
        common.run("pieces", [group("a1", "a2"), group("b")], given)
    assert taken == ["b", "a1", "a2"]
    assert [row["name"] for row in json.loads(file.read_text())["rows"]] == ["a1", "a2", "b"]
    with pytest.raises(SystemExit, match="contains `c`"):
        common.run(
            "pieces", [group("a1")], common.parser("x").parse_args(["--json", str(file), "--only", "c"])
        )
