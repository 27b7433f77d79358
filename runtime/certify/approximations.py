"""Ops that keep a symmetry approximately, each by itself, against the error that the compiler claims for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from equic.runtime.irreps import Irreps
from equic.runtime.tables.wigner import wigner_D
from numpy.typing import NDArray

from .certificate import Item
from .judge import TOLERANCES, Rule, judge, not_applicable
from .rotations import haar_rotations
from .subject import DTYPES, Subject

Array = NDArray[np.float64]

_ROWS, _ROTATIONS = 128, 24
# what may lie between an average over points or orientations and where they begin
_ROW_BY_ROW = frozenset(
    {
        *("sample", "orbit", "mlp", "linear", "act", "add", "scale", "difference"),
        *("concat", "arrange", "norms", "inner", "weigh"),
    }
)
_SAMPLING = 1.25  # random features and rotations are not those that the compiler took


def approximation_items(subject: Subject, rng: np.random.Generator) -> list[Item]:
    """Per approximate op the spread of its back-rotated results over rotations and reflections.

        eps² = sum_k |g_k^-1 f(g_k x) - mean|² / sum_k |f(g_k x)|²,   x ~ N(0, 1)

    Of a sum over a sphere, the ops from the sampling on. The compiler's number is of other random features;
    a quarter more is allowed for that, and rounding.
    """
    claimed = [step for step in subject.plan.steps if "eps" in step.params]
    if not isinstance(subject.call, torch.nn.Module):
        why = "an exported file has no single ops"
        return [not_applicable(_name(step), subject.dtype, why) for step in claimed]
    return [_item(subject, step, rng) for step in claimed]


def _name(step: Any) -> str:
    return f"error of {step.name}"


def _item(subject: Subject, step: Any, rng: np.random.Generator) -> Item:
    model, name = subject.call, subject.dtype
    leaves = _leaves(model, step)
    if leaves is None:
        return not_applicable(
            _name(step), name, "it sums values on a sphere that are not sampled from features"
        )
    reps = [rep for _, rep in leaves]
    inputs = [rng.normal(size=(_ROWS, Irreps.parse(rep).dim)) for rep in reps]
    rotations = haar_rotations(_ROTATIONS, rng)
    if not (step.layer == "average" and _keeps_hands(step)):
        rotations[1::2] *= -1.0
    found = []
    for g in rotations:
        turned = [x @ _matrix(rep, g).T for x, rep in zip(inputs, reps, strict=True)]
        values = {
            source: torch.from_numpy(x).to(subject.device, DTYPES[name])
            for (source, _), x in zip(leaves, turned, strict=True)
        }
        with torch.no_grad():
            result = _evaluate(model, step, values)
        found.append(result.to(torch.float64).cpu().numpy() @ _matrix(step.rep, g))
    results = np.stack(found)
    error = float(np.sqrt(results.var(axis=0).mean() / np.square(results).mean()))
    eps = float(step.params["eps"])
    return judge(
        _name(step),
        name,
        error,
        Rule(_SAMPLING * eps + TOLERANCES["symmetry"][name], f"the compiler claims {eps:.1e}"),
        measure=f"spread of back-rotated results over {_ROTATIONS} rotations and reflections, of random features",
    )


def _keeps_hands(step: Any) -> bool:
    """Whether a mean over orientations has rotations alone, and says nothing of reflections."""
    return bool((np.linalg.det(np.array(step.params["elements"]).reshape(-1, 3, 3)) > 0).all())


def _leaves(model: Any, step: Any) -> list[tuple[str, str]] | None:
    """(value, rep) of the random features: those that the op reads, or that its values on a sphere are of."""
    if step.layer == "product":
        reps = [step.params["left"], step.params["right"]]
        weights = [f"{model.plan.step(name).dim}x0e" for name in step.inputs[2:]]
        return list(zip(step.inputs, (*reps, *weights), strict=True))
    on_sphere = step.layer == "act" and step.params["form"] in ("s2", "s2_product")
    if on_sphere or step.layer in ("sample", "orbit"):
        return [(step.inputs[0], step.params["in"])]
    found: dict[str, str] = {}
    for source in step.inputs:
        behind = model.plan.step(source)
        if behind.layer not in _ROW_BY_ROW:
            return None
        leaves = _leaves(model, behind)
        if leaves is None:
            return None
        found |= dict(leaves)
    return list(found.items()) or None


def _evaluate(model: Any, step: Any, values: dict[str, torch.Tensor]) -> torch.Tensor:
    inputs = [
        values[source] if source in values else _evaluate(model, model.plan.step(source), values)
        for source in step.inputs
    ]
    layer: Callable[..., torch.Tensor] = model.layer(step.name)
    return layer(*inputs)


def _matrix(rep: str, g: Array) -> Array:
    sign = float(np.sign(np.linalg.det(g)))
    blocks = []
    for block in Irreps.parse(rep):
        turned = wigner_D(block.l, g * sign) * (block.p if sign < 0 else 1)
        blocks.append(np.kron(turned, np.eye(block.mul)))
    size = sum(len(block) for block in blocks)
    matrix, at = np.zeros((size, size)), 0
    for block in blocks:
        matrix[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return matrix
