"""Whole training runs: against a bare loop, interrupted, on a budget, with alarms."""

import csv
import importlib
import io
import json
import math
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from equic.runtime.artifact import load_artifact
from equic.runtime.build import build_module
from equic.runtime.data import compute_statistics, frame_from_atoms
from equic.runtime.plan import Plan
from equic.runtime.testing.plans import hnn_plan, mlp_plan
from equic.runtime.testing.training import changed, morse_frames, pendulum, same, small_mace, weights_of
from equic.runtime.training import TrainingError, budget, evaluate, train
from equic.runtime.training.batches import TrainingStream, evaluation_batches, samples_of
from equic.runtime.training.optimizers import parameter_groups
from rich.console import Console

CPU = torch.device("cpu")


def run(plan: Plan, directory: Path, **options: Any) -> Any:
    return train(plan, directory=directory, device="cpu", progress=False, **options)


def test_training_is_the_bare_loop(tmp_path: Path) -> None:
    """Every part of a run at once, against twenty lines of plain torch with the same seed."""
    plan = small_mace(
        epochs=4, batch=3, ema=0.9, schedule="cosine", clip=0.5, optimizer="adamw", weight_decay=0.1
    )
    frames = morse_frames(plan, 8)
    result = run(plan, tmp_path / "run", sets={"train": frames})

    model = build_module(plan, seed=1, dtype=torch.float64)
    model.set_statistics(compute_statistics(plan, frames))
    decayed, free = parameter_groups(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": free, "weight_decay": 0.0}]
    )
    samples = samples_of(frames, CPU, "train")
    stream = TrainingStream(samples, 3, 1, start=lambda: 0)
    total = math.ceil(4 * 8 / 3)
    average = weights_of(model)
    for step in range(total):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * step / total))
        batch = samples.batch(stream.order(step))
        outputs = model(batch.inputs, create_graph=True)
        energy = ((batch.labels["energy"] - outputs["energy"]) / 4).square().mean()
        loss = energy + 10.0 * (batch.labels["forces"] - outputs["forces"]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        decay = min(0.9, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights_of(model), strict=True)]
    for found, expected in zip(weights_of(result.model), average, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert result.history[-1]["step"] == total


def test_four_frames_are_learned_by_heart(tmp_path: Path) -> None:
    loss = {name: {"weight": 1.0, "per_atom": name == "energy"} for name in ("energy", "forces")}
    plan = small_mace(epochs=150, batch=4, learning_rate=0.05, schedule="cosine", loss=loss)
    frames = morse_frames(plan, 4)
    result = run(plan, tmp_path / "run", sets={"train": frames})
    untrained = build_module(plan, seed=1, dtype=torch.float64)
    untrained.set_statistics(compute_statistics(plan, frames))
    start = evaluate(untrained, evaluation_batches(samples_of(frames, CPU, "t"), 4), ["forces"])
    assert result.metrics["train"]["forces"]["rmse"] < 0.1 * start["forces"]["rmse"]
    assert result.metrics["train"]["energy"]["mae_per_atom"] < 0.01
    losses = [row["loss"] for row in result.history]
    assert losses[-1] < 0.01 * losses[0]


def test_float32_trains_too(tmp_path: Path) -> None:
    plan = small_mace(epochs=3, precision="float32", ema=0.9, optimizer="amsgrad")
    result = run(
        plan, tmp_path / "run", sets={"train": morse_frames(plan, 6), "validation": morse_frames(plan, 3, 5)}
    )
    assert result.model.dtype == torch.float32
    assert load_artifact(result.artifact).manifest["dtype"] == "float32"
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_the_pendulum_field_is_learned(tmp_path: Path) -> None:
    plan = changed(mlp_plan(), epochs=200, batch=100, schedule="cosine", precision="float32", clip=None)
    sets = {"train": pendulum(300), "validation": pendulum(100, 1), "test": pendulum(200, 2)}
    result = run(plan, tmp_path / "run", sets=sets)
    assert result.metrics["test"]["derivatives"]["rmse"] < 0.04  # the field itself has RMS 0.8
    assert set(result.metrics) == {"train", "validation", "test"}


def test_a_seed_gives_the_same_file(tmp_path: Path) -> None:
    plan = small_mace(epochs=2, batch=2)
    sets = {"train": morse_frames(plan, 5), "validation": morse_frames(plan, 2, 3)}
    torch.manual_seed(123)
    first = run(plan, tmp_path / "1", sets=sets)
    torch.manual_seed(456)
    random_state = torch.get_rng_state()
    second = run(plan, tmp_path / "2", sets=sets)
    third = run(plan, tmp_path / "3", sets=sets, seed=2)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert first.artifact.read_bytes() == second.artifact.read_bytes()
    assert not same(weights_of(first.model), weights_of(third.model))


def test_the_best_validated_average_is_the_final_model(tmp_path: Path) -> None:
    # a rate far too high at the end of a run that was good before
    plan = changed(hnn_plan(), epochs=60, batch=10, learning_rate=0.05, ema=0.9)
    result = run(plan, tmp_path / "run", sets={"train": pendulum(40), "validation": pendulum(40, 1)})
    losses = [row["validation_loss"] for row in result.history]
    final = result.metrics["validation"]["derivatives"]["rmse"] ** 2
    assert final == pytest.approx(min(losses), rel=1e-9)
    saved = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert saved["best"]["validation_loss"] == min(losses)
    assert saved["best"]["step"] == result.history[int(np.argmin(losses))]["step"]


def test_patience_ends_a_run(tmp_path: Path) -> None:
    plan = changed(hnn_plan(), epochs=400, batch=40, learning_rate=0.0, patience=5)
    result = run(plan, tmp_path / "run", sets={"train": pendulum(40), "validation": pendulum(40, 1)})
    assert len(result.history) == 6
    assert result.artifact is not None


def test_many_epochs_share_a_row(tmp_path: Path) -> None:
    plan = changed(mlp_plan(hidden=(4,)), epochs=1100, batch=8)
    result = run(plan, tmp_path / "run", sets={"train": pendulum(8)})
    assert len(result.history) == 500
    assert result.history[-1]["epoch"] == 1100


def interrupted_at(step: int, monkeypatch: pytest.MonkeyPatch, signum: int = signal.SIGINT) -> None:
    """Send this process a signal when the batch of `step` is made."""
    order = TrainingStream.order

    def order_and_interrupt(self: TrainingStream, at: int) -> np.ndarray:
        if at == step:
            os.kill(os.getpid(), signum)
        return order(self, at)

    monkeypatch.setattr(TrainingStream, "order", order_and_interrupt)


@pytest.mark.parametrize("step", [8, 9, 12])  # 4 steps an epoch; batches are made one step ahead
def test_an_interrupted_run_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    plan = small_mace(epochs=5, batch=2, ema=0.95, schedule="plateau", optimizer="amsgrad")
    sets = {"train": morse_frames(plan, 8), "validation": morse_frames(plan, 3, 1)}
    whole = run(plan, tmp_path / "whole", sets=sets)
    with monkeypatch.context() as patch:
        interrupted_at(step, patch)
        part = run(plan, tmp_path / "part", sets=sets)
    assert part.interrupted
    assert part.artifact is None
    assert 0 < len(part.history) < 5
    resumed = run(plan, tmp_path / "part", sets=sets, resume=True)
    assert not resumed.interrupted
    assert same(weights_of(whole.model), weights_of(resumed.model))
    assert resumed.artifact.read_bytes() == whole.artifact.read_bytes()
    for a, b in zip(whole.history, resumed.history, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {
            k: v for k, v in b.items() if k != "seconds"
        }
    again = run(plan, tmp_path / "part", sets=sets, resume=True)  # a finished run only measures itself again
    assert again.artifact.read_bytes() == whole.artifact.read_bytes()


def test_a_polite_kill_leaves_a_resumable_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = changed(hnn_plan(), epochs=6, batch=10)
    sets = {"train": pendulum(40), "validation": pendulum(10, 1)}
    whole = run(plan, tmp_path / "whole", sets=sets)
    with monkeypatch.context() as patch:
        interrupted_at(7, patch, signal.SIGTERM)
        assert run(plan, tmp_path / "part", sets=sets).interrupted
    resumed = run(plan, tmp_path / "part", sets=sets, resume=True)
    assert same(weights_of(whole.model), weights_of(resumed.model))


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path: Path) -> None:
    plan = changed(hnn_plan(), epochs=1, batch=10)
    before = signal.getsignal(signal.SIGINT)
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(run(plan, tmp_path / "r", sets={"train": pendulum(10)}))
    )
    thread.start()
    thread.join()
    assert results[0].artifact.exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_folders_are_never_overwritten(tmp_path: Path) -> None:
    plan = changed(hnn_plan(), epochs=1)
    sets = {"train": pendulum(10)}
    run(plan, tmp_path / "run", sets=sets)
    with pytest.raises(TrainingError, match="already holds a run"):
        run(plan, tmp_path / "run", sets=sets)
    with pytest.raises(TrainingError, match="another spec"):
        run(changed(plan, seed=5), tmp_path / "run", sets=sets, resume=True)
    with pytest.raises(TrainingError, match="no run that could be resumed"):
        run(plan, tmp_path / "other", sets=sets, resume=True)
    (tmp_path / "run" / "last.ckpt").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match=r"last\.ckpt cannot be read"):
        run(plan, tmp_path / "run", sets=sets, resume=True)


