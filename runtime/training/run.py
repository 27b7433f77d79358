"""Training a plan, from its data to an artifact."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from equic.runtime.artifact import save_artifact
from equic.runtime.build import Model, build_module
from equic.runtime.data import ArraySet, Frame, FrameSet, compute_statistics, load_sets
from equic.runtime.data.split import written_down
from equic.runtime.device import pick_device
from equic.runtime.memory import keep_freed_memory
from equic.runtime.plan import Plan
from rich.console import Console

from .batches import Samples, evaluation_batches, samples_of
from .errors import TrainingError
from .finetune import freeze, take_weights
from .losses import LossTerm, loss_terms, with_weights
from .metrics import Metrics, evaluate
from .progress import Reporter, duration
from .ranks import ranks
from .report import errors_table
from .state import ARTIFACT, SETTINGS, SPLIT, claim_directory, read_checkpoint, read_json, write_json

if TYPE_CHECKING:
    from .rounds import Rounds

Sets = Mapping[str, Sequence[Frame] | ArraySet]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came of a run.

    `metrics` is {set: {target: {"rmse", "mae"}}} in the plan's units (the energy also per atom), `history`
    has one row per round. An interrupted run has no metrics and no artifact yet; `train(..., resume=True)`
    continues it.
    """

    model: Model
    metrics: dict[str, Metrics]
    history: list[dict[str, Any]]
    directory: Path
    artifact: Path | None
    seconds: float
    interrupted: bool


def train(
    plan: Plan,
    *,
    directory: str | Path,
    device: str = "auto",
    minutes: float | None = None,
    resume: bool = False,
    progress: bool = True,
    sets: Sets | None = None,
    seed: int | None = None,
    spec_text: str = "",
    model: Model | None = None,
    observer: Callable[[dict[str, Any]], None] | None = None,
    console: Console | None = None,
    diagnostics: Sequence[Mapping[str, Any]] = (),
    workers: int = 0,
) -> TrainingResult:
    """Train the model of `plan` and write `model.equic`, `metrics.json` and `history.csv` into `directory`.

    Weights and order of the data follow from the seed alone (`seed`, default `plan.train.seed`). With
    `minutes` the number of steps is fitted to the wall clock, reading data and final errors included, and the
    schedule ends in time; `epochs` then does not count. Ctrl-C ends the run after the step under way and
    leaves it resumable; `resume` continues as if it had never stopped.

    Args:
        sets: the data by name, with at least `train`; read as the plan says when not given.
        model: train these weights on, with their statistics and dtype, instead of fresh ones.
        observer: called with each new row of the history; an exception of its own ends the run.
        console: where progress is printed; stderr by default.
        diagnostics: go into the artifact's manifest.
        workers: processes that read and collate batches ahead; the numbers are the same with any.

    Raises:
        TrainingError: nothing to train on, the folder holds another run, or a loss that is no longer a
        number. DataError: data that does not fit the plan.
    """
    started = time.monotonic()
    terms = loss_terms(plan)
    assert plan.train is not None
    directory = Path(directory)
    processes = ranks()
    checkpoint = processes.first(lambda: claim_directory(directory, plan, resume=resume))
    settings = processes.first(lambda: _settings(directory, resume, seed, minutes, plan.train["seed"]))
    if processes.size > 1 and settings["minutes"] is not None:
        raise TrainingError(
            "several processes cannot share a budget of minutes: their clocks would disagree",
            help="give the number of epochs: `--set train.epochs=100`",
        )
    progress = progress and processes.leads
    where = pick_device(device)
    keep_freed_memory()
    notes: list[str] = []
    sets = load_sets(plan, notes=notes) if sets is None else sets
    samples = _samples(sets, terms, where)
    if processes.leads:
        _write_split(directory, sets)
    if model is None:
        dtype = torch.float64 if plan.train["precision"] == "float64" else torch.float32
        model = build_module(plan, seed=settings["seed"], dtype=dtype)
        model.set_statistics(compute_statistics(plan, sets["train"], notes=notes))
        if plan.train["from"] is not None and checkpoint is None:  # a checkpoint has them already
            take_weights(model, Path(plan.train["from"]), notes)
    freeze(model, plan.train["only"], plan.train["freeze"], notes)
    terms = with_weights(terms, sets["train"])  # type: ignore[arg-type]  # states have weights from the plan
    model.to(where).train()
    console = console or Console(stderr=True)
    reporter = Reporter(plan, console, enabled=progress, validated="validation" in sets)
    for note in notes:
        reporter.say(f"note: {note}")

    from .fit import fit  # imports lightning, which takes seconds

    rounds = fit(
        model,
        terms,
        samples,
        seed=settings["seed"],
        directory=directory,
        checkpoint=checkpoint,
        seconds=_seconds(minutes, settings["minutes"], checkpoint),
        started=started,
        reporter=reporter,
        observer=observer,
        ranks=processes,
        workers=workers,
    )
    metrics: dict[str, Metrics] = {}
    artifact = None
    if rounds.interrupted:
        reporter.say(
            f"stopped after step {rounds.module.steps} of {rounds.total}; resume the run in {directory}"
        )
    else:
        metrics, counts = _errors(model, samples, plan, rounds)
        summary = _summary(rounds, plan, settings["seed"], where)
        artifact = save_artifact(
            directory / ARTIFACT,
            model,
            spec_text=spec_text,
            training={**summary, "samples": counts, "metrics": metrics},
            diagnostics=diagnostics,
        )
        units = {name: output.unit for name, output in plan.outputs.items()}
        results = {"metrics": metrics, "units": units, "samples": counts, **summary}
        write_json(directory / "metrics.json", {**results, "seconds": round(rounds.seconds, 3)})
        if counts["train"] < len(samples["train"]):
            all_samples = len(samples["train"])
            reporter.say(f"the budget allows errors on {counts['train']} of {all_samples} training samples")
        if progress:
            console.print(errors_table(plan, metrics, counts))
        reporter.say(f"trained in {duration(rounds.seconds)}; model, errors and history are in {directory}")
    return TrainingResult(
        model=model,
        metrics=metrics,
        history=rounds.history,
        directory=directory,
        artifact=artifact,
        seconds=time.monotonic() - started,
        interrupted=rounds.interrupted,
    )


