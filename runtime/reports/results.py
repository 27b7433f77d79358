"""What training gave: learning curves, and predictions against references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from equic.runtime.plan import Plan

from .blocks import Section, grid, section
from .charts import Line, lines_chart, parity_chart
from .errors import units_of
from .histograms import histogram_chart
from .html import Html, h
from .numbers import milli, show
from .runs import Run


def learning_section(runs: Sequence[Run], plan: Plan | None) -> Section | None:
    """Errors over epochs, one picture per target. Colours are runs; validation is solid, training dashed."""
    runs = [run for run in runs if len(run.history) > 1]
    figures = []
    for target, unit in units_of(runs, plan).items():
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
    figures += _symmetries(runs)
    if not figures:
        return None
    words = (
        "Colours are runs; solid lines are validation, dashed ones training batches."
        if len(runs) > 1
        else None
    )
    return section("learning", "Learning", "Learning curves", words, grid(figures))


def _symmetries(runs: Sequence[Run]) -> list[Html]:
    """How far each symmetry that is not proven was broken, over epochs."""
    columns = dict.fromkeys(name for run in runs for name in run.columns if name.startswith("symmetry_"))
    return [
        lines_chart(
            _lines(runs, column, "validation"),
            title=f"{column.removeprefix('symmetry_')}, measured",
            x="epoch",
            y="relative error",
            label=f"Error of {column.removeprefix('symmetry_')} over epochs",
            caption="RMS of f(g x) − g f(x) over that of f, on a few validation frames, in the model's precision.",
        )
        for column in columns
    ]


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


def parity_section(parity: Mapping[str, Any] | None) -> Section | None:
    """Prediction against reference: {target: (truth, prediction, unit)}, or the same per set or run."""
    if not parity:
        return None
    first = next(iter(parity.values()))
    sets = parity if isinstance(first, Mapping) else {"": parity}
    body = []
    for name, targets in sets.items():
        figures = [_parity(name, target, *values) for target, values in targets.items()]
        body += [h("h3", name) if name else None, grid(figures)]
    spread = [
        _spread({name: targets[target] for name, targets in sets.items() if target in targets}, target)
        for target in dict.fromkeys(target for targets in sets.values() for target in targets)
    ]
    body += [h("h3", "How the errors are spread"), grid(spread)]
    return section("parity", "Parity", "Predictions against references", None, body)


def _spread(series: Mapping[str, Any], target: str) -> Html:
    unit = next(iter(series.values()))[2]
    factor, word = milli(unit)
    errors = {
        name: factor * (np.ravel(np.asarray(guess, dtype=float)) - np.ravel(np.asarray(truth, dtype=float)))
        for name, (truth, guess, _) in series.items()
    }
    worst = max(float(np.abs(values).max(initial=0.0)) for values in errors.values())
    return histogram_chart(
        errors,
        word,
        title=target,
        label=f"Histogram of the errors of {target}",
        caption=f"The largest error is {show(worst)} {word}".rstrip()
        + "; what lies beyond the picture is in its last bins.",
    )


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
