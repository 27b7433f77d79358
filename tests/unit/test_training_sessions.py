"""What surrounds the steps of a run: changed specs, several seeds, threads, loggers, tables, an early end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equic.runtime.data import Frame, frame_from_atoms
from equic.runtime.plan import Plan
from equic.runtime.testing.plans import hnn_plan, mace_plan
from equic.runtime.testing.training import changed, morse_frames, pendulum, same, small_mace, weights_of
from equic.runtime.training import TrainingError, finish, train
from equic.runtime.training.batches import samples_of
from equic.runtime.training.changes import RULES, changes
from equic.runtime.training.rounds import Rounds
from equic.runtime.training.seeds import over_seeds, summarize
from equic.runtime.training.symmetry import SymmetryWatch
from equic.runtime.training.threads import threads_for


def run(plan: Plan, directory: Path, **options: Any) -> Any:
    return train(plan, directory=directory, device="cpu", progress=False, **options)


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ask the run to stop when so many rounds are over."""

    def stop(rounds: int) -> None:
        ended = Rounds._end_round

        def end(self: Rounds, trainer: Any) -> None:
            ended(self, trainer)
            self.module.stop_requested = self.place >= rounds

        monkeypatch.setattr(Rounds, "_end_round", end)

    yield stop
    monkeypatch.undo()


SETS = {"train": pendulum(20), "validation": pendulum(10, 1)}