def _settings(
    directory: Path, resume: bool, seed: int | None, minutes: float | None, default_seed: int
) -> dict[str, Any]:
    """Seed and budget of the run: as given, else as it was started, else as planned. Kept with the run."""
    path = directory / SETTINGS
    before: dict[str, Any] = {"seed": default_seed, "minutes": None}
    if resume and path.exists():
        before = read_json(path)
    settings = {
        "seed": int(before["seed"] if seed is None else seed),
        "minutes": before["minutes"] if minutes is None else minutes,
    }
    write_json(path, settings)
    return settings


def _seconds(minutes: float | None, planned: float | None, checkpoint: Path | None) -> float | None:
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


def _write_split(directory: Path, sets: Sets) -> None:
    """Which frames are in which set: what to publish with the errors."""
    frames = {name: part.sources() for name, part in sets.items() if isinstance(part, FrameSet)}
    if frames:
        write_json(directory / SPLIT, written_down(frames))


def _samples(sets: Sets, terms: Sequence[LossTerm], device: torch.device) -> dict[str, Samples]:
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


def _errors(
    model: Model, samples: Mapping[str, Samples], plan: Plan, rounds: "Rounds"
) -> tuple[dict[str, Metrics], dict[str, int]]:
    """Errors on every set with the final weights, and how many samples they were measured on."""
    metrics, counts = {}, {}
    for name, part in samples.items():
        limit = rounds.budget.train_limit if name == "train" and rounds.budget is not None else None
        metrics[name] = evaluate(
            model, evaluation_batches(part, rounds.stream.batch, limit=limit), list(plan.outputs)
        )
        counts[name] = len(part) if limit is None else min(limit, len(part))
    return metrics, counts


def _summary(rounds: "Rounds", plan: Plan, seed: int, device: torch.device) -> dict[str, Any]:
    """How the model was trained; no times, so that a repeated run gives the same artifact."""
    assert plan.train is not None
    best = rounds.best
    return {
        "steps": rounds.module.steps,
        "epochs": rounds.stream.epochs(rounds.module.steps),
        "seed": seed,
        "device": device.type,
        "best": None
        if best is None
        else {"step": best.step, "epoch": best.epoch, "validation_loss": best.loss},
        "settings": {key: value for key, value in plan.train.items() if key != "seed"},
    }
