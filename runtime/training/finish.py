"""What a run leaves behind: errors on every set, the artifact, the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from equic.runtime.artifact import save_artifact
from equic.runtime.build import Model
from equic.runtime.data.distances import closest_distances
from equic.runtime.plan import Plan

from .batches import Samples, evaluation_batches
from .breakdown import Breakdown
from .metrics import Metrics, evaluate
from .state import ARTIFACT, write_json

if TYPE_CHECKING:
    from .rounds import Rounds


@dataclass(slots=True)
class Measured:
    """Errors by set, how many samples they were measured on, and the same by species and kind of frame.

    `missing` are the sets whose errors were not waited for.
    """

    metrics: dict[str, Metrics] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def measure(model: Model, samples: Mapping[str, Samples], plan: Plan, rounds: "Rounds") -> Measured:
    """Errors on every set with the final weights; Ctrl-C leaves out the sets that are not done."""
    found = Measured()
    for name, part in samples.items():
        limit = rounds.budget.train_limit if name == "train" and rounds.budget is not None else None
        batches = evaluation_batches(part, rounds.stream.batch, limit=limit)
        breakdown = Breakdown(plan, part)
        try:
            errors = evaluate(
                model, batches, list(plan.outputs), ranks=rounds.module.ranks, watch=breakdown.add
            )
        except KeyboardInterrupt:
            found.missing = [other for other in samples if other not in found.metrics]
            break
        found.metrics[name] = errors
        found.counts[name] = len(part) if limit is None else min(limit, len(part))
        found.parts[name] = breakdown.tables(rounds.module.ranks)
    return found


def write_results(
    directory: Path,
    model: Model,
    found: Measured,
    summary: Mapping[str, Any],
    *,
    seconds: float,
    spec_text: str,
    diagnostics: Sequence[Mapping[str, Any]],
) -> Path:
    """Write the artifact and metrics.json; the path of the artifact."""
    artifact = save_artifact(
        directory / ARTIFACT,
        model,
        spec_text=spec_text,
        training={**summary, "samples": found.counts, "metrics": found.metrics},
        diagnostics=diagnostics,
    )
    units = {name: output.unit for name, output in model.plan.outputs.items()}
    results = {"metrics": found.metrics, "units": units, "samples": found.counts, **summary}
    results |= {"parts": found.parts, "missing": found.missing, "seconds": round(seconds, 3)}
    write_json(directory / "metrics.json", results)
    return artifact


def summary_of(rounds: "Rounds", plan: Plan, seed: int, device: torch.device) -> dict[str, Any]:
    """How the model was trained; no times, so that a repeated run gives the same artifact."""
    assert plan.train is not None
    best = rounds.best
    return {
        "steps": rounds.module.steps,
        "epochs": rounds.stream.epochs(rounds.module.steps),
        "seed": seed,
        "device": device.type,
        "best": None
        if best is None
        else {"step": best.step, "epoch": best.epoch, "validation_loss": best.loss},
        "settings": {key: value for key, value in plan.train.items() if key != "seed"},
    }


def domain_of(plan: Plan, train: Any) -> dict[str, Any]:
    """Where the training set lies: of atoms, how close they come, by pair of species (Å)."""
    if plan.kind != "atoms":
        return {}
    return {"closest_distances": closest_distances(plan, train)}
