"""What happens between the steps of a run. Imports lightning: import this module only to train.

A run of `total` steps is cut into rounds of equal length; each ends with a validation, a row of the history,
a look at the clock, and a checkpoint. A round is one epoch, or several where there are more than 500 epochs,
or part of one where the budget is short.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from .batches import Batch, TrainingStream
from .budget import Budget
from .errors import TrainingError
from .loggers import log_row
from .metrics import evaluate, flatten, weighted_loss
from .module import TrainingModule
from .progress import Reporter
from .state import CHECKPOINT, Best, replace_file, write_history
from .symmetry import SymmetryWatch

# Writing state takes tens of milliseconds: rounds shorter than this share a checkpoint, longer ones get
# several.
CHECKPOINT_EVERY = 2.0
CHECKPOINT_WITHIN = 300.0


class Rounds(pl.Callback):
    """Ends rounds, keeps the best weights, writes the state, stops the run.

    Everything that decides how a run goes on is in `state_dict`, so that a resumed run repeats an
    uninterrupted one bit for bit (except where a wall-clock budget decides).
    """

    def __init__(
        self,
        module: TrainingModule,
        stream: TrainingStream,
        validation: Iterable[Batch] | None,
        *,
        rounds: int,
        patience: float | None,
        directory: Path,
        reporter: Reporter,
        budget: Budget | None,
        observer: Callable[[dict[str, Any]], None] | None,
        symmetry: SymmetryWatch,
        loggers: Sequence[Any] = (),
    ) -> None:
        self.module = module
        self.stream = stream
        self.validation = validation
        self.patience = patience
        self.directory = directory
        self.reporter = reporter
        self.budget = budget
        self.observer = observer
        self.loggers = loggers
        self.symmetry = symmetry
        self._planned = [rounds, module.schedule.total]  # before anything was resumed or replanned

        self.rounds = rounds
        self.place = 0  # rounds that are over
        self.anchor = (0, 0)  # (round, step) from which the ends of later rounds are counted
        self.history: list[dict[str, Any]] = []
        self.best: Best | None = None
        self.finished = False
        self.seconds = 0.0
        self.interrupted = False

        self._since = time.monotonic()
        self._round_start = (self._since, 0)
        self._last_checkpoint = self._since
        self._random_state: torch.Tensor | None = None

    # how long

    @property
    def total(self) -> int:
        """Steps of the whole run, as planned now."""
        return self.module.schedule.total

    @property
    def end(self) -> int:
        """The step after which the round under way ends."""
        place, step = self.anchor
        if self.place + 1 >= self.rounds:
            return self.total
        share = (self.place + 1 - place) / (self.rounds - place)
        return step + max(self.place + 1 - place, round(share * (self.total - step)))

    def replan(self) -> None:
        """Fit what is left of the run to what is left of the budget."""
        assert self.budget is not None
        step = self.module.steps
        left = self.budget.rounds(self.rounds - self.place, self.budget.steps_left(rounds_left=1))
        total = step + self.budget.steps_left(rounds_left=left)
        self.rounds = self.place + min(left, total - step)  # a round has at least one step
        self.module.schedule.replan(step, total)
        self.anchor = (self.place, step)

    # hooks of lightning

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._random_state is not None:
            torch.set_rng_state(self._random_state)
        now = time.monotonic()
        self._since = now - self.seconds
        self._last_checkpoint = now
        self._round_start = (now, self.module.steps)
        self.reporter.start(self.module.steps, self.total)
        if self.finished or self.module.steps >= self.total:
            self.finished = True
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = self.module.steps
        if step >= self.end:
            self._end_round(trainer)
        elif self.budget is not None and self.budget.left() <= 0:
            self.module.schedule.replan(step, step)
            self.rounds = self.place + 1
            self._end_round(trainer)
        elif time.monotonic() - self._last_checkpoint > CHECKPOINT_WITHIN:
            self._save(trainer)
        self.reporter.tick(step, self.total)
        if trainer.received_sigterm:
            self.module.stop_requested = True
        if (self.module.all_stop or self._alone_asked) and not self.finished:
            self._save(trainer)
            self.interrupted = True
        if self.finished or self.interrupted:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # here and not later, because lightning moves the module off its device when the loop is over
        self.install()

    def install(self) -> None:
        """Give the model its final weights: the best validated ones, else the average, else the last."""
        if self.best is not None:
            with torch.no_grad():
                for weight, value in zip(self.module.weights, self.best.weights, strict=True):
                    weight.copy_(value)
        elif self.module.average is not None:
            self.module.average.install()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.reporter.stop()

    # the end of a round

    def _end_round(self, trainer: pl.Trainer) -> None:
        module, step = self.module, self.module.steps
        rate = module.rate_at(step - 1)
        means = module.watch.means()
        self.place += 1
        epoch = round(self.stream.epochs(step), 6)
        row: dict[str, Any] = {"epoch": int(epoch) if epoch == int(epoch) else epoch, "step": step}
        row |= {"rate": rate, "loss": means.pop("loss")} | {
            f"loss_{name}": value for name, value in means.items()
        }
        trained = time.monotonic()
        is_best = self._validate(row, epoch)
        now = time.monotonic()
        self.seconds = now - self._since
        row["seconds"] = round(self.seconds, 3)
        self.history.append(row)
        self.finished = step >= self.total or self._out_of_patience(epoch)
        if self.budget is not None and not self.finished:
            started, first = self._round_start
            self.budget.observe(trained - started, step - first, now - trained)
            self.replan()
            self.finished = step >= self.total
        self._round_start = (now, step)
        self.reporter.row(row, place=self.place, of=self.rounds, best=is_best, left=self._time_left(step))
        log_row(self.loggers, row)
        if self.observer is not None:
            self.observer(dict(row))
        if self.finished or now - self._last_checkpoint > CHECKPOINT_EVERY:
            self._save(trainer)

    def _validate(self, row: dict[str, Any], epoch: float) -> bool:
        """Add the validation errors of the averaged weights to `row`; whether they are the best so far."""
        module = self.module
        if self.validation is None:
            module.schedule.observe(row["loss"])
            return False
        with module.average.applied() if module.average is not None else nullcontext():
            targets = [term.target for term in module.terms]
            metrics = evaluate(module.model, self.validation, targets, module.terms, module.ranks)
            symmetry = self.symmetry.errors()
            progress = module.schedule.progress(module.steps - 1)
            stage = sum(term.later is not None and progress >= term.at for term in module.terms)
            loss = weighted_loss(module.terms, metrics, progress)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the validation loss is {loss} after step {module.steps}",
                    help="lower `train.learning_rate`, or look for wrong labels in the validation set",
                )
            other_stage = self.best is not None and stage != self.best.stage
            if other_stage:
                module.schedule.forget()
            better = self.best is None or other_stage or loss < self.best.loss
            if better:
                weights = [weight.detach().cpu().clone() for weight in module.weights]
                self.best = Best(loss, module.steps, epoch, weights, stage)
        row["validation_loss"] = loss
        row |= {f"validation_{name}": value for name, value in flatten(metrics).items()}
        row |= {f"symmetry_{factor}": value for factor, value in symmetry.items()}
        module.schedule.observe(loss)
        return better

    def _out_of_patience(self, epoch: float) -> bool:
        return (
            self.patience is not None and self.best is not None and epoch - self.best.epoch >= self.patience
        )

    @property
    def _alone_asked(self) -> bool:
        """A request that came since the step began; several processes wait for the next one, to agree."""
        return self.module.ranks.size == 1 and self.module.stop_requested

    def _time_left(self, step: int) -> float:
        return self.seconds / step * (self.total - step) if not self.finished else 0.0

    # state

    def _save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint and the history: a crash leaves the old ones or the new ones."""
        self.module.watch.flush()
        self._last_checkpoint = time.monotonic()
        if not self.module.ranks.leads:
            return
        temporary = self.directory / f".{CHECKPOINT}.tmp"
        trainer.save_checkpoint(temporary)
        replace_file(temporary, self.directory / CHECKPOINT)
        write_history(self.directory / "history.csv", self.history)

    def state_dict(self) -> dict[str, Any]:
        self.seconds = time.monotonic() - self._since
        return {
            "steps": self.module.steps,
            "schedule": self.module.schedule.state_dict(),
            "average": None if self.module.average is None else self.module.average.state_dict(),
            "watch": self.module.watch.state_dict(),
            "rounds": self.rounds,
            "place": self.place,
            "anchor": list(self.anchor),
            "history": self.history,
            "best": None if self.best is None else self.best.to_state(),
            "finished": self.finished,
            "seconds": self.seconds,
            "budget": None if self.budget is None else self.budget.unspent(),
            "random": torch.get_rng_state(),
            "planned": self._planned,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.module.steps = state_dict["steps"]
        self.module.schedule.load_state_dict(state_dict["schedule"])
        if self.module.average is not None:
            self.module.average.load_state_dict(state_dict["average"])
        self.module.watch.load_state_dict(state_dict["watch"])
        self.rounds, self.place = state_dict["rounds"], state_dict["place"]
        self.anchor = (state_dict["anchor"][0], state_dict["anchor"][1])
        self.history = list(state_dict["history"])
        self.best = None if state_dict["best"] is None else Best(**state_dict["best"])
        self.finished = state_dict["finished"]
        self.seconds = state_dict["seconds"]
        self._random_state = state_dict["random"]
        if self.budget is not None and not self.finished:
            self.replan()
        elif self.budget is None and state_dict["budget"] is None:
            self._adopt(state_dict.get("planned", self._planned))

    def _adopt(self, before: list[int]) -> None:
        """Go on towards another end than the run was planned with, where the spec has changed."""
        rounds, total = self._planned
        if before == self._planned:
            return
        step, schedule = self.module.steps, self.module.schedule
        schedule.total = max(step, total)
        schedule.anchor_step, schedule.anchor_progress = 0, 0.0
        share = max(0, total - step) / total
        self.rounds = self.place + max(1, round(rounds * share))
        self.anchor = (self.place, step)
        self.finished = step >= total
