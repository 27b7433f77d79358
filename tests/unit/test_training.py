"""The parts of training against their formulas."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from equic.runtime.build import build_module
from equic.runtime.data import frame_from_atoms
from equic.runtime.plan import Plan
from equic.runtime.testing.plans import hnn_plan, mace_plan
from equic.runtime.testing.training import morse_frames, pendulum, small_mace
from equic.runtime.training import TrainingError, evaluate, loss_terms, new_run_directory
from equic.runtime.training.average import Average
from equic.runtime.training.batches import TrainingStream, evaluation_batches, samples_of
from equic.runtime.training.losses import LossTerm, term_losses
from equic.runtime.training.metrics import weighted_loss
from equic.runtime.training.optimizers import parameter_groups
from equic.runtime.training.schedule import PLATEAU_PATIENCE, Schedule
from equic.runtime.training.watch import LossWatch
from hypothesis import given, settings
from hypothesis import strategies as st

CPU = torch.device("cpu")


def test_lightning_is_only_imported_to_train() -> None:
    code = (
        "import sys, equic.runtime.training, equic.runtime.artifact, equic.runtime.predict; "
        "sys.exit('lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


def test_loss_terms_are_mean_squared_errors() -> None:
    rng = np.random.default_rng(0)
    atoms = np.array([2.0, 5.0])
    values = {
        "energy": rng.normal(size=2) + 1e4,
        "forces": rng.normal(size=(7, 3)),
        "stress": rng.normal(size=(2, 3, 3)),
    }
    labels = {name: value + rng.normal(size=value.shape) for name, value in values.items()}
    terms = (LossTerm("energy", 2.0, True), LossTerm("forces", 3.0, False), LossTerm("stress", 1.0, False))
    found = term_losses(
        terms,
        {name: torch.tensor(value) for name, value in values.items()},
        {name: torch.tensor(value) for name, value in labels.items()},
        torch.tensor(atoms),
    )
    expected = [
        np.mean(((labels["energy"] - values["energy"]) / atoms) ** 2),
        sum(((labels["forces"] - values["forces"]) ** 2).ravel()) / 21,
        sum(((labels["stress"] - values["stress"]) ** 2).ravel()) / 18,
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)
    assert found.dtype == torch.float64


def test_energies_are_subtracted_in_float64() -> None:
    terms = (LossTerm("energy", 1.0, True),)
    label = torch.tensor([1e5 + 1e-6], dtype=torch.float64)
    output = torch.tensor([1e5], dtype=torch.float64)
    loss = term_losses(terms, {"energy": output}, {"energy": label}, torch.ones(1, dtype=torch.float64))
    assert float(loss) == pytest.approx(1e-12, rel=1e-4)


def test_loss_terms_of_a_plan() -> None:
    assert [t.target for t in loss_terms(small_mace())] == ["energy", "forces"]
    none = {"energy": {"weight": 0.0, "per_atom": True}}
    with pytest.raises(TrainingError, match="no terms"):
        loss_terms(small_mace(loss=none))
    with pytest.raises(TrainingError, match=r"(?s)`dipole`.*energy, forces"):
        loss_terms(small_mace(loss={"dipole": {"weight": 1.0, "per_atom": False}}))
    untrained = Plan.from_json(hnn_plan().to_json() | {"train": None})
    with pytest.raises(TrainingError, match="does not say how to train"):
        loss_terms(untrained)


def test_metrics_match_numpy_whatever_the_batches() -> None:
    plan = small_mace()
    frames = morse_frames(plan, 7) + [
        frame_from_atoms(
            Atoms("HO", [[0, 0, 0], [1, 0, 0]]),
            plan,
            source="pair",
            labels={"energy": np.array(-50.0), "forces": np.zeros((2, 3))},
        )
    ]
    model = build_module(plan, seed=1, dtype=torch.float64)
    samples = samples_of(frames, CPU, "test")
    found = evaluate(model, evaluation_batches(samples, 3), ["energy", "forces", "stress"])
    errors, per_atom, components = [], [], []
    for frame in frames:
        batch = samples_of([frame], CPU, "one").batch(np.array([0]))
        outputs = model(batch.inputs)
        errors.append(float(outputs["energy"][0]) - float(frame.labels["energy"]))
        per_atom.append(errors[-1] / len(frame))
        components.extend((outputs["forces"].numpy() - frame.labels["forces"]).ravel())
    for values, row, suffix in (
        (errors, found["energy"], ""),
        (per_atom, found["energy"], "_per_atom"),
        (components, found["forces"], ""),
    ):
        assert row[f"mae{suffix}"] == pytest.approx(np.mean(np.abs(values)), rel=1e-10)
        assert row[f"rmse{suffix}"] == pytest.approx(np.sqrt(np.mean(np.square(values))), rel=1e-10)
    assert "stress" not in found
    one_by_one = [samples.batch(np.array([i])) for i in range(len(frames))]
    again = evaluate(model, one_by_one, ["energy", "forces"])
    assert again["forces"]["rmse"] == pytest.approx(found["forces"]["rmse"], rel=1e-12)
    terms = loss_terms(plan)
    expected = np.mean(np.square(per_atom)) + 10.0 * np.mean(np.square(components))
    assert weighted_loss(terms, found) == pytest.approx(expected, rel=1e-10)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 5), start=st.integers(0, 60))
def test_stream_sees_every_sample_equally_often(count: int, batch: int, seed: int, start: int) -> None:
    samples = samples_of(pendulum(count), CPU, "train")
    stream = TrainingStream(samples, batch, seed, start=lambda: start)
    size = min(batch, count)
    steps = [stream.order(step) for step in range(count)]  # `size` whole passes
    assert all(len(order) == size for order in steps)
    assert np.all(np.bincount(np.concatenate(steps)) == size)
    assert stream.epochs(stream.steps(3)) >= 3 > stream.epochs(stream.steps(3) - 1)
    first = next(iter(stream))
    expected = stream.order(start) if size < count else np.arange(count)
    assert first[0].samples == tuple(expected.tolist())


def test_schedules() -> None:
    assert Schedule("constant", 10).factor(7) == 1.0
    cosine = Schedule("cosine", 100)
    assert cosine.factor(0) == 1.0
    assert cosine.factor(50) == pytest.approx(0.5)
    assert cosine.factor(100) == pytest.approx(0.0, abs=1e-15)
    before = cosine.factor(40)
    cosine.replan(40, 60)
    assert cosine.factor(40) == before
    assert cosine.factor(50) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.7)))
    assert cosine.factor(60) == pytest.approx(0.0, abs=1e-15)
    plateau = Schedule("plateau", 100)
    for loss in [1.0] + [2.0] * PLATEAU_PATIENCE:
        plateau.observe(loss)
    assert plateau.factor(0) == 1.0
    plateau.observe(2.0)
    assert plateau.factor(0) == 0.5
    twin = Schedule("plateau", 1)
    twin.load_state_dict(plateau.state_dict())
    assert twin == plateau


def test_weight_decay_acts_on_matrices_and_on_every_breaking_weight() -> None:
    named = {
        "steps.A.weight": torch.nn.Parameter(torch.ones(2, 2)),
        "steps.A.breaking": torch.nn.Parameter(torch.ones(3)),
        "steps.A.bias": torch.nn.Parameter(torch.ones(2)),
        "steps.M.bias": torch.nn.Parameter(torch.ones(1, 2)),
        "steps.T.scale": torch.nn.Parameter(torch.ones(3)),
    }
    decayed, free = parameter_groups(named.items())
    assert [id(p) for p in decayed] == [id(named["steps.A.weight"]), id(named["steps.A.breaking"])]
    assert len(free) == 3
    relaxed = build_module(mace_plan(channels=2, lmax=1, correlation=2, layers=1, mode=("relaxed", 0.1)))
    breaking = {id(p) for name, p in relaxed.named_parameters() if name.endswith(".breaking")}
    assert breaking
    assert breaking <= {id(p) for p in parameter_groups(relaxed.named_parameters())[0]}


def test_average_follows_its_formula() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    average = Average([weight], decay=0.9)
    expected = weight.detach().clone()
    rng = torch.Generator().manual_seed(0)
    for n in range(200):
        with torch.no_grad():
            weight.add_(torch.randn(2, generator=rng, dtype=torch.float64))
        average.update()
        d = min(0.9, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * weight.detach()
    raw = weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(weight, raw)


def test_the_alarm_names_the_frames() -> None:
    watch = LossWatch(("loss", "forces"), lambda i: f"a.xyz:{i}", CPU)
    watch.add(0, torch.tensor([1.0, 2.0]), tuple(range(3)))
    watch.add(1, torch.tensor([3.0, 2.0]), tuple(range(3)))
    with pytest.raises(
        TrainingError, match=r"step 3: the loss of `forces` is inf; its batch is a\.xyz:4, a\.xyz:9\n"
    ):
        watch.add(2, torch.tensor([1.0, math.inf]), (4, 9))
    assert watch.means() == {"loss": 2.0, "forces": 2.0}
    with pytest.raises(TrainingError, match=r"a\.xyz:7 and 22 more"):
        watch.add(3, torch.tensor([math.nan, 1.0]), tuple(range(30)))


def test_run_directories_are_never_shared(tmp_path: Path) -> None:
    assert new_run_directory(tmp_path, "my model/x") == tmp_path / "my-model-x" / "1"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run_directory(tmp_path, "a"), range(40)))
    assert sorted(int(p.name) for p in made) == list(range(1, 41))