def test_nan_labels_stop_the_run_and_are_named(tmp_path: Path) -> None:
    plan = small_mace(epochs=2, batch=2)
    frames = morse_frames(plan, 6)
    frames[3].labels["forces"][0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"the loss of `forces` is nan; its batch is .*morse\.xyz:3"):
        run(plan, tmp_path / "run", sets={"train": frames})
    good = morse_frames(plan, 6)
    with pytest.raises(TrainingError, match="validation loss is nan"):
        run(plan, tmp_path / "2", sets={"train": good, "validation": frames})


def test_sets_must_fit_the_loss(tmp_path: Path) -> None:
    plan = small_mace()
    frames = morse_frames(plan, 2)
    with pytest.raises(TrainingError, match="no set `train`"):
        run(plan, tmp_path / "1", sets={"validation": frames})
    with pytest.raises(TrainingError, match="`train` is empty"):
        run(plan, tmp_path / "2", sets={"train": []})
    only_energy = [
        frame_from_atoms(frame.to_atoms(), plan, source="x", labels={"energy": frame.labels["energy"]})
        for frame in frames
    ]
    other = [frame_from_atoms(frame.to_atoms(), plan, source="x") for frame in frames]
    with pytest.raises(TrainingError, match="validation set has no labels for energy, forces"):
        run(plan, tmp_path / "4", sets={"train": frames, "validation": other})
    with pytest.raises(TrainingError, match=r"(?s)`forces`, but the training set.*for: energy"):
        run(plan, tmp_path / "3", sets={"train": only_energy})


