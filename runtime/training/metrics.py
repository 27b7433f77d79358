"""Errors of a model over a set: RMSE and MAE of every labelled target, exact over all components.

Sums are accumulated in float64 on the device and read once at the end, so that a set costs one
synchronisation.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from equic.runtime.build import Model
from torch import Tensor

from .batches import Batch
from .losses import LossTerm

Metrics = dict[str, dict[str, float]]


class _Sums:
    """Σ|e|, Σe² and the number of components of one kind of error."""

    def __init__(self) -> None:
        self.absolute: Tensor | float = 0.0
        self.squared: Tensor | float = 0.0
        self.count = 0

    def add(self, error: Tensor) -> None:
        error = error.double()
        self.absolute = self.absolute + error.abs().sum()
        self.squared = self.squared + error.square().sum()
        self.count += error.numel()

    def rmse(self) -> float:
        return math.sqrt(float(self.squared) / self.count)

    def mae(self) -> float:
        return float(self.absolute) / self.count


def evaluate(model: Model, batches: Iterable[Batch], targets: Sequence[str]) -> Metrics:
    """RMSE and MAE of `targets` over `batches`: {target: {"rmse", "mae"}}, in the plan's units.

    Energies also have `rmse_per_atom` and `mae_per_atom` (see `Plan.per_atom`). Targets without labels are left out.
    """
    sums: dict[str, _Sums] = {}
    per_atom: dict[str, _Sums] = {}
    divided = model.plan.per_atom
    training = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            outputs = model(batch.inputs)
            for target in targets:
                if target not in batch.labels:
                    continue
                error = batch.labels[target].double() - outputs[target].double()
                sums.setdefault(target, _Sums()).add(error)
                if target in divided and batch.atoms is not None:
                    atoms = batch.atoms.view(-1, *[1] * (error.ndim - 1))
                    per_atom.setdefault(target, _Sums()).add(error / atoms)
    model.train(training)
    metrics = {target: {"rmse": s.rmse(), "mae": s.mae()} for target, s in sums.items()}
    for target, found in per_atom.items():
        metrics[target] |= {"rmse_per_atom": found.rmse(), "mae_per_atom": found.mae()}
    return metrics


def weighted_loss(terms: Sequence[LossTerm], metrics: Mapping[str, Mapping[str, float]]) -> float:
    """The training loss over a whole set, from its metrics; targets without labels do not count.

    NaN when no term has labels.
    """
    parts = [
        term.weight * metrics[term.target]["rmse_per_atom" if term.per_atom else "rmse"] ** 2
        for term in terms
        if term.target in metrics
    ]
    return sum(parts) if parts else math.nan


def flatten(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """One flat row: {"energy": {"rmse": x}} becomes {"energy_rmse": x}."""
    return {f"{target}_{name}": value for target, row in metrics.items() for name, value in row.items()}
