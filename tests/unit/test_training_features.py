"""Forms and weights of the loss, warm-up, batches by size, accumulation, optimisers: formulas and resuming."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.data import Frame, frame_from_atoms
from equic.runtime.plan import Plan
from equic.runtime.recompute import Recomputed
from equic.runtime.testing.plans import hnn_plan, mlp_plan
from equic.runtime.testing.training import changed, morse_frames, pendulum, same, small_mace, weights_of
from equic.runtime.training import TrainingError, evaluate, loss_terms, train
from equic.runtime.training.batches import TrainingStream, evaluation_batches, samples_of
from equic.runtime.training.losses import LossTerm, penalty, term_losses
from equic.runtime.training.metrics import weighted_loss
from equic.runtime.training.optimizers import build_optimizers
from equic.runtime.training.orders import PackedOrder
from equic.runtime.training.schedule import Schedule
from hypothesis import given, settings
from hypothesis import strategies as st

CPU = torch.device("cpu")


def run(plan: Plan, directory: Path, **options: Any) -> Any:
    return train(plan, directory=directory, device="cpu", progress=False, **options)


def frames_of_sizes(plan: Plan, count: int, seed: int = 0) -> list[Frame]:
    """Morse clusters of two to four atoms; the labels of the smaller ones are made up."""
    rng = np.random.default_rng(seed)
    made = []
    for number, frame in enumerate(morse_frames(plan, count, seed)):
        atoms = frame.to_atoms()[: 2 + number % 3]
        labels = {"energy": np.array(-25.0 * len(atoms)), "forces": rng.normal(size=(len(atoms), 3))}
        made.append(frame_from_atoms(atoms, plan, source=f"sizes.xyz:{number}", labels=labels))
    return made


def term(form: str, delta: float | None = None, per_atom: bool = False) -> LossTerm:
    return LossTerm("energy", 1.0, per_atom, form, delta)


def test_penalties_are_those_of_torch() -> None:
    error = torch.linspace(-3, 3, 101, dtype=torch.float64)
    zero = torch.zeros_like(error)
    nn = torch.nn.functional
    torch.testing.assert_close(penalty(term("l1"), error), nn.l1_loss(error, zero, reduction="none"))
    ours = penalty(term("huber", 0.7), error)
    torch.testing.assert_close(ours, 2 * nn.huber_loss(error, zero, reduction="none", delta=0.7))
    with pytest.raises(TrainingError, match="unknown form"):
        penalty(term("log"), error)


def test_the_validation_loss_is_the_training_loss_of_the_whole_set() -> None:
    loss = {
        "energy": {"weight": 2.0, "per_atom": True, "form": "huber", "delta": 0.05},
        "forces": {"weight": {"from": 3.0, "to": 30.0, "at": 0.5}, "per_atom": False, "form": "l1"},
    }
    plan = small_mace(loss=loss)
    terms = loss_terms(plan)
    frames = frames_of_sizes(plan, 6)
    model = build_module(plan, seed=1, dtype=torch.float64)
    samples = samples_of(frames, CPU, "test")
    metrics = evaluate(model, evaluation_batches(samples, 2), ["energy", "forces"], terms)
    whole = samples.batch(np.arange(6))
    parts = term_losses(terms, model(whole.inputs), whole.labels, whole.atoms)
    for progress, forces in ((0.2, 3.0), (0.5, 30.0)):
        expected = 2.0 * float(parts[0]) + forces * float(parts[1])
        assert weighted_loss(terms, metrics, progress) == pytest.approx(expected, rel=1e-12)


def test_warm_up_rises_and_then_the_schedule_falls() -> None:
    schedule = Schedule("cosine", 100, warmup=10)
    assert [schedule.factor(step) for step in (0, 4)] == pytest.approx(
        [0.1, 0.5 * 0.5 * (1 + math.cos(0.04 * math.pi))]
    )
    assert schedule.factor(50) == Schedule("cosine", 100).factor(50)


def test_the_history_shows_the_warm_up(tmp_path: Path) -> None:
    plan = changed(
        mlp_plan(hidden=(4,)), epochs=4, batch=5, warmup=2.0, schedule="constant", learning_rate=0.1
    )
    result = run(plan, tmp_path / "run", sets={"train": pendulum(10)})
    assert [row["rate"] for row in result.history] == pytest.approx([0.05, 0.1, 0.1, 0.1])


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=80),
    limit=st.integers(30, 90),
    seed=st.integers(0, 3),
)
def test_packed_batches_are_full_passes_within_the_limit(sizes: list[int], limit: int, seed: int) -> None:
    order = PackedOrder(sizes, limit, seed)
    seen: list[int] = []
    step = 0
    while len(seen) < 2 * len(sizes):
        batch = order.take(step)
        assert sum(sizes[sample] for sample in batch) <= limit
        seen += batch.tolist()
        step += 1
    for part in (seen[: len(sizes)], seen[len(sizes) :]):
        assert sorted(part) == list(range(len(sizes)))
    # an order that starts in the middle knows nothing of what came before
    late = PackedOrder(sizes, limit, seed)
    np.testing.assert_array_equal(late.take(step - 1), order.take(step - 1))
    assert order.steps(order.epochs(step)) == step


def test_packed_batches_hold_structures_of_similar_size() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 100, 500)
    order = PackedOrder(sizes, 400, 0)
    batches = [order.take(step) for step in range(int(order.per_epoch))]
    spread = np.mean([np.ptp(sizes[batch]) for batch in batches])
    assert spread < 25  # at random it would be about 90
    assert np.mean([sizes[batch].sum() for batch in batches]) > 0.85 * 400


def test_a_structure_above_the_limit_is_named() -> None:
    plan = small_mace()
    samples = samples_of(frames_of_sizes(plan, 6), CPU, "train")
    with pytest.raises(TrainingError, match=r"sizes\.xyz:2 has 4 atoms, and a batch at most 3"):
        TrainingStream(samples, {"atoms": 3}, 0, lambda: 0)
    with pytest.raises(TrainingError, match="states have no edges"):
        TrainingStream(samples_of(pendulum(4), CPU, "train"), {"edges": 3}, 0, lambda: 0)


def test_a_batch_in_parts_takes_the_same_steps(tmp_path: Path) -> None:
    plan = small_mace(epochs=3, batch=5, optimizer="adam")
    sets = {"train": frames_of_sizes(plan, 10)}
    whole = run(plan, tmp_path / "whole", sets=sets)
    parts = run(changed(plan, accumulate=3), tmp_path / "parts", sets=sets)
    for a, b in zip(weights_of(whole.model), weights_of(parts.model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    assert parts.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=1e-9)


def test_values_that_are_computed_again_give_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    run_block = Recomputed.run
    monkeypatch.setattr(Recomputed, "run", lambda *given: (calls.append(1), run_block(*given))[1])
    plan = small_mace(epochs=3, batch=5, optimizer="adam", precision="float64")
    sets = {"train": frames_of_sizes(plan, 10)}
    kept = run(plan, tmp_path / "kept", sets=sets)
    assert not calls
    again = run(changed(plan, activation_checkpointing=True), tmp_path / "again", sets=sets)
    assert calls
    for a, b in zip(weights_of(kept.model), weights_of(again.model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert again.history[-1]["loss"] == pytest.approx(kept.history[-1]["loss"], rel=1e-9)


def test_a_stage_of_the_loss_has_its_own_best(tmp_path: Path) -> None:
    weight = {"from": 0.001, "to": 1000.0, "at": 0.5}
    loss = {"derivatives": {"weight": weight, "per_atom": False}}
    plan = changed(hnn_plan(), epochs=6, batch=20, loss=loss, ema=None)
    result = run(plan, tmp_path / "run", sets={"train": pendulum(40), "validation": pendulum(20, 1)})
    losses = [row["validation_loss"] for row in result.history]
    squares = [row["validation_derivatives_rmse"] ** 2 for row in result.history]
    # the last step of the third round is the last one before the half
    ratios = np.array(losses) / np.array(squares)
    np.testing.assert_allclose(ratios, [0.001] * 3 + [1000.0] * 3, rtol=1e-9)
    assert result.metrics["validation"]["derivatives"]["rmse"] ** 2 == pytest.approx(
        min(squares[3:]), rel=1e-9
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"batch": {"atoms": 9}, "warmup": 1.5, "ema": 0.9},
        {"batch": {"edges": 20}, "optimizer": "muon"},
        {"batch": 4, "accumulate": 2, "schedule": "plateau"},
        {"batch": 4, "optimizer": "schedule_free", "schedule": "constant", "warmup": 1.0},
        {"batch": 4, "precision": "mixed", "ema": 0.9},
    ],
    ids=["atoms", "edges", "parts", "schedule-free", "mixed"],
)
@pytest.mark.parametrize("step", [5, 9])
def test_every_feature_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], step: int
) -> None:
    if settings.get("optimizer") == "schedule_free":
        pytest.importorskip("schedulefree")
    loss = {
        "energy": {
            "weight": {"from": 1.0, "to": 20.0, "at": 0.6},
            "per_atom": True,
            "form": "huber",
            "delta": 0.1,
        },
        "forces": {"weight": 10.0, "per_atom": False},
    }
    plan = small_mace(epochs=4, loss=loss, **settings)
    sets = {"train": frames_of_sizes(plan, 12), "validation": frames_of_sizes(plan, 3, 1)}
    whole = run(plan, tmp_path / "whole", sets=sets)
    order = TrainingStream.order

    def order_and_stop(self: TrainingStream, at: int) -> np.ndarray:
        if at == step:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        return order(self, at)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStream, "order", order_and_stop)
        assert run(plan, tmp_path / "part", sets=sets).interrupted
    resumed = run(plan, tmp_path / "part", sets=sets, resume=True)
    assert same(weights_of(whole.model), weights_of(resumed.model))
    assert resumed.artifact.read_bytes() == whole.artifact.read_bytes()


def test_muon_takes_the_matrices_and_adamw_the_rest() -> None:
    model = build_module(mlp_plan(hidden=(16, 16)), seed=0)
    plan = changed(mlp_plan(hidden=(16, 16)), optimizer="muon")
    muon, adamw = build_optimizers(model, plan.train or {})
    assert [tuple(w.shape) for group in muon.param_groups for w in group["params"]] == [(16, 16)]
    count = sum(len(group["params"]) for one in (muon, adamw) for group in one.param_groups)
    assert count == len(list(model.parameters()))


def test_muon_learns(tmp_path: Path) -> None:
    plan = changed(mlp_plan(hidden=(16, 16)), epochs=60, batch=50, optimizer="muon", learning_rate=0.01)
    result = run(plan, tmp_path / "run", sets={"train": pendulum(200)})
    assert result.history[-1]["loss"] < 0.05 * result.history[0]["loss"]


SCHEDULE_FREE = {"optimizer": "schedule_free", "schedule": "constant", "learning_rate": 0.01}


def test_schedule_free_takes_the_steps_of_its_authors_and_the_model_is_the_average(tmp_path: Path) -> None:
    """Their loop: steps in training mode, validation and the end in evaluation mode."""
    schedulefree = pytest.importorskip("schedulefree")
    plan = changed(mlp_plan(hidden=(8,)), epochs=3, batch=10, clip=None, precision="float64", **SCHEDULE_FREE)
    states = pendulum(40)
    result = run(plan, tmp_path / "run", sets={"train": states})
    model = build_module(plan, seed=plan.train["seed"], dtype=torch.float64)
    optimizer = schedulefree.AdamWScheduleFree(model.parameters(), lr=0.01)
    stream = iter(TrainingStream(samples_of(states, CPU, "train"), 10, plan.train["seed"], lambda: 0))
    optimizer.train()
    for _ in range(12):
        (batch,) = next(stream)
        optimizer.zero_grad()
        outputs = model(batch.inputs, create_graph=True)
        term_losses(loss_terms(plan), outputs, batch.labels, batch.atoms).sum().backward()
        optimizer.step()
    trained = weights_of(model)
    optimizer.eval()
    ours, averaged = weights_of(result.model), weights_of(model)
    for one, other in zip(ours, averaged, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert not same(trained, averaged)


def test_validation_leaves_a_schedule_free_run_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("schedulefree")
    plan = changed(mlp_plan(hidden=(8,)), epochs=4, batch=10, **SCHEDULE_FREE)
    alone = run(plan, tmp_path / "alone", sets={"train": pendulum(40)})
    both = run(plan, tmp_path / "both", sets={"train": pendulum(40), "validation": pendulum(10)})
    assert [row["loss"] for row in alone.history] == [row["loss"] for row in both.history]
    assert both.history[-1]["validation_loss"] < both.history[0]["validation_loss"]


def test_a_missing_optimizer_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "schedulefree", None)
    plan = changed(mlp_plan(hidden=(8,)), epochs=1, **SCHEDULE_FREE)
    with pytest.raises(TrainingError, match=r"needs the package schedulefree[\s\S]*equic\[schedule-free\]"):
        run(plan, tmp_path / "run", sets={"train": pendulum(10)})


def test_mixed_precision_is_bfloat16_in_steps_and_float32_in_what_is_kept(tmp_path: Path) -> None:
    from equic.runtime.artifact import load_artifact
    from equic.runtime.training.module import TrainingModule
    from equic.runtime.training.watch import LossWatch

    plans = {name: small_mace(epochs=8, batch=4, precision=name) for name in ("float32", "mixed")}
    sets = {"train": morse_frames(plans["mixed"], 12), "validation": morse_frames(plans["mixed"], 3, 1)}
    stream = TrainingStream(samples_of(sets["train"], CPU, "train"), 4, 0, lambda: 0)
    gradients = {}
    for name, plan in plans.items():
        model = build_module(plan, seed=0, kernels="reference")
        terms = loss_terms(plan)
        watch = LossWatch(("loss", *(term.target for term in terms)), str, CPU)
        module = TrainingModule(model, terms, Schedule("constant", total=1), watch)
        module.losses(next(iter(stream)))
        gradients[name] = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
        assert gradients[name].dtype == torch.float32
    change = (gradients["mixed"] - gradients["float32"]).norm() / gradients["float32"].norm()
    assert 1e-4 < change < 0.1  # the eight bits of bfloat16

    results = {name: run(plan, tmp_path / name, sets=sets) for name, plan in plans.items()}
    assert results["mixed"].history[-1]["loss"] < 0.5 * results["mixed"].history[0]["loss"]
    assert results["mixed"].history[-1]["loss"] < 1.5 * results["float32"].history[-1]["loss"]
    # what is validated is what is shipped: the file, computing in float32 with its kernels, has the same errors
    kept = load_artifact(results["mixed"].artifact, device="cpu").model
    assert kept.dtype == torch.float32
    batches = evaluation_batches(samples_of(sets["validation"], CPU, "validation"), 4)
    errors = evaluate(kept, batches, ["energy", "forces"])
    found = results["mixed"].metrics["validation"]["forces"]["rmse"]
    assert errors["forces"]["rmse"] == pytest.approx(found, rel=1e-4)


def test_mixed_precision_refuses_a_model_with_kernels(tmp_path: Path) -> None:
    plan = small_mace(epochs=1, precision="mixed")
    with pytest.raises(TrainingError, match="layers as they are written"):
        run(plan, tmp_path / "run", sets={"train": morse_frames(plan, 4)}, model=build_module(plan, seed=0))
