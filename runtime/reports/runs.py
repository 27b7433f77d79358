"""What a report reads from a run's folder."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equic.runtime.errors import EquicError
from equic.runtime.plan import Plan

Metrics = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: a row of numbers per round, the final errors, and the plan where it was found.

    `metrics` is {set: {target: {"rmse": …}}}; `extra` is whatever else metrics.json says (seconds, samples, …);
    `picture` is its graph as SVG.
    """

    name: str
    history: tuple[Mapping[str, float], ...]
    metrics: Metrics
    extra: Mapping[str, Any]
    plan: Plan | None
    picture: str | None = None

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Epochs and values of a column of the history, where it has values."""
        rows = [(row["epoch"], row[name]) for row in self.history if name in row and "epoch" in row]
        return [epoch for epoch, _ in rows], [value for _, value in rows]

    @property
    def samples(self) -> dict[str, int]:
        """How many samples each set has, where metrics.json says so."""
        found = self.extra.get("samples")
        return {str(key): int(value) for key, value in found.items()} if isinstance(found, Mapping) else {}

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for row in self.history for name in row))


def read_run(directory: str | Path, name: str | None = None) -> Run:
    """Read `history.csv`, `metrics.json`, the artifact's plan and `graph.svg` from a folder.

    Of the first two one may be missing, the others may be missing both.

    Raises:
        EquicError: no such folder, a folder without any of them, or a file that cannot be read.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise EquicError(f"`{folder}` is not the folder of a run", help="give a folder such as runs/NAME/1")
    history_file, metrics_file = folder / "history.csv", folder / "metrics.json"
    if not history_file.is_file() and not metrics_file.is_file():
        raise EquicError(
            f"`{folder}` holds neither history.csv nor metrics.json", help="was anything trained there?"
        )
    document: dict[str, Any] = {}
    if metrics_file.is_file():
        try:
            document = json.loads(metrics_file.read_text(encoding="utf-8"))
        except ValueError as problem:
            raise EquicError(f"`{metrics_file}` is not JSON: {problem}") from problem
    metrics, extra = _split(document)
    return Run(
        name=name or "/".join(folder.resolve().parts[-2:]),
        history=_read_history(history_file) if history_file.is_file() else (),
        metrics=metrics,
        extra=extra,
        plan=_read_plan(folder),
        picture=_read_picture(folder / "graph.svg"),
    )


def _read_picture(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise EquicError(f"`{path}` cannot be read: {problem}") from problem


def _read_history(path: Path) -> tuple[dict[str, float], ...]:
    rows = []
    with open(path, newline="", encoding="utf-8") as file:
        for record in csv.DictReader(file):
            row = {}
            for key, text in record.items():
                if key is None or not isinstance(text, str) or text == "":
                    continue
                try:
                    row[key] = float(text)
                except ValueError:
                    continue  # a word in a column of numbers is not part of a curve
            rows.append(row)
    return tuple(rows)


def _split(document: Mapping[str, Any]) -> tuple[Metrics, dict[str, Any]]:
    """Errors per set and target, and the rest."""
    nested = document.get("metrics", document)
    sets = {}
    for name, targets in nested.items() if isinstance(nested, Mapping) else ():
        if isinstance(targets, Mapping):
            errors = {
                target: {key: float(value) for key, value in row.items() if isinstance(value, int | float)}
                for target, row in targets.items()
                if isinstance(row, Mapping)
            }
            if any("rmse" in row or "mae" in row for row in errors.values()):
                sets[name] = errors
    extra = {key: value for key, value in document.items() if key != "metrics" and key not in sets}
    return sets, extra


def _read_plan(folder: Path) -> Plan | None:
    """The plan beside the history, or that of the newest artifact in the folder."""
    candidates = [
        folder / "plan.json",
        *sorted(folder.glob("*.equic"), key=lambda p: p.stat().st_mtime, reverse=True),
    ]
    for path in candidates:
        try:
            if path.suffix == ".json":
                text = path.read_text(encoding="utf-8")
            else:
                with zipfile.ZipFile(path) as archive:
                    text = archive.read("plan.json").decode()
            return Plan.from_json(json.loads(text))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile, EquicError):
            continue  # a report can do without units; `verify` is the one to complain
    return None