@pytest.fixture
def processor_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets are of the processor's time: other work on the machine takes none of it. Lightning is imported before,
    which may take longer than they are."""
    importlib.import_module("equic.runtime.training.fit")
    for name in ("budget", "rounds", "run"):
        module = importlib.import_module(f"equic.runtime.training.{name}")
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.process_time))


@pytest.mark.usefixtures("processor_clock")
def test_a_budget_is_kept_and_the_cosine_ends_in_it(tmp_path: Path) -> None:
    plan = changed(hnn_plan(), epochs=3, batch=50, schedule="cosine")
    sets = {"train": pendulum(500), "validation": pendulum(100, 1)}
    result = run(plan, tmp_path / "run", sets=sets, minutes=3 / 60)
    assert 1.0 < result.seconds < 4.5
    assert result.history[-1]["epoch"] > 10
    assert result.history[-1]["rate"] < 0.01 * result.history[0]["rate"]


@pytest.mark.parametrize(
    ("first", "expected", "calls"), [(5.0, 0.25, 2), (0.25, 0.25, 5), (20.0, 20.0, 1)], ids=str
)
def test_a_first_call_that_compiles_is_not_taken_for_the_pace(
    first: float, expected: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one second; a call of twenty leaves no time for another."""
    now = [0.0]
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: now[0]))
    seen: list[int] = []

    def work(batch: int) -> None:
        now[0] += 0.25 if seen else first
        seen.append(batch)

    assert budget.measured(work, [3, 4], 1.0) == expected
    assert len(seen) == calls


