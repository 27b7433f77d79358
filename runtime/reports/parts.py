"""Errors by chemical species and by kind of frame, and what tells runs apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from equic.runtime.plan import Plan

from .blocks import Section, section
from .errors import units_of
from .html import Html, h, table
from .numbers import duration, milli, show
from .runs import Run

_WORDS = {"species": "By species", "config_type": "By kind of frame (config_type)"}


def parts_section(runs: Sequence[Run], plan: Plan | None) -> Section | None:
    """One table per target: species or kinds down, runs across; of the test set, else of the validation set."""
    body: list[Html | None] = []
    units = units_of(runs, plan)
    for what, words in _WORDS.items():
        found = [(run.name, tables) for run in runs if (tables := _tables(run).get(what))]
        targets = dict.fromkeys(target for _, tables in found for target in tables)
        if targets:
            body.append(h("h3", words))
        for target in targets:
            body.append(_table(target, what, found, units.get(target, ""), plan))
    if not body:
        return None
    return section(
        "parts",
        "Parts",
        "Where the errors are",
        "RMSE on the test set (on the validation set where there is none), of the components of each part.",
        *body,
    )


def _tables(run: Run) -> Mapping[str, Any]:
    """The tables of the set that says most."""
    parts = run.extra.get("parts")
    if not isinstance(parts, Mapping):
        return {}
    for name in ("test", "validation", *parts):
        if isinstance(parts.get(name), Mapping) and parts[name]:
            return parts[name]  # type: ignore[no-any-return]
    return {}


def _table(
    target: str, what: str, found: Sequence[tuple[str, Mapping[str, Any]]], unit: str, plan: Plan | None
) -> Html:
    per_atom = plan is not None and target in plan.per_atom
    factor, word = milli(unit)
    word = f"{word}/atom" if per_atom and word else word
    names = list(dict.fromkeys(name for _, tables in found for name in tables.get(target, {})))
    rows = []
    for name in names:
        entries = [tables.get(target, {}).get(name) for _, tables in found]
        count = next((entry["count"] for entry in entries if entry), 0)
        cells = ["–" if entry is None else show(factor * entry["rmse"]) for entry in entries]
        rows.append([name, f"{count:,}", *cells])
    heads = [run for run, _ in found] if len(found) > 1 else ["RMSE"]
    return table(
        ("species" if what == "species" else "kind", "numbers", *heads),
        rows,
        caption=f"{target} ({word})" if word else target,
        numeric=range(1, 2 + len(heads)),
    )


def differences_section(runs: Sequence[Run]) -> Section | None:
    """What differs between runs: settings of the data and of training, the model, time."""
    if len(runs) < 2:
        return None
    columns = [_facts(run) for run in runs]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = [
        [key, *(column.get(key, "–") for column in columns)]
        for key in keys
        if len({column.get(key) for column in columns}) > 1
    ]
    if not rows:
        return None
    return section(
        "differences",
        "Differences",
        "What tells the runs apart",
        None,
        table(("", *(run.name for run in runs)), rows),
    )


def _facts(run: Run) -> dict[str, str]:
    facts: dict[str, str] = {}
    if run.plan is not None:
        plan = run.plan.to_json()
        facts["architecture"] = str(plan["architecture"])
        facts["graph"] = str(plan["graph_hash"])[:12]
        facts |= {f"system.{key}": _flow(value) for key, value in plan["system"].items()}
        for claim in plan["claims"]:
            strength = "" if claim["strength"] is None else f" {claim['strength']:g}"
            facts[f"symmetry.{claim['factor']}"] = f"{claim['mode']}{strength}"
        facts |= {f"train.{key}": _flow(value) for key, value in (plan["train"] or {}).items()}
        data = plan["data"] or {}
        facts |= {f"data.{name}": _flow(spec) for name, spec in (data.get("sets") or {}).items()}
    if isinstance(seed := run.extra.get("seed"), int):
        facts["train.seed"] = str(seed)
    if isinstance(seconds := run.extra.get("seconds"), int | float):
        facts["time"] = duration(float(seconds))
    if isinstance(epochs := run.extra.get("epochs"), int | float):
        facts["epochs run"] = show(float(epochs), 4)
    return facts


def _flow(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"
