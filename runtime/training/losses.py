"""The training loss: a weighted sum of mean squared errors, one term per target.

    L = Σ_t w_t · mean_(c in t) (y_c − ŷ_c)²

The mean runs over all components of a target in the batch. A per-atom energy compares (E − Ê)/N. Energies are
subtracted in float64, because a total energy of 10⁴ eV leaves float32 only 1 meV.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from equic.runtime.data import Frame, label_variance
from equic.runtime.plan import Plan
from torch import Tensor

from .errors import TrainingError


@dataclass(frozen=True, slots=True)
class LossTerm:
    """One target's part in the loss: its weight, and whether its error is divided by the number of atoms.

    A weight that is not given is one over the variance of the labels: see `with_weights`.
    """

    target: str
    weight: float | None
    per_atom: bool


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
        LossTerm(target, None if entry["weight"] is None else float(entry["weight"]), bool(entry["per_atom"]))
        for target, entry in plan.train["loss"].items()
        if entry["weight"] != 0
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
    return error / atoms.view(-1, *[1] * (error.ndim - 1))


def term_losses(
    terms: Sequence[LossTerm],
    outputs: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    atoms: Tensor | None,
) -> Tensor:
    """The mean squared error of every term, unweighted, in float64: [terms]."""
    return torch.stack([residual(term, outputs, labels, atoms).square().mean().double() for term in terms])
