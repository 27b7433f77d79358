"""The table of errors: runs that differ in their seed alone are one model, measured several times."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence

from equic.runtime.plan import Plan

from .blocks import Section, section
from .html import h, join, table
from .numbers import milli, show
from .runs import Run


def errors_section(runs: Sequence[Run], plan: Plan | None) -> Section | None:
    """Final errors: models and sets down, targets across; the mean and the spread over several seeds."""
    runs = [run for run in runs if run.metrics]
    if not runs:
        return None
    head, columns = _columns(runs, units_of(runs, plan))
    groups = group_runs(runs)
    rows = []
    for members in groups:
        for name in dict.fromkeys(name for run in members for name in run.metrics):
            samples = next((run.samples[name] for run in members if name in run.samples), None)
            row: list[object] = [name, "–" if samples is None else f"{samples:,}"]
            for target, kind, factor in columns:
                values = [run.metrics.get(name, {}).get(target, {}).get(kind) for run in members]
                row.append(_spread([factor * value for value in values if value is not None]))
            rows.append([_label(members), *row] if len(groups) > 1 else row)
    head = ["model", *head] if len(groups) > 1 else head
    first = 2 if len(groups) > 1 else 1
    words = "Runs that differ in their seed alone are one model: mean ± standard deviation between them."
    several = any(len(members) > 1 for members in groups)
    return section(
        "errors",
        "Errors",
        "Errors",
        words if several else None,
        table(head, rows, numeric=range(first, len(head))),
        h("p", f"Runs: {', '.join(run.name for run in runs)}.", class_="intro after") if several else None,
    )


def group_runs(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of the same plan but for its seed, together; a run whose plan is not known stands alone."""
    groups: dict[str, list[Run]] = {}
    for place, run in enumerate(runs):
        key = f"#{place}" if run.plan is None else _without_seed(run.plan)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _without_seed(plan: Plan) -> str:
    document = plan.to_json()
    for name in ("train", "data"):
        document[name] = {key: value for key, value in (document[name] or {}).items() if key != "seed"}
    document["spec_hash"] = document["export"] = document["deploy"] = None
    return json.dumps(document, sort_keys=True)


def units_of(runs: Sequence[Run], plan: Plan | None) -> dict[str, str]:
    """Every target and its unit: of the plan, of the runs' own plans, of what metrics.json says."""
    units: dict[str, str] = {}
    for known in (plan, *(run.plan for run in runs)):
        if known is not None:
            units = {name: output.unit for name, output in known.outputs.items()} | units
    for run in runs:
        units = {str(key): str(value) for key, value in (run.extra.get("units") or {}).items()} | units
        units = dict.fromkeys((target for errors in run.metrics.values() for target in errors), "") | units
    return units


def _columns(runs: Sequence[Run], units: dict[str, str]) -> tuple[list[object], list[tuple[str, str, float]]]:
    """The head of the table, and for each column of errors: target, name in the metrics, factor of the unit."""
    head: list[object] = ["set", "samples"]
    columns = []
    for target in dict.fromkeys(
        target for run in runs for errors in run.metrics.values() for target in errors
    ):
        found = [errors[target] for run in runs for errors in run.metrics.values() if target in errors]
        per_atom = any("rmse_per_atom" in row for row in found)
        factor, unit = milli(units.get(target, ""))
        word = f"{unit}/atom" if per_atom and unit else unit
        for kind in ("mae", "rmse"):
            head.append(
                join([f"{target} {kind.upper()}", h("small", word, class_="block") if word else None])
            )
            columns.append((target, f"{kind}_per_atom" if per_atom else kind, factor))
    return head, columns


def _label(members: Sequence[Run]) -> str:
    if len(members) == 1:
        return members[0].name
    plan = members[0].plan
    return f"{plan.name if plan is not None else members[0].name}, {len(members)} runs"


def _spread(values: Sequence[float]) -> str:
    """The mean, with the standard deviation of several values to two figures and the mean to match."""
    if not values:
        return "–"
    mean = statistics.fmean(values)
    if len(values) < 2:
        return show(mean)
    spread = statistics.stdev(values)
    if spread == 0 or not 1e-4 < spread < 1e4:
        return f"{show(mean)} ± {show(spread, 2)}"
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return f"{mean:.{decimals}f} ± {spread:.{decimals}f}"
