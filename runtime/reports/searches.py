"""The part of a report about a search: error against strictness or trial, the best marked, the line of evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from equic.runtime.tuning.strictness import strictness

from .blocks import Section, grid, pill, section
from .charts import tuning_chart
from .html import Html, h, join, table
from .numbers import duration, show

_SHOWN = 200


def tuning_section(tuning: Mapping[str, Any] | None) -> Section | None:
    """`tuning` is a TuningResult as JSON, with `evidence` (a line) and `objective` (a name) where known."""
    if not tuning:
        return None
    rows = [row for row in tuning["rows"] if row["state"] == "complete" and row["objective"] is not None]
    best = tuning.get("best") or {}
    numbers = set(best.get("numbers", ()))
    objective = str(tuning.get("objective", "objective"))
    maximize = tuning.get("direction") == "maximize"
    against = [_against(space, rows, numbers, objective, maximize) for space in tuning["spaces"]]
    figures = [figure for figure in against if figure is not None]
    if len(rows) > 1:
        figures.append(_over_trials(rows, numbers, objective, maximize))
    evidence = tuning.get("evidence")
    states: dict[str, int] = {}
    for row in tuning["rows"]:
        states[row["state"]] = states.get(row["state"], 0) + 1
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    took = f", {duration(tuning['seconds'])}" if tuning.get("seconds") else ""
    return section(
        "tuning",
        "Search",
        "Search",
        f"{counted}{took}; sampler {tuning.get('sampler', 'unknown')}.",
        h("p", str(evidence), class_="evidence") if evidence else None,
        grid(figures) if figures else None,
        _importance(tuning.get("importance") or {}),
        h("details", h("summary", "All trials"), _trials(tuning, numbers, objective)),
    )


def _against(
    space: str, rows: Sequence[Mapping[str, Any]], best: set[int], objective: str, maximize: bool
) -> Html | None:
    """The objective over one searched field; None where every trial had the same value."""
    rows = [row for row in rows if space in row["values"]]
    values = [row["values"][space] for row in rows]
    if len({str(value) for value in values}) < 2:
        return None
    placed = [strictness(value) if not _is_number(value) else float(value) for value in values]
    ticks = None
    if any(place is None for place in placed):
        ticks = sorted({str(value) for value in values})
        placed = [float(ticks.index(str(value))) for value in values]
    numbers = [float(place) for place in placed if place is not None]
    ys = [float(row["objective"]) for row in rows]
    trials = [
        {"x": x, "y": y, "best": row["number"] in best} for row, x, y in zip(rows, numbers, ys, strict=True)
    ]
    return tuning_chart(
        trials,
        parameter=space,
        objective=objective,
        log_x=ticks is None and _wide(numbers),
        log_y=_wide(ys, zero=False, decades=0.8),
        ticks=ticks,
        # a line says that neighbours belong together: true of few values that recur, not of a random sample
        line="mean" if ticks is None and len(set(numbers)) <= 0.75 * len(numbers) else None,
        maximize=maximize,
        title=f"against {space}",
        label=f"{objective} against {space}",
    )


def _over_trials(rows: Sequence[Mapping[str, Any]], best: set[int], objective: str, maximize: bool) -> Html:
    ys = [float(row["objective"]) for row in rows]
    trials = [
        {"x": float(row["number"]), "y": y, "best": row["number"] in best}
        for row, y in zip(rows, ys, strict=True)
    ]
    return tuning_chart(
        trials,
        parameter="trial",
        objective=objective,
        log_x=False,
        line="best so far",
        maximize=maximize,
        log_y=_wide(ys, zero=False, decades=0.8),
        title="trial by trial",
        label=f"{objective} of each trial",
    )


def _importance(shares: Mapping[str, float]) -> Html | None:
    if len(shares) < 2:
        return None
    rows = [
        (
            name,
            join(
                [f"{100 * share:.0f} %", h("span", h("i", style=f"width:{100 * share:.0f}%"), class_="meter")]
            ),
        )
        for name, share in sorted(shares.items(), key=lambda item: -item[1])
    ]
    return table(("searched field", "importance"), rows)


def _trials(tuning: Mapping[str, Any], best: set[int], objective: str) -> Html:
    spaces = list(tuning["spaces"])
    rows = []
    for row in tuning["rows"][:_SHOWN]:
        state = pill("holds", "★ best") if row["number"] in best else row["state"]
        values = [_show_value(row["values"].get(space)) for space in spaces]
        rows.append((row["number"], *values, show(row["objective"]), state, row.get("reason") or ""))
    more = len(tuning["rows"]) - _SHOWN
    return join(
        [
            table(("trial", *spaces, objective, "state", "reason"), rows),
            h("p", f"and {more} more", class_="intro") if more > 0 else None,
        ]
    )


def _show_value(value: Any) -> str:
    return show(float(value)) if _is_number(value) else "–" if value is None else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wide(values: Sequence[float], *, zero: bool = True, decades: float = 1.3) -> bool:
    """Whether an axis should be logarithmic: positive (or zero, where that is allowed) over many scales."""
    positive = [value for value in values if value > 0]
    if len(positive) < 2 or (len(positive) < len(values) and not (zero and min(values) == 0)):
        return False
    return math.log10(max(positive) / min(positive)) > decades
