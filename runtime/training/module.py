"""One optimisation step, as a LightningModule. Imports lightning: import this module only to train."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from equic.runtime.build import Model
from torch import Tensor

from .average import Average, Averaging, ScheduleFree
from .batches import Batch
from .losses import LossTerm, term_counts, term_sums
from .optimizers import build_optimizers
from .ranks import ALONE, Ranks
from .schedule import Schedule
from .watch import LossWatch


class TrainingModule(pl.LightningModule):
    """Steps a model down its loss.

    Each step: rate and weights from the schedule, forward with a differentiable graph and backward for every
    part of the batch, gradients summed over processes, clipping, optimiser, moving average. `steps` counts
    optimiser steps and decides everything that varies along a run.

    Lightning moves the module, runs the loop and writes the state; the optimisation is spelled out here
    because it is short, and the automatic kind costs a small model a good part of its step.

    Mixed precision is torch's autocast: in the forward pass of a step, and so in its derivatives, products of
    matrices take bfloat16. Weights, gradients, moments, validation and the finished model are float32; geometry,
    energies and the sums of the loss are float64. bfloat16 reaches as far as float32: no loss is scaled.

    `model` must lie on its device already; `watch` has one column for the loss and one for each term.
    """

    def __init__(
        self,
        model: Model,
        terms: Sequence[LossTerm],
        schedule: Schedule,
        watch: LossWatch,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.terms = tuple(terms)
        self.schedule = schedule
        self.watch = watch
        self.ranks = ranks
        self.steps = 0
        self.stop_requested = False  # set from a signal handler: only ever a flag
        self.all_stop = False  # some process was asked to stop: every one does after this step
        train = model.plan.train
        assert train is not None
        self._train = train
        self._rate = float(train["learning_rate"])
        self._clip = train["clip"]
        self._mixed = train["precision"] == "mixed"
        self._recompute = bool(train["activation_checkpointing"])
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.average: Averaging | None = None
        if train["optimizer"] == "schedule_free":
            self.average = ScheduleFree(self.weights, lambda: self._built)
        elif train["ema"] is not None:
            self.average = Average(self.weights, float(train["ema"]))
        self._built: list[torch.optim.Optimizer] = []

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        self._built = build_optimizers(self.model, self._train)
        return self._built

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # the stream already put it there

    def rate_at(self, step: int) -> float:
        """The learning rate of `step`, counted from 0."""
        return self._rate * self.schedule.factor(step)

    def loss_weights(self, step: int) -> tuple[float, ...]:
        """The weight of every term at `step`."""
        progress = self.schedule.progress(step)
        return tuple(term.weight_at(progress) for term in self.terms)

    def losses(self, parts: Sequence[Batch]) -> Tensor:
        """Backward through every part of a batch; the weighted loss and each term's mean: [1 + terms] float64.

        The parts of all processes together are one batch: every mean is over its components.
        """
        device = next(self.model.parameters()).device
        sums = torch.zeros(len(self.terms), dtype=torch.float64, device=device)
        counts = torch.zeros_like(sums)
        for part in parts:
            counts += torch.tensor(term_counts(self.terms, part.labels), dtype=torch.float64, device=device)
        # the request travels with the counts, so that all processes stop after the same step
        asked = torch.full((1,), float(self.stop_requested), dtype=torch.float64, device=device)
        self.ranks.add([counts, asked])
        self.all_stop = self.stop_requested if self.ranks.size == 1 else bool(asked > 0)
        weights = torch.tensor(self.loss_weights(self.steps), dtype=torch.float64, device=device)
        for part in parts:
            outputs = self._outputs(part, device)
            part_sums = term_sums(self.terms, outputs, part.labels, part.atoms)
            (weights * part_sums / counts).sum().backward()
            sums += part_sums.detach()
        self.ranks.add([sums, *self._gradients()])
        means = sums / counts
        return torch.cat(((weights * means).sum()[None], means))

    def _outputs(self, part: Batch, device: torch.device) -> dict[str, Tensor]:
        if self._mixed or self._recompute:
            with torch.autocast(device.type, torch.bfloat16, enabled=self._mixed):
                return self.model(part.inputs, create_graph=True, recompute=self._recompute)
        return self.model.trainable(part.inputs, [term.target for term in self.terms])

    def _gradients(self) -> list[Tensor]:
        """The gradients of all weights that have one in any process; zeros where it has none here."""
        if self.ranks.size == 1:
            return []
        has = torch.tensor([float(weight.grad is not None) for weight in self.weights])
        has = has.to(self.weights[0].device)
        self.ranks.add([has])
        for weight, somewhere in zip(self.weights, has.tolist(), strict=True):
            if somewhere and weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        return [weight.grad for weight in self.weights if weight.grad is not None]

    def training_step(self, batch: Sequence[Batch], batch_idx: int) -> None:
        found: Any = self.optimizers()
        optimizers = found if isinstance(found, list) else [found]
        rate = self.rate_at(self.steps)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
        losses = self.losses(batch)
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(self.weights, self._clip)
        self.watch.add(self.steps, losses, tuple(s for part in batch for s in part.samples))
        for optimizer in optimizers:
            optimizer.step()
        if self.average is not None:
            self.average.update()
        self.steps += 1
