"""What a run needs before its first step: its folder and settings, its sets, its threads."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from equic.runtime.data import ArraySet, Frame, FrameSet
from equic.runtime.data.split import written_down
from equic.runtime.plan import Plan

from .batches import FrameSamples, Samples, samples_of
from .changes import changes, judge
from .errors import TrainingError
from .losses import LossTerm
from .state import CHECKPOINT, PLAN, SETTINGS, SPLIT, read_checkpoint, read_json, write_json
from .threads import chosen_by_user, threads_for

Sets = Mapping[str, Sequence[Frame] | ArraySet]


def claim_directory(
    directory: Path, plan: Plan, *, resume: bool, accept: bool = False
) -> tuple[Path | None, list[str]]:
    """Make sure that `directory` is free for a new run, or holds one that this plan may go on with.

    Returns the checkpoint to continue from, or None, and a note on every change of the plan since.

    Raises:
        TrainingError: it holds another run, or nothing that could be resumed, or a run whose plan differs by
            what is refused, or by what has to be accepted.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stored, checkpoint = directory / PLAN, directory / CHECKPOINT
    if not resume:
        if stored.exists() or checkpoint.exists():
            raise TrainingError(
                f"{directory} already holds a run", help="resume it, or train into a new folder"
            )
        write_json(stored, plan.to_json())
        return None, []
    if not stored.exists():
        raise TrainingError(
            f"{directory} holds no run that could be resumed", help="check the path of the run"
        )
    # through the reader: what later versions added has its default in the plan of an older run
    before = Plan.from_json(read_json(stored)).to_json()
    now = json.loads(json.dumps(plan.to_json()))
    notes = judge(changes(json.loads(json.dumps(before)), now), accept=accept)
    if notes:
        write_json(stored, now)
    return (checkpoint if checkpoint.exists() else None), notes


def settings_of(
    directory: Path, resume: bool, seed: int | None, minutes: float | None, default_seed: int
) -> dict[str, Any]:
    """Seed and budget of the run: as given, else as it was started, else as planned. Kept with the run."""
    path = directory / SETTINGS
    before: dict[str, Any] = {"seed": default_seed, "minutes": None}
    if resume and path.exists():
        before = read_json(path)
    settings = {
        **before,
        "seed": int(before["seed"] if seed is None else seed),
        "minutes": before["minutes"] if minutes is None else minutes,
    }
    write_json(path, settings)
    return settings


def seconds_of(minutes: float | None, planned: float | None, checkpoint: Path | None) -> float | None:
    """The wall-clock budget of this process: a new one, or what an interrupted run has left."""
    # read first and whole, so that a damaged checkpoint is said to be one
    state = None if checkpoint is None else read_checkpoint(checkpoint)["callbacks"]["Rounds"]
    if minutes is not None:
        return 60.0 * minutes
    if planned is None or (state is not None and state["finished"]):
        return None
    if state is None or state["budget"] is None:
        return 60.0 * planned
    return float(state["budget"])


def threads_of(
    directory: Path, plan: Plan, samples: Samples, device: torch.device, notes: list[str]
) -> int | None:
    """How many threads the run takes, the same when it is resumed; None where the user or a GPU decides."""
    if device.type != "cpu" or chosen_by_user():
        return None
    settings = read_json(directory / SETTINGS)
    if "threads" not in settings:
        assert plan.train is not None
        batch = plan.train["batch"]
        edges, atoms, systems = 0.0, 0.0, float(batch) if isinstance(batch, int) else 0.0
        if isinstance(samples, FrameSamples):
            mean = samples.edges / len(samples)
            each = float(samples.sizes("atoms").mean())
            if isinstance(batch, int):
                edges = min(batch, len(samples)) * mean
            else:
                edges = float(batch["edges"]) if "edges" in batch else batch["atoms"] * mean / each
            edges /= plan.train["accumulate"]
            atoms = edges * each / mean if mean else 0.0
        systems = min(systems, len(samples))
        settings["threads"] = threads_for(plan, edges, atoms, systems, os.cpu_count() or 1)
        write_json(directory / SETTINGS, settings)
    count = int(settings["threads"])
    words = "1 thread" if count == 1 else f"{count} threads"
    notes.append(f"{words}, by the size of a batch; set OMP_NUM_THREADS for another number")
    return count


def write_split(directory: Path, sets: Sets) -> None:
    """Which frames are in which set: what to publish with the errors."""
    frames = {name: part.sources() for name, part in sets.items() if isinstance(part, FrameSet)}
    if frames:
        write_json(directory / SPLIT, written_down(frames))


def samples_by_set(sets: Sets, terms: Sequence[LossTerm], device: torch.device) -> dict[str, Samples]:
    """Every set as something that batches can be cut from.

    Raises:
        TrainingError: no training set, an empty one, or labels that the loss needs and the sets lack.
    """
    if "train" not in sets:
        raise TrainingError("there is no set `train`", help="add `data: {train: {path: ...}}` to the spec")
    samples = {name: samples_of(data, device, name) for name, data in sets.items()}
    labelled = set(samples["train"].targets())
    for term in terms:
        if term.target not in labelled:
            raise TrainingError(
                f"the loss names `{term.target}`, but the training set has no labels for it",
                help=f"it has labels for: {', '.join(sorted(labelled)) or 'nothing'}",
            )
    wanted = {term.target for term in terms}
    if "validation" in samples and not wanted & set(samples["validation"].targets()):
        raise TrainingError(
            f"the validation set has no labels for {', '.join(sorted(wanted))}",
            help="give it some, or remove it",
        )
    return samples
