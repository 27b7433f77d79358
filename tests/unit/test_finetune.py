"""Training from a trained model: which weights are taken, trained, and left alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.artifact import load_artifact
from equic.runtime.plan import Plan
from equic.runtime.testing.plans import mace_plan
from equic.runtime.testing.training import changed, morse_frames, same, small_mace, weights_of
from equic.runtime.training import TrainingError, train
from equic.runtime.training.finetune import head_steps, step_of


def run(plan: Plan, directory: Path, **options: Any) -> Any:
    return train(plan, directory=directory, device="cpu", progress=False, **options)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Any:
    plan = small_mace(epochs=2, batch=4)
    return run(plan, tmp_path_factory.mktemp("first") / "run", sets={"train": morse_frames(plan, 8)})


def test_the_steps_that_read() -> None:
    assert head_steps(mace_plan(layers=2)) == {"e1", "e2"}
    text = """
equic: 1
name: a
system: {kind: atoms, species: [H, C], cutoff: 4 Å}
targets: {energy: {per: system, rep: 0e, unit: eV}}
model: {architecture: mace, channels: 4, layers: 2}
"""
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report)
    assert done.plan is not None
    assert head_steps(Plan.from_json(done.plan)) == {"layer1.energy", "layer2.energy.read1", "layer2.energy"}


def test_weights_and_scales_are_taken_over(first: Any, tmp_path: Path) -> None:
    plan = small_mace(**{"from": str(first.artifact), "learning_rate": 0.0, "epochs": 1})
    frames = morse_frames(plan, 8, 5)  # other frames, which would give another scale
    result = run(plan, tmp_path / "run", sets={"train": frames})
    assert same(weights_of(result.model), weights_of(first.model))
    for name in plan.statistics:
        assert torch.equal(result.model.statistics.get_buffer(name), first.model.statistics.get_buffer(name))


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        ({"only": "heads"}, lambda step: step == "e1"),
        ({"only": ["up1", "A*"]}, lambda step: step in ("up1", "A1", "As1")),
        ({"freeze": ["h0", "R*"]}, lambda step: step not in ("h0", "R1")),
        ({"only": "heads", "optimizer": "muon"}, lambda step: step == "e1"),
    ],
)
def test_only_the_named_weights_move(
    first: Any, tmp_path: Path, settings: dict[str, Any], trained: Any
) -> None:
    plan = small_mace(**{"from": str(first.artifact), "epochs": 2, "ema": 0.9, **settings})
    sets = {"train": morse_frames(plan, 8, 5), "validation": morse_frames(plan, 2, 6)}
    result = run(plan, tmp_path / "run", sets=sets)
    before = dict(first.model.named_parameters())
    for name, weight in load_artifact(result.artifact).model.named_parameters():
        assert torch.equal(weight, before[name]) != trained(step_of(name)), name


def test_a_fine_tuned_run_resumes_without_the_file(first: Any, tmp_path: Path, monkeypatch: Any) -> None:
    copy = tmp_path / "base.equic"
    copy.write_bytes(first.artifact.read_bytes())
    plan = small_mace(**{"from": str(copy), "only": "heads", "epochs": 3, "batch": 4})
    sets = {"train": morse_frames(plan, 8, 5), "validation": morse_frames(plan, 2, 6)}
    whole = run(plan, tmp_path / "whole", sets=sets)
    from equic.runtime.training.rounds import Rounds

    ended = Rounds._end_round

    def end_and_stop(self: Rounds, trainer: Any) -> None:
        ended(self, trainer)
        self.module.stop_requested = True

    with monkeypatch.context() as patch:
        patch.setattr(Rounds, "_end_round", end_and_stop)
        assert run(plan, tmp_path / "part", sets=sets).interrupted
    copy.unlink()
    resumed = run(plan, tmp_path / "part", sets=sets, resume=True)
    assert resumed.artifact.read_bytes() == whole.artifact.read_bytes()


def test_what_does_not_fit_is_named(first: Any, tmp_path: Path) -> None:
    sets = {"train": morse_frames(small_mace(), 4)}
    with pytest.raises(TrainingError, match=r"no file .*nowhere\.equic"):
        run(small_mace(**{"from": "nowhere.equic"}), tmp_path / "1", sets=sets)
    with pytest.raises(TrainingError, match=r"`layer7\.\*` names no step with weights"):
        run(small_mace(freeze=["layer7.*"]), tmp_path / "2", sets=sets)
    with pytest.raises(TrainingError, match="no weights are left"):
        run(small_mace(only="heads", freeze=["*"]), tmp_path / "3", sets=sets)
    wide = mace_plan(
        channels=8, lmax=1, correlation=2, layers=1, species=("H", "O"), stress=False, widths=(8,)
    )
    with pytest.raises(TrainingError, match=r"has another shape \[2, 4\] of `steps\.h0\.weight` \[2, 8\]"):
        run(changed(wide, **{"from": str(first.artifact)}), tmp_path / "4", sets=sets)
    other = mace_plan(
        channels=4, lmax=1, correlation=2, layers=1, species=("O", "H"), stress=False, widths=(8,)
    )
    with pytest.raises(TrainingError, match="knows the species"):
        run(changed(other, **{"from": str(first.artifact)}), tmp_path / "5", sets=sets)
