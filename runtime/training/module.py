"""One optimisation step, as a LightningModule. Imports lightning: import this module only to train."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from equic.runtime.build import Model
from torch import Tensor

from .average import Average
from .batches import Batch
from .losses import LossTerm, term_losses
from .optimizers import build_optimizer
from .schedule import Schedule
from .watch import LossWatch


class TrainingModule(pl.LightningModule):
    """Steps a model down its loss.

    Each step: rate from the schedule, forward with a differentiable graph, weighted loss, backward, clipping,
    optimiser, moving average. `steps` counts optimiser steps and decides everything that varies along a run.

    Lightning moves the module, runs the loop and writes the state; the optimisation is spelled out here
    because it is six lines, and the automatic kind costs a small model a good part of its step.

    `model` must lie on its device already; `watch` has one column for the loss and one for each term.
    """

    def __init__(
        self,
        model: Model,
        terms: Sequence[LossTerm],
        schedule: Schedule,
        watch: LossWatch,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.terms = tuple(terms)
        self.schedule = schedule
        self.watch = watch
        self.steps = 0
        train = model.plan.train
        assert train is not None
        self._train = train
        self._rate = float(train["learning_rate"])
        self._clip = train["clip"]
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.average = None if train["ema"] is None else Average(self.weights, float(train["ema"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.model, self._train)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch  # the stream already put it there

    def rate_at(self, step: int) -> float:
        """The learning rate of `step`, counted from 0."""
        return self._rate * self.schedule.factor(step)

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The weighted loss [] and each term's mean squared error [terms], differentiable, in float64."""
        outputs = self.model(batch.inputs, create_graph=True)
        parts = term_losses(self.terms, outputs, batch.labels, batch.atoms)
        loss = sum(term.weight * part for term, part in zip(self.terms, parts.unbind(), strict=True))
        assert isinstance(loss, Tensor)
        return loss, parts

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        rate = self.rate_at(self.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, parts = self.losses(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(self.weights, self._clip)
        self.watch.add(self.steps, torch.cat((loss.detach()[None], parts.detach())), batch)
        optimizer.step()
        if self.average is not None:
            self.average.update()
        self.steps += 1
