"""Training a plan, from its data to an artifact."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from equic.runtime.build import Model, build_module
from equic.runtime.data import compute_statistics, load_sets
from equic.runtime.device import pick_device
from equic.runtime.memory import keep_freed_memory
from equic.runtime.model import Kernels
from equic.runtime.plan import Plan
from rich.console import Console

from .begin import (
    Sets,
    claim_directory,
    samples_by_set,
    seconds_of,
    settings_of,
    threads_of,
    write_split,
)
from .errors import TrainingError
from .finetune import freeze, take_weights
from .finish import Measured, domain_of, measure, summary_of, write_results
from .losses import loss_terms, with_weights
from .metrics import Metrics
from .progress import Reporter, duration
from .ranks import ranks
from .report import errors_table
from .threads import limited


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
    log: Sequence[str] = (),
    accept_changes: bool = False,
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
        log: where rows of the history go beside history.csv: tensorboard, wandb, mlflow.
        accept_changes: resume although the plan has changed in a way that later numbers are not comparable.

    Raises:
        TrainingError: nothing to train on, the folder holds another run, or a loss that is no longer a
        number. DataError: data that does not fit the plan.
    """
    started = time.monotonic()
    terms = loss_terms(plan)
    assert plan.train is not None
    directory = Path(directory)
    processes = ranks()
    checkpoint, notes = processes.first(
        lambda: claim_directory(directory, plan, resume=resume, accept=accept_changes)
    )
    settings = processes.first(lambda: settings_of(directory, resume, seed, minutes, plan.train["seed"]))
    if processes.size > 1 and settings["minutes"] is not None:
        raise TrainingError(
            "several processes cannot share a budget of minutes: their clocks would disagree",
            help="give the number of epochs: `--set train.epochs=100`",
        )
    progress = progress and processes.leads
    where = pick_device(device)
    keep_freed_memory()
    sets = load_sets(plan, notes=notes) if sets is None else sets
    samples = samples_by_set(sets, terms, where)
    threads = processes.first(lambda: threads_of(directory, plan, samples["train"], where, notes))
    if processes.leads:
        write_split(directory, sets)
    mixed = plan.train["precision"] == "mixed"
    if mixed and model is not None and (model.choice != "reference" or model.dtype != torch.float32):
        raise TrainingError(
            "mixed precision trains layers as they are written, in float32",
            help='build the model by build_module(plan, kernels="reference")',
        )
    if model is None:
        dtype = torch.float64 if plan.train["precision"] == "float64" else torch.float32
        # autocast chooses the precision of torch's own operations, not of generated kernels
        kernels: Kernels = "reference" if mixed else "auto"
        model = build_module(plan, seed=settings["seed"], dtype=dtype, kernels=kernels)
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

    with limited(threads):
        rounds = fit(
            model,
            terms,
            samples,
            seed=settings["seed"],
            directory=directory,
            checkpoint=checkpoint,
            seconds=seconds_of(minutes, settings["minutes"], checkpoint),
            started=started,
            reporter=reporter,
            observer=observer,
            ranks=processes,
            workers=workers,
            log=log,
        )
        found = Measured() if rounds.interrupted else measure(model, samples, plan, rounds)
    artifact = None
    if rounds.interrupted:
        reporter.say(
            f"stopped after step {rounds.module.steps} of {rounds.total}; resume the run in {directory}"
        )
    elif processes.leads:
        artifact = write_results(
            directory,
            model,
            found,
            {**summary_of(rounds, plan, settings["seed"], where), **domain_of(plan, sets["train"])},
            seconds=rounds.seconds,
            spec_text=spec_text,
            diagnostics=diagnostics,
        )
        if found.counts.get("train", len(samples["train"])) < len(samples["train"]):
            part = f"{found.counts['train']} of {len(samples['train'])}"
            reporter.say(f"the budget allows errors on {part} training samples")
        if progress:
            console.print(errors_table(plan, found.metrics, found.counts))
        if found.missing:
            sets_left = ", ".join(found.missing)
            reporter.say(f"stopped before the errors on {sets_left}; `--resume {directory}` measures them")
        reporter.say(f"trained in {duration(rounds.seconds)}; model, errors and history are in {directory}")
    return TrainingResult(
        model=model,
        metrics=found.metrics,
        history=rounds.history,
        directory=directory,
        artifact=artifact,
        seconds=time.monotonic() - started,
        interrupted=rounds.interrupted,
    )
