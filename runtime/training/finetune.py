"""Training that starts from a trained model, and training of some of its weights only."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from equic.runtime.artifact import load_artifact
from equic.runtime.build import Model
from equic.runtime.data.words import did_you_mean
from equic.runtime.plan import Plan

from .errors import TrainingError

# The steps that blocks make for reading a target from features: `layer2.energy.read1`.
_READ = re.compile(r"read\d*")
_MAPS = ("linear", "mlp")


def step_of(weight: str) -> str:
    """The step that a parameter belongs to.

    Example:
        >>> step_of("steps.layer1__weights.weights.0")
        'layer1.weights'
    """
    return weight.split(".")[1].replace("__", ".")


def head_steps(plan: Plan) -> frozenset[str]:
    """The steps that read targets from features.

    They are the first maps that are met on the way back from the targets, and what blocks call `read`, which
    are the layers of a readout's network. An energy that is read after every layer has a head in each.
    """
    heads = {step.name for step in plan.steps if _READ.fullmatch(step.name.rpartition(".")[2])}
    waiting, seen = [output.step for output in plan.outputs.values()], set[str]()
    while waiting:
        step = plan.step(waiting.pop())
        if step.name in seen:
            continue
        seen.add(step.name)
        if step.layer in _MAPS:
            heads.add(step.name)
        else:
            waiting += step.inputs
    return frozenset(heads)


def take_weights(model: Model, path: Path, notes: list[str]) -> None:
    """Copy weights and statistics of an artifact into a model, by name; those of heads may be new.

    A statistic that the data fixes anew (isolated-atom energies that are given, or found in frames) is kept;
    everything else, least-squares energies included, is the file's, because the weights were trained with it.

    Raises:
        TrainingError: the file is a model of other species, or lacks a weight that is no head's, or has it in
            another shape.
    """
    if not path.is_file():
        raise TrainingError(f"there is no file {path} to train on from", help="look at `train: {from: ...}`")
    source = load_artifact(path).model
    ours, theirs = model.plan.system.get("species"), source.plan.system.get("species")
    if ours != theirs:
        raise TrainingError(
            f"{path.name} knows the species {theirs}, the spec {ours}",
            help="list the same species, in the same order",
        )
    heads, known = head_steps(model.plan), dict(source.named_parameters())
    fresh: list[str] = []
    with torch.no_grad():
        for name, weight in model.named_parameters():
            other = known.get(name)
            if other is not None and other.shape == weight.shape:
                weight.copy_(other)
            elif step_of(name) in heads:
                fresh.append(step_of(name))
            else:
                what = "has no weight" if other is None else f"has another shape {list(other.shape)} of"
                raise TrainingError(
                    f"{path.name} {what} `{name}` {list(weight.shape)}",
                    help="fine-tuning needs the same model but for its heads: compare `equic show` of both specs",
                )
    data = model.plan.data
    given = data is not None and data["isolated_atoms"] != "least_squares"
    for name in source.plan.statistics:
        if name in model.plan.statistics and not (name == "atomic_energies" and given):
            model.set_statistics({name: source.statistics.get_buffer(name).tolist()})
    new = f"; new: {', '.join(dict.fromkeys(fresh))}" if fresh else ""
    notes.append(f"weights and scales are those of {path.name}{new}")


def freeze(model: Model, only: str | Sequence[str] | None, frozen: Sequence[str], notes: list[str]) -> None:
    """Leave gradients to the weights of the steps that `only` names (`heads`, or patterns), less `frozen`.

    Raises:
        TrainingError: a pattern that fits no step with weights, or nothing left to train.
    """
    if only is None and not frozen:
        return
    steps = list(dict.fromkeys(step_of(name) for name, _ in model.named_parameters()))
    heads = head_steps(model.plan)
    if only == "heads":
        chosen = {step for step in steps if step in heads}
    else:
        chosen = set(steps) if only is None else _matching(only, steps)
    chosen -= _matching(frozen, steps)
    if not chosen:
        raise TrainingError(
            "no weights are left to train", help=f"the steps with weights are: {', '.join(steps)}"
        )
    count = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_(step_of(name) in chosen)
        count += weight.numel() if weight.requires_grad else 0
    total = sum(weight.numel() for weight in model.parameters())
    notes.append(f"{count:,} of {total:,} weights are trained: {', '.join(s for s in steps if s in chosen)}")


def _matching(patterns: str | Sequence[str], steps: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        here = {step for step in steps if fnmatchcase(step, pattern)}
        if not here:
            raise TrainingError(
                f"`{pattern}` names no step with weights",
                help=did_you_mean(pattern, steps, "the steps with weights are"),
            )
        found |= here
    return found
