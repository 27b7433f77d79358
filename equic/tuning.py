"""`equic tune`: the bridge between the spec's search spaces, the compiler, training, and Optuna."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equic.runtime.errors import EquicError

if TYPE_CHECKING:
    from rich.console import Console

    from equic.compiler.pipeline import Compilation
    from equic.runtime.plan import Plan
    from equic.runtime.training import TrainingResult
    from equic.runtime.tuning import TrialContext, TrialOutcome, TuningResult


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found: the result, its one line of evidence, and the spec it wrote (if asked to)."""

    result: TuningResult
    evidence: str
    directory: Path
    best_spec: Path | None


def tune_spec(
    spec: str | Path,
    overrides: Sequence[str] = (),
    *,
    trials: int | None = None,
    minutes: float | None = None,
    storage: str | Path | None = None,
    write: str | Path | None = None,
    device: str = "auto",
    runs: str | Path = "runs",
    repeats: int | None = None,
    console: Console | None = None,
) -> Tuned:
    """Search what the spec marks with `search`, train each candidate, and say what the data wants.

    Every trial compiles the spec with its values, trains within the budget, and is scored by `tune.minimize`
    (`SET.TARGET.rmse` or `.mae`). The journal (default `runs/NAME/tune/study.journal`) makes it resumable.

    Raises:
        SpecError: the spec, or a candidate of it, does not compile.
        EquicError: nothing is marked, or the objective names no measured number.
    """
    from equic.compiler.language.codes import Code
    from equic.runtime.data import load_sets
    from equic.runtime.tuning import Space, TrialOutcome, evidence, tune

    from . import api

    plan, done = api.plan(spec, overrides)
    assert done.spec is not None
    settings = done.spec.tune
    if settings is None:
        raise EquicError(
            "the spec has no `tune` section",
            help="add `tune: {minimize: validation.forces.rmse, trials: 20}`",
        )
    if not done.spaces:
        report = done.report
        report.error(
            Code.NOTHING_TO_SEARCH,
            done.source.span(("tune",), key=True) if done.source else None,
            "nothing is marked for search",
            help="write `{search: {low: 0.0, high: 1.0}}` in place of a value",
        )
        report.raise_if_errors()
    folder = Path(storage).parent if storage else Path(runs) / plan.name / "tune"
    folder.mkdir(parents=True, exist_ok=True)
    journal = Path(storage) if storage else folder / "study.journal"
    budget = minutes if minutes is not None else (settings.budget.minutes if settings.budget else None)
    sets = load_sets(plan)

    def objective(values: dict[str, Any], trial: TrialContext) -> TrialOutcome:
        candidate = _candidate(done, values, epochs=settings.epochs)
        number = f"trial-{trial.number}" + (f"-repeat-{trial.repeat}" if trial.repeat else "")
        result = _train(candidate, folder / number, sets, trial, device, settings.minimize)
        if result.interrupted:
            raise KeyboardInterrupt
        return TrialOutcome(
            _objective(settings.minimize, result.metrics), _flat(result.metrics), str(result.artifact)
        )

    result = tune(
        spaces=[Space.from_search(space) for space in done.spaces],
        objective=objective,
        storage=journal,
        study_name=plan.name,
        trials=trials or settings.trials,
        minutes=budget,
        seed=settings.seed,
        repeats=settings.repeats if repeats is None else repeats,
        fingerprint=_fingerprint(done),
    )
    spaces = [Space.from_search(space) for space in done.spaces]
    line = evidence(result, spaces, noun=settings.minimize)
    (folder / "tuning.json").write_text(
        json.dumps({**result.to_json(), "evidence": line}, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    best = _write_best(done, result, Path(write)) if write else None
    if console is not None:
        from equic.runtime.tuning import render_tuning

        console.print(render_tuning(result, noun=settings.minimize))
        console.print(line)
        if best:
            console.print(f"wrote {best}")
    return Tuned(result, line, folder, best)


def _candidate(done: Compilation, values: Mapping[str, Any], *, epochs: int | None) -> Plan:
    """The plan of the spec with these values in place of its searches."""
    from equic.compiler.language.search import substitute
    from equic.compiler.pipeline import compile_spec
    from equic.runtime.plan import Plan

    assert done.source is not None
    made = compile_spec(substitute(done.source, dict(values)))
    made.report.raise_if_errors()
    assert made.plan is not None
    if epochs is not None:
        made.plan["train"]["epochs"] = epochs
    return Plan.from_json(made.plan)


def _train(
    plan: Plan, directory: Path, sets: Any, trial: TrialContext, device: str, objective: str
) -> TrainingResult:
    """One trial's training; what it measures on the way is reported, so that hopeless trials end early."""
    from equic.runtime.training import train

    seconds = trial.seconds_per_trial
    column = objective.replace(".", "_")

    def observe(row: Mapping[str, Any]) -> None:
        if row.get(column) is not None:
            trial.report(int(row["step"]), float(row[column]))

    return train(
        plan,
        directory=directory,
        device=device,
        minutes=seconds / 60 if seconds is not None else None,
        progress=False,
        sets=sets,
        seed=int(plan.train["seed"]) + trial.repeat,
        observer=observe,
    )


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{part}.{target}.{name}": float(value)
        for part, targets in metrics.items()
        for target, numbers in targets.items()
        for name, value in numbers.items()
    }


def _objective(name: str, metrics: Mapping[str, Any]) -> float:
    known = _flat(metrics)
    if name not in known:
        raise EquicError(
            f"`tune.minimize: {name}` names no measured number", help=f"there are: {', '.join(known)}"
        )
    return known[name]


def _fingerprint(done: Compilation) -> str:
    """Identity of the spec apart from its search values: a study must not mix two specs."""
    assert done.source is not None
    data = {key: value for key, value in done.source.data.items() if key not in ("tune", "export")}
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(re.sub(r"\s+", " ", text).encode()).hexdigest()


def _write_best(done: Compilation, result: TuningResult, path: Path) -> Path:
    from equic.compiler.language.rebase import rebase_paths
    from equic.compiler.language.search_text import write_choices

    assert done.source is not None
    values = result.best_values
    if values is None:
        raise EquicError("no trial finished, so there is no best spec to write")
    text = write_choices(done.source.text, done.source, done.spaces, values)
    text = rebase_paths(text, os.path.dirname(done.source.path) or ".", str(path.parent))
    path.write_text(text, encoding="utf-8")
    return path
