"""What training gave: learning curves, errors, predictions against references."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from equic.runtime.plan import Plan

from .blocks import Section, grid, section
from .charts import Line, lines_chart, parity_chart
from .html import Html, h, join, table
from .numbers import milli, show
from .runs import Run


def learning_section(runs: Sequence[Run], plan: Plan | None) -> Section | None:
    """Errors over epochs, one picture per target. Colours are runs; validation is solid, training dashed."""
    runs = [run for run in runs if len(run.history) > 1]
    figures = []
    for target, unit in _units(runs, plan).items():
        column = f"validation_{target}_rmse_per_atom"
        per_atom = any(column in run.columns for run in runs)
        column = column if per_atom else f"validation_{target}_rmse"
        factor, word = milli(unit)
        lines = [
            *_lines(runs, column, "validation", factor),
            *_lines(runs, f"loss_{target}", "training batches", factor, root=True, beside=column),
        ]
        if lines:
            word = f"{word}/atom" if per_atom else word
            figures.append(
                lines_chart(
                    lines,
                    title=target,
                    x="epoch",
                    y=f"RMSE ({word})" if word else "RMSE",
                    label=f"RMSE of {target} over epochs",
                )
            )
    loss = [
        *_lines(runs, "validation_loss", "validation"),
        *_lines(runs, "loss", "training batches", beside="validation_loss"),
    ]
    if loss:
        figures.append(
            lines_chart(loss, title="loss", x="epoch", y="weighted loss", label="Loss over epochs")
        )
    if not figures:
        return None
    words = (
        "Colours are runs; solid lines are validation, dashed ones training batches."
        if len(runs) > 1
        else None
    )
    return section("learning", "Learning", "Learning curves", words, grid(figures))


def _lines(
    runs: Sequence[Run],
    column: str,
    words: str,
    factor: float = 1.0,
    *,
    root: bool = False,
    beside: str | None = None,
) -> list[Line]:
    dashes = 0 if words == "validation" else 1
    lines = []
    for place, run in enumerate(runs):
        xs, ys = run.column(column)
        if not xs:
            continue
        values = np.sqrt(np.abs(ys)) if root else np.asarray(ys)
        # one entry per run is enough to tell their colours; the section says what the dashes are
        named = beside is None or not run.column(beside)[0]
        name = words if len(runs) == 1 else run.name if named else ""
        lines.append(
            Line(name, xs, factor * values, colour=place if len(runs) > 1 else dashes, dashes=dashes)
        )
    return lines


def _units(runs: Sequence[Run], plan: Plan | None) -> dict[str, str]:
    """Targets and their units: those of the plan, else those that metrics.json names."""
    if plan is not None:
        return {name: output.unit for name, output in plan.outputs.items()}
    names = dict.fromkeys(target for run in runs for errors in run.metrics.values() for target in errors)
    known: dict[str, str] = {}
    for run in runs:
        known |= {str(key): str(value) for key, value in (run.extra.get("units") or {}).items()}
    return {name: known.get(name, "") for name in names}


def errors_section(runs: Sequence[Run], plan: Plan | None) -> Section | None:
    """Final errors: sets down, targets across; the mean and the spread over several runs."""
    runs = [run for run in runs if run.metrics]
    if not runs:
        return None
    units = _units(runs, plan)
    sets = dict.fromkeys(name for run in runs for name in run.metrics)
    head: list[object] = ["set", "samples"]
    columns = []
    for target in dict.fromkeys(t for run in runs for errors in run.metrics.values() for t in errors):
        found = [row for run in runs for row in (m.get(target, {}) for m in run.metrics.values())]
        per_atom = any("rmse_per_atom" in row for row in found)
        factor, unit = milli(units.get(target, ""))
        for kind in ("mae", "rmse"):
            word = f"{unit}/atom" if per_atom and unit else unit
            head.append(
                join([f"{target} {kind.upper()}", h("small", word, class_="block") if word else None])
            )
            columns.append((target, f"{kind}_per_atom" if per_atom else kind, factor))
    rows = []
    for name in sets:
        samples = next((run.extra["samples"].get(name) for run in runs if "samples" in run.extra), None)
        row: list[object] = [name, "–" if samples is None else f"{samples:,}"]
        for target, kind, factor in columns:
            values = [run.metrics.get(name, {}).get(target, {}).get(kind) for run in runs]
            row.append(_spread([factor * value for value in values if value is not None]))
        rows.append(row)
    over = f"Mean of {len(runs)} runs ± their standard deviation." if len(runs) > 1 else None
    return section(
        "errors", "Errors", "Errors", over, table(head, rows, numeric=range(1, len(head))), _details(runs)
    )


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = statistics.fmean(values)
    if len(values) < 2:
        return show(mean)
    spread = statistics.stdev(values)
    if spread == 0 or not 1e-4 < spread < 1e4:
        return f"{show(mean)} ± {show(spread, 2)}"
    decimals = max(0, 1 - math.floor(math.log10(spread)))  # two figures of the spread, and the mean to match
    return f"{mean:.{decimals}f} ± {spread:.{decimals}f}"


def _details(runs: Sequence[Run]) -> Html | None:
    """Which runs these are, where there are several."""
    if len(runs) < 2:
        return None
    names = ", ".join(run.name for run in runs)
    return h("p", f"Runs: {names}.", class_="intro after")


def parity_section(parity: Mapping[str, Any] | None) -> Section | None:
    """Prediction against reference: {target: (truth, prediction, unit)}, or the same per set."""
    if not parity:
        return None
    first = next(iter(parity.values()))
    sets = parity if isinstance(first, Mapping) else {"": parity}
    body = []
    for name, targets in sets.items():
        figures = [_parity(name, target, *values) for target, values in targets.items()]
        body += [h("h3", name) if name else None, grid(figures)]
    return section("parity", "Parity", "Predictions against references", None, body)


def _parity(name: str, target: str, truth: Any, prediction: Any, unit: str) -> Html:
    a = np.asarray(truth, dtype=float).reshape(-1)
    b = np.asarray(prediction, dtype=float).reshape(-1)
    factor, word = milli(unit)
    error = b - a
    spread = float(((a - a.mean()) ** 2).sum())
    rmse, mae = factor * float(np.sqrt((error**2).mean())), factor * float(np.abs(error).mean())
    words = [f"RMSE {show(rmse)} {word}".strip(), f"MAE {show(mae)} {word}".strip()]
    if spread > 0:
        words.append(f"R² {1.0 - float((error**2).sum()) / spread:.4f}")
    words.append(f"{len(a):,} numbers")
    where = f" ({name})" if name else ""
    return parity_chart(
        a,
        b,
        unit,
        title=target,
        label=f"{target} of the model against the reference{where}",
        caption=" · ".join(words),
    )
