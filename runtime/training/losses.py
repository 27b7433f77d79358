"""The training loss: a weighted sum over targets of the mean of a function of each error.

    L = Σ_t w_t · mean_(c in t) ρ_t(y_c − ŷ_c)

mse: ρ(e) = e² · l1: ρ(e) = |e| · huber: ρ(e) = e² up to δ, 2 δ |e| − δ² beyond, so that near zero it is mse.
The mean runs over all components of a target in the batch. A per-atom energy compares (E − Ê)/N. Energies are
subtracted in float64, because a total energy of 10⁴ eV leaves float32 only 1 meV.

Reference: huber1964robust
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from equic.runtime.data import Frame, label_variance
from equic.runtime.plan import Plan
from torch import Tensor

from .errors import TrainingError


@dataclass(frozen=True, slots=True)
class LossTerm:
    """One target's part in the loss.

    `weight` holds until the part `at` of the run is over, and then `later` (which may be the same); one that is
    not given is one over the variance of the labels: see `with_weights`. `per_atom`: errors are divided by the
    number of atoms; `form` and `delta`: the function ρ.
    """

    target: str
    weight: float | None
    per_atom: bool
    form: str = "mse"
    delta: float | None = None
    later: float | None = None
    at: float = 1.0

    def weight_at(self, progress: float) -> float:
        """The weight when the part `progress` of the run is over."""
        assert self.weight is not None, "`with_weights` comes first"
        return self.weight if self.later is None or progress < self.at else self.later


def loss_terms(plan: Plan) -> tuple[LossTerm, ...]:
    """The terms that the plan asks for, in its order.

    Raises:
        TrainingError: the plan has no train section, no loss, or a loss on something that is not an output.
    """
    if plan.train is None:
        raise TrainingError(
            f"the plan of `{plan.name}` does not say how to train", help="add `train:` to the spec"
        )
    terms = tuple(
        _term(target, entry) for target, entry in plan.train["loss"].items() if entry["weight"] != 0
    )
    if not terms:
        raise TrainingError("the loss has no terms", help="give a target a weight in `train.loss`")
    for term in terms:
        if term.target not in plan.outputs:
            raise TrainingError(
                f"the loss names `{term.target}`, which the model does not predict",
                help=f"its targets are: {', '.join(plan.outputs)}",
            )
    return terms


def _term(target: str, entry: Mapping[str, Any]) -> LossTerm:
    weight, delta = entry["weight"], entry.get("delta")
    switch = weight if isinstance(weight, Mapping) else {"from": weight}
    return LossTerm(
        target,
        None if switch["from"] is None else float(switch["from"]),
        bool(entry["per_atom"]),
        str(entry.get("form", "mse")),
        None if delta is None else float(delta),
        switch.get("to"),
        switch.get("at", 1.0),
    )


def with_weights(terms: Sequence[LossTerm], frames: Sequence[Frame]) -> tuple[LossTerm, ...]:
    """The terms with a weight each: where none is given, one over the variance of the target's training labels.

    Then a target counts alike in every unit, and a model that knows its mean alone has a loss of 1.
    """

    def weighted(term: LossTerm) -> LossTerm:
        if term.weight is not None:
            return term
        variance = label_variance(frames, term.target, per_atom=term.per_atom)
        return replace(term, weight=1.0 / variance if variance > 0 else 1.0)

    return tuple(weighted(term) for term in terms)


def residual(
    term: LossTerm, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor], atoms: Tensor | None
) -> Tensor:
    """Label minus prediction of one target, per atom where the term says so: the label's shape.

    `atoms` [S] is the number of atoms of each system.
    """
    prediction, label = outputs[term.target], labels[term.target]
    if not term.per_atom:
        return label.to(prediction.dtype) - prediction
    assert atoms is not None, "a per-atom term needs the number of atoms"
    error = label.double() - prediction.double()
    return error / atoms.reshape(-1, *(1 for _ in error.shape[1:]))


def penalty(term: LossTerm, error: Tensor) -> Tensor:
    """ρ of every component: the shape of the error."""
    match term.form:
        case "mse":
            return error.square()
        case "l1":
            return error.abs()
        case "huber":
            size, delta = error.abs(), float(term.delta or 0.0)
            return torch.where(size <= delta, error.square(), 2 * delta * size - delta**2)
    raise TrainingError(f"unknown form of a loss `{term.form}`", help="write mse, huber or l1")


def term_sums(
    terms: Sequence[LossTerm],
    outputs: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    atoms: Tensor | None,
) -> Tensor:
    """The sum of ρ over all components of every term, unweighted, in float64: [terms]."""
    return torch.stack(
        [penalty(term, residual(term, outputs, labels, atoms)).sum(dtype=torch.float64) for term in terms]
    )


def term_counts(terms: Sequence[LossTerm], labels: Mapping[str, Tensor]) -> list[int]:
    """How many components every term has."""
    return [labels[term.target].numel() for term in terms]


def term_losses(
    terms: Sequence[LossTerm],
    outputs: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    atoms: Tensor | None,
) -> Tensor:
    """The mean of ρ of every term, unweighted, in float64: [terms]."""
    sums = term_sums(terms, outputs, labels, atoms)
    return sums / torch.tensor(term_counts(terms, labels), dtype=torch.float64, device=sums.device)
