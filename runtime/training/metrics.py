"""Errors of a model over a set: RMSE and MAE of every labelled target, exact over all components.

Sums are accumulated in float64 on the device and read once at the end, so that a set costs one
synchronisation.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from equic.runtime.build import Model
from torch import Tensor

from .batches import Batch
from .losses import LossTerm, penalty, residual
from .ranks import ALONE, Ranks

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

    @classmethod
    def of(cls, absolute: float, squared: float, count: float) -> "_Sums":
        """Sums that are known."""
        made = cls()
        made.absolute, made.squared, made.count = absolute, squared, round(count)
        return made

    def rmse(self) -> float:
        return math.sqrt(float(self.squared) / self.count)

    def mae(self) -> float:
        return float(self.absolute) / self.count


def evaluate(
    model: Model,
    batches: Iterable[Batch],
    targets: Sequence[str],
    terms: Sequence[LossTerm] = (),
    ranks: Ranks = ALONE,
    watch: Callable[[Batch, str, Tensor], None] | None = None,
) -> Metrics:
    """RMSE and MAE of `targets` over `batches`: {target: {"rmse", "mae"}}, in the plan's units.

    Energies also have `rmse_per_atom` and `mae_per_atom` (see `Plan.per_atom`); a target whose part of the loss
    is not the square of one of these has `loss`, the mean that `terms` asks for. Targets without labels are
    left out. Every process of `ranks` takes its share of the batches, and has the errors of all. `watch` is
    called with the errors of every batch and target.
    """
    sums: dict[tuple[str, str], _Sums] = {}
    divided = model.plan.per_atom
    training = model.training
    model.eval()
    special = {term.target: term for term in terms if not _is_square(term, divided)}
    with torch.no_grad():
        for number, batch in enumerate(batches):
            if number % ranks.size != ranks.rank:
                continue
            outputs = model(batch.inputs)
            for target in targets:
                if target not in batch.labels:
                    continue
                error = batch.labels[target].double() - outputs[target].double()
                sums.setdefault((target, ""), _Sums()).add(error)
                if watch is not None:
                    watch(batch, target, error)
                if target in divided and batch.atoms is not None:
                    atoms = batch.atoms.view(-1, *[1] * (error.ndim - 1))
                    sums.setdefault((target, "_per_atom"), _Sums()).add(error / atoms)
                if target in special:
                    term = special[target]
                    values = penalty(term, residual(term, outputs, batch.labels, batch.atoms))
                    sums.setdefault((target, "loss"), _Sums()).add(values)
    model.train(training)
    sums = _over_all(sums, ranks, next(model.parameters()).device)
    metrics: Metrics = {target: {} for target in targets if (target, "") in sums}
    for (target, kind), found in sums.items():
        # penalties are not negative: their mean is that of their sizes
        more = (
            {"loss": found.mae()}
            if kind == "loss"
            else {f"rmse{kind}": found.rmse(), f"mae{kind}": found.mae()}
        )
        metrics[target] |= more
    return metrics


def _is_square(term: LossTerm, divided: Collection[str]) -> bool:
    """Whether the term is the square of an RMSE that is measured anyway."""
    return term.form == "mse" and (not term.per_atom or term.target in divided)


def _over_all(
    sums: dict[tuple[str, str], _Sums], ranks: Ranks, device: torch.device
) -> dict[tuple[str, str], _Sums]:
    """The sums of all processes."""
    if ranks.size == 1:
        return sums
    names = ranks.union(list(sums))
    parts = [sums.get(name, _Sums()) for name in names]
    table = torch.tensor(
        [[float(s.absolute), float(s.squared), float(s.count)] for s in parts], dtype=torch.float64
    ).to(device)
    ranks.add([table])
    return {name: _Sums.of(*row) for name, row in zip(names, table.tolist(), strict=True)}


def weighted_loss(
    terms: Sequence[LossTerm], metrics: Mapping[str, Mapping[str, float]], progress: float = 0.0
) -> float:
    """The training loss over a whole set, from its metrics; targets without labels do not count.

    `progress` is the part of the run that is over, which decides the weights. NaN when no term has labels.
    """
    parts = [
        term.weight_at(progress)
        * (
            metrics[term.target]["loss"]
            if "loss" in metrics[term.target]
            else metrics[term.target]["rmse_per_atom" if term.per_atom else "rmse"] ** 2
        )
        for term in terms
        if term.target in metrics
    ]
    return sum(parts) if parts else math.nan


def flatten(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """One flat row: {"energy": {"rmse": x}} becomes {"energy_rmse": x}."""
    return {f"{target}_{name}": value for target, row in metrics.items() for name, value in row.items()}