class TestChangedSpecs:
    def test_a_run_goes_on_to_more_epochs(self, tmp_path: Path, stop_after: Any, monkeypatch: Any) -> None:
        plan = changed(hnn_plan(), epochs=4, batch=5, schedule="constant", ema=0.9)
        longer = changed(plan, epochs=8)
        whole = run(longer, tmp_path / "whole", sets=SETS)
        stop_after(3)
        assert run(plan, tmp_path / "part", sets=SETS).interrupted
        monkeypatch.undo()
        resumed = run(longer, tmp_path / "part", sets=SETS, resume=True)
        # with a constant rate nothing but the end depends on the number of epochs
        assert same(weights_of(whole.model), weights_of(resumed.model))
        assert [row["epoch"] for row in resumed.history] == list(range(1, 9))

    def test_a_finished_run_goes_on(self, tmp_path: Path) -> None:
        plan = changed(hnn_plan(), epochs=2, batch=5, schedule="cosine")
        run(plan, tmp_path / "run", sets=SETS)
        resumed = run(changed(plan, epochs=5), tmp_path / "run", sets=SETS, resume=True)
        assert resumed.history[-1]["epoch"] == 5
        assert resumed.history[2]["rate"] == pytest.approx(0.01 * 0.5 * (1 + np.cos(np.pi * 11 / 20)))

    def test_what_is_risky_has_to_be_accepted(
        self, tmp_path: Path, stop_after: Any, monkeypatch: Any
    ) -> None:
        plan = changed(hnn_plan(), epochs=3, batch=5)
        stop_after(1)
        run(plan, tmp_path / "run", sets=SETS)
        monkeypatch.undo()
        other = changed(plan, learning_rate=0.003, batch=10)
        with pytest.raises(
            TrainingError, match=r"(?s)`train.batch`: 5 → 10 .*`train.learning_rate`: 0.01 → 0.003 .*accept"
        ):
            run(other, tmp_path / "run", sets=SETS, resume=True)
        resumed = run(other, tmp_path / "run", sets=SETS, resume=True, accept_changes=True)
        assert resumed.history[-1]["rate"] <= 0.003
        assert resumed.artifact is not None

    @pytest.mark.parametrize(
        "settings", [{"optimizer": "amsgrad"}, {"ema": 0.5}, {"precision": "float32"}, {"weight_decay": 0.1}]
    )
    def test_what_does_not_fit_the_state_is_refused(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        plan = changed(hnn_plan(), epochs=1, batch=10, optimizer="adamw", weight_decay=0.0)
        run(plan, tmp_path / "run", sets=SETS)
        (key,) = settings
        with pytest.raises(TrainingError, match=f"`train.{key}`"):
            run(changed(plan, **settings), tmp_path / "run", sets=SETS, resume=True, accept_changes=True)

    def test_another_model_is_refused(self) -> None:
        found = changes(hnn_plan(hidden=(8,)).to_json(), hnn_plan(hidden=(9,)).to_json())
        assert {change.verdict for change in found} == {"refused"}

    def test_every_rule_but_the_last_names_a_key_of_a_plan(self) -> None:
        from fnmatch import fnmatchcase

        from equic.runtime.training.changes import _leaves

        document = mace_plan().to_json()
        document["data"] = {
            "sets": {"train": {"path": "a"}, "test": {"path": "b"}},
            "isolated_atoms": "frames",
            "seed": 0,
            "prepared": None,
        }
        keys = [key for key, _ in _leaves(Plan.from_json(document).to_json())]
        for pattern, _, _ in RULES[:-1]:
            assert any(fnmatchcase(key, pattern) for key in keys), pattern


def test_an_early_end_of_the_final_errors_keeps_what_is_there(tmp_path: Path, monkeypatch: Any) -> None:
    plan = changed(hnn_plan(), epochs=1, batch=10)
    sets = {**SETS, "test": pendulum(30, 2)}
    measured = finish.evaluate

    def interrupted(model: Any, batches: Any, *args: Any, **options: Any) -> Any:
        if sum(len(batch.samples) for batch in batches) == 30:
            raise KeyboardInterrupt
        return measured(model, batches, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(finish, "evaluate", interrupted)
        result = run(plan, tmp_path / "run", sets=sets)
    assert set(result.metrics) == {"train", "validation"}
    assert result.artifact.exists()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["missing"] == ["test"]
    again = run(plan, tmp_path / "run", sets=sets, resume=True)
    assert set(again.metrics) == {"train", "validation", "test"}


def test_several_seeds_are_summed_up(tmp_path: Path) -> None:
    plan = changed(hnn_plan(), epochs=1, batch=10)
    results = [run(plan, tmp_path / str(k + 1), sets=SETS, seed=k) for k in range(3)]
    values = [result.metrics["validation"]["derivatives"]["rmse"] for result in results]
    entry = over_seeds(results)["validation"]["derivatives"]["rmse"]
    assert entry == {
        "mean": pytest.approx(np.mean(values)),
        "std": pytest.approx(np.std(values, ddof=1)),
        "values": values,
    }
    assert len(set(values)) == 3
    summarize(plan, results, progress=True)
    assert json.loads((tmp_path / "seeds-1.json").read_text())["errors"]["validation"]["derivatives"][
        "rmse"
    ] == {**entry}


def test_threads_follow_the_work_of_a_step() -> None:
    plan = mace_plan(channels=64, lmax=3)
    assert threads_for(plan, edges=100, atoms=10, systems=5, cores=16) == 1
    counts = [
        threads_for(plan, edges=edges, atoms=edges / 10, systems=5, cores=16) for edges in (1e3, 1e4, 1e5)
    ]
    assert counts == sorted(counts)
    assert counts[-1] == 16
    assert threads_for(hnn_plan(), edges=0, atoms=0, systems=100, cores=16) == 1


def test_rows_go_to_a_logger(tmp_path: Path, monkeypatch: Any) -> None:
    from lightning.pytorch import loggers

    seen: list[tuple[int, dict[str, float]]] = []

    class Recorder:
        def __init__(self, **options: Any) -> None:
            assert options["save_dir"] == tmp_path / "run"

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            seen.append((step, metrics))

        def finalize(self, status: str) -> None:
            ends.append(status)

    ends: list[str] = []
    monkeypatch.setattr(loggers, "TensorBoardLogger", Recorder)
    plan = changed(hnn_plan(), epochs=2, batch=10)
    result = run(plan, tmp_path / "run", sets=SETS, log=["tensorboard"])
    assert [step for step, _ in seen] == [2, 4]
    assert ends == ["success"]
    assert seen[-1][1]["validation_loss"] == result.history[-1]["validation_loss"]
    with pytest.raises(TrainingError, match="`tensorbord` is no logger"):
        run(plan, tmp_path / "2", sets=SETS, log=["tensorbord"])

    class Missing:
        def __init__(self, **options: Any) -> None:
            raise ModuleNotFoundError("wandb")

    monkeypatch.setattr(loggers, "WandbLogger", Missing)
    with pytest.raises(TrainingError, match=r"needs the package wandb"):
        run(plan, tmp_path / "3", sets=SETS, log=["wandb"])


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
def test_rows_are_read_back_from_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run(changed(hnn_plan(), epochs=2, batch=10), tmp_path / "run", sets=SETS, log=["tensorboard"])
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    losses = [(event.step, event.value) for event in found.Scalars("validation_loss")]
    assert losses == [(row["step"], pytest.approx(row["validation_loss"])) for row in result.history]


@pytest.mark.filterwarnings("ignore")
def test_rows_are_read_back_from_mlflow(tmp_path: Path, monkeypatch: Any) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    plan = changed(hnn_plan(), epochs=2, batch=10)
    results = [run(plan, tmp_path / "runs" / name, sets=SETS, log=["mlflow"]) for name in ("1", "2")]
    client = mlflow.tracking.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string=f"name = '{plan.name}'")
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["runs/1", "runs/2"]
    for result, one in zip(results, (runs["runs/1"], runs["runs/2"]), strict=True):
        assert one.info.status == "FINISHED"
        losses = [(m.step, m.value) for m in client.get_metric_history(one.info.run_id, "validation_loss")]
        assert losses == [(row["step"], row["validation_loss"]) for row in result.history]


@pytest.mark.filterwarnings("ignore")
def test_every_run_is_one_of_wandb(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    plan = changed(hnn_plan(), epochs=1, batch=10)
    for name in ("1", "2"):
        run(plan, tmp_path / name, sets=SETS, log=["wandb"])
        (written,) = (tmp_path / name / "wandb").glob("offline-run-*/*.wandb")
        assert written.stat().st_size > 1000


def kinds(plan: Plan, count: int, seed: int = 0) -> list[Frame]:
    """Morse frames, every other of which is called hot."""
    return [
        frame_from_atoms(
            frame.to_atoms(),
            plan,
            source=frame.source,
            labels=frame.labels,
            config_type=("cold", "hot")[k % 2],
        )
        for k, frame in enumerate(morse_frames(plan, count, seed))
    ]


def test_errors_by_species_and_kind_add_up(tmp_path: Path) -> None:
    plan = small_mace(epochs=1)
    run(plan, tmp_path / "run", sets={"train": kinds(plan, 6), "test": kinds(plan, 5, 1)})
    saved = json.loads((tmp_path / "run" / "metrics.json").read_text())
    whole, parts = saved["metrics"]["test"], saved["parts"]["test"]
    for table, target, error in (("species", "forces", "rmse"), ("config_type", "forces", "rmse")):
        rows = parts[table][target].values()
        square = sum(row["count"] * row[error] ** 2 for row in rows) / sum(row["count"] for row in rows)
        assert square == pytest.approx(whole[target]["rmse"] ** 2, rel=1e-10)
    energies = parts["config_type"]["energy"].values()
    mean = sum(row["count"] * row["mae"] for row in energies) / 5
    assert mean == pytest.approx(whole["energy"]["mae_per_atom"], rel=1e-10)
    assert set(parts["species"]["forces"]) == {"H", "O"}
    assert "energy" not in parts["species"]


def test_the_history_shows_how_far_a_symmetry_is_broken(tmp_path: Path) -> None:
    loose = mace_plan(
        channels=4, lmax=1, correlation=2, layers=1, species=("H", "O"), stress=False, mode=("relaxed", 0.5)
    )
    plan = changed(loose, epochs=2, batch=4)
    frames = morse_frames(plan, 4)
    result = run(plan, tmp_path / "run", sets={"train": frames, "validation": morse_frames(plan, 3, 1)})
    errors = [row["symmetry_SO(3)"] for row in result.history]
    assert all(1e-3 < error < 10 for error in errors)
    hard = small_mace()
    batch = samples_of(frames, torch.device("cpu"), "a").batch(np.arange(3))
    from equic.runtime.build import build_module

    watch = SymmetryWatch(build_module(hard, seed=0, dtype=torch.float64), batch)
    assert watch.errors() == {}  # proven: nothing to look at
    watch.factors = ["SO(3)", "inversion"]
    assert all(error < 1e-10 for error in watch.errors().values())
