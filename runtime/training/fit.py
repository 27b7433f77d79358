"""The part of a run that lightning drives. Imports lightning: import this module only to train."""

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from equic.runtime.build import Model
from lightning.pytorch.utilities.exceptions import SIGTERMException

from .batches import Samples, TrainingStream, evaluation_batches, evaluation_count
from .budget import MAX_ROUNDS, MIN_ROUNDS, TRAIN_ERRORS_SHARE, Budget, Costs, measured
from .loggers import close_loggers, open_loggers
from .losses import LossTerm
from .metrics import evaluate
from .module import TrainingModule
from .progress import Reporter
from .ranks import Ranks
from .rounds import Rounds
from .schedule import Schedule
from .symmetry import FRAMES, SymmetryWatch
from .watch import LossWatch

# Probing the speed of a model may take this share of a budget, for steps and for evaluations each.
PROBE_SHARE = 0.03
SAVING = 0.5  # seconds for writing the results
CAUTION = 1.2  # the final errors run when nothing can be corrected any more


def fit(
    model: Model,
    terms: Sequence[LossTerm],
    samples: Mapping[str, Samples],
    *,
    seed: int,
    directory: Path,
    checkpoint: Path | None,
    seconds: float | None,
    started: float,
    reporter: Reporter,
    observer: Callable[[dict[str, Any]], None] | None,
    ranks: Ranks,
    workers: int,
    log: Sequence[str],
) -> Rounds:
    """Run the loop until it is finished or interrupted; the model then has its final weights.

    `model` lies on its device. `seconds` from `started` (time.monotonic) is the wall-clock budget, None for
    the plan's epochs. `checkpoint` is continued where given.

    Raises:
        TrainingError: a loss is no longer a number.
    """
    train = model.plan.train
    assert train is not None
    device = next(model.parameters()).device
    watch = LossWatch(("loss", *(term.target for term in terms)), samples["train"].describe, device)
    module = TrainingModule(model, terms, Schedule(train["schedule"], total=1), watch, ranks)
    stream = TrainingStream(
        samples["train"],
        train["batch"],
        seed,
        start=lambda: module.steps,
        parts=train["accumulate"],
        ranks=ranks,
        workers=workers,
    )
    validation = None
    if "validation" in samples:
        validation = evaluation_batches(samples["validation"], stream.batch)
    total = stream.steps(train["epochs"])
    count = max(1, min(train["epochs"], MAX_ROUNDS, total))
    budget = None
    if seconds is not None:
        budget = Budget(seconds, started, *_measure(module, stream, samples, seconds))
        steps = max(1, budget.steps_left(rounds_left=1))
        count = budget.rounds(min(MAX_ROUNDS, max(MIN_ROUNDS, stream.epochs(steps))), steps)
        total = max(count, budget.steps_left(rounds_left=count))
        reporter.say(
            f"{seconds / 60:.3g} minutes are about {stream.epochs(total):.4g} epochs of this model and data"
        )
    module.schedule.total = total
    if train["warmup"]:
        # a budget may allow less than was planned: half of it is the most that may go by
        module.schedule.warmup = min(stream.steps(train["warmup"]), max(1, total // 2))
    rounds = Rounds(
        module,
        stream,
        validation,
        rounds=count,
        patience=train["patience"],
        directory=directory,
        reporter=reporter,
        budget=budget,
        observer=observer,
        symmetry=_symmetry(model, samples.get("validation")),
        loggers=open_loggers(log, directory, model.plan.name) if ranks.leads else [],
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _quiet():
        torch.manual_seed(seed)
        trainer = _trainer(device, directory, rounds)
        try:
            with _interruptible(rounds):
                trainer.fit(module, stream, ckpt_path=checkpoint, weights_only=True)
        except (SystemExit, SIGTERMException):
            # a second Ctrl-C (which lightning turns into an exit), or a polite kill: the state on disk is
            # whole
            rounds.interrupted = True
            rounds.install()
        finally:
            reporter.stop()
            close_loggers(rounds.loggers, finished=rounds.finished)
    model.to(device)  # lightning leaves it on the CPU
    return rounds


def _symmetry(model: Model, validation: Samples | None) -> SymmetryWatch:
    """The watch over what is not proven, on the first frames of the validation set."""
    if validation is None or model.plan.kind != "atoms":
        return SymmetryWatch(model, None)
    return SymmetryWatch(model, validation.batch(np.arange(min(FRAMES, len(validation)))))


def _measure(
    module: TrainingModule, stream: TrainingStream, samples: Mapping[str, Samples], seconds: float
) -> tuple[Costs, int | None]:
    """Measured costs, and on how many training samples the final errors can be afforded."""

    def step(batch: Any) -> None:
        module.losses(batch)

    limit = PROBE_SHARE * seconds
    per_step = measured(step, list(islice(iter(stream), 2)), limit)
    module.model.zero_grad(set_to_none=True)
    targets = [term.target for term in module.terms]
    probe = evaluation_batches(
        samples["train"], stream.batch, limit=samples["train"].evaluation_size(stream.batch)
    )
    per_batch = measured(
        lambda batch: evaluate(module.model, [batch], targets), list(islice(probe, 1)), limit
    )
    cost = {name: per_batch * evaluation_count(part, stream.batch) for name, part in samples.items()}
    allowed, affordable = None, TRAIN_ERRORS_SHARE * seconds
    if cost["train"] > affordable:
        allowed = max(1, int(len(samples["train"]) * affordable / cost["train"]))
        cost["train"] = affordable
    costs = Costs(per_step, cost.get("validation", 0.0), CAUTION * sum(cost.values()) + SAVING)
    return costs, allowed


def _trainer(device: torch.device, directory: Path, rounds: Rounds) -> pl.Trainer:
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_epochs=1,  # the stream is one endless epoch; rounds say when it is over
        callbacks=[rounds],
        default_root_dir=directory,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lightning's advice, advertisements and quarrels with newer versions of torch to itself."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible(rounds: Rounds) -> Iterator[None]:
    """The first Ctrl-C asks the run to stop after its step; a second one stops it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals only ever reach the main thread
        return

    def ask(signum: int, frame: Any) -> None:
        if rounds.module.stop_requested:
            raise KeyboardInterrupt
        rounds.module.stop_requested = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