@pytest.mark.usefixtures("processor_clock")
def test_a_budget_shorter_than_an_epoch(tmp_path: Path) -> None:
    plan = small_mace(batch=1, schedule="cosine")
    frames = morse_frames(plan, 10) * 100
    result = run(plan, tmp_path / "run", sets={"train": frames, "validation": frames[:5]}, minutes=1 / 60)
    assert result.seconds < 3.0
    assert result.history[-1]["epoch"] < 1
    assert len(result.history) >= 2
    assert result.metrics["train"]


@pytest.mark.usefixtures("processor_clock")
def test_an_interrupted_budget_is_not_spent_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = changed(hnn_plan(), batch=10, schedule="cosine", ema=0.9)
    sets = {"train": pendulum(50), "validation": pendulum(20, 1)}
    with monkeypatch.context() as patch:
        interrupted_at(100, patch)
        part = run(plan, tmp_path / "run", sets=sets, minutes=2 / 60)
    assert part.interrupted
    resumed = run(plan, tmp_path / "run", sets=sets, resume=True)
    assert part.seconds + resumed.seconds < 2.5
    assert resumed.history[-1]["step"] > 100
    assert resumed.history[-1]["rate"] < 0.01 * resumed.history[0]["rate"]


def test_an_artifact_trains_further(tmp_path: Path) -> None:
    plan = changed(hnn_plan(), epochs=5, batch=20)
    sets = {"train": pendulum(60), "validation": pendulum(20, 1)}
    first = run(plan, tmp_path / "1", sets=sets, spec_text="equic: 1\n")
    loaded = load_artifact(first.artifact)
    assert loaded.spec_text == "equic: 1\n"
    assert loaded.manifest["training"]["metrics"] == first.metrics
    second = run(loaded.plan, tmp_path / "2", sets=sets, model=loaded.model)
    assert second.history[0]["validation_loss"] < first.history[0]["validation_loss"]
    assert (
        second.metrics["validation"]["derivatives"]["rmse"]
        < first.metrics["validation"]["derivatives"]["rmse"]
    )


def test_an_observer_sees_every_row_and_may_end_the_run(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    seen: list[dict[str, Any]] = []

    def observe(row: dict[str, Any]) -> None:
        seen.append(row)
        if len(seen) == 3:
            raise Enough

    plan = changed(hnn_plan(), epochs=10, batch=20)
    with pytest.raises(Enough):
        run(
            plan,
            tmp_path / "run",
            sets={"train": pendulum(40), "validation": pendulum(20, 1)},
            observer=observe,
        )
    assert [row["epoch"] for row in seen] == [1, 2, 3]
    assert {"loss", "loss_derivatives", "validation_loss", "validation_derivatives_rmse", "rate"} <= seen[
        0
    ].keys()


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    plan = changed(hnn_plan(), epochs=2, batch=5)
    train(plan, directory=tmp_path / "run", device="cpu", sets={"train": pendulum(10)}, console=console)
    assert "step" in text.getvalue()
    assert "training RMSE" in text.getvalue()


def test_what_a_run_prints_and_writes(tmp_path: Path) -> None:
    plan = small_mace(epochs=60, batch=4)
    text = io.StringIO()
    frames = morse_frames(plan, 4)
    result = train(
        plan,
        directory=tmp_path / "run",
        device="cpu",
        sets={"train": frames, "validation": frames},
        console=Console(file=text, width=120),
    )
    lines = text.getvalue().splitlines()
    assert len(lines) < 40
    assert "validation RMSE" in lines[0] or "validation RMSE" in lines[1]
    assert "meV/atom" in text.getvalue()
    assert str(tmp_path / "run") in lines[-1]
    assert "\x1b" not in text.getvalue()
    with open(tmp_path / "run" / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.history) == 60
    assert float(rows[-1]["validation_forces_rmse"]) == result.history[-1]["validation_forces_rmse"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "history.csv",
        "last.ckpt",
        "metrics.json",
        "model.equic",
        "plan.json",
        "run.json",
    ]
