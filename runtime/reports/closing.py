"""The end of a report: exported files, notes, where it was all made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from equic.runtime.plan import Plan

from .blocks import Section, pairs, section
from .html import h, table
from .numbers import duration, show, size
from .runs import Run

_COLUMNS = {"file": "file", "dtype": "dtype", "isa": "processor", "bytes": "size"}


def exports_section(exports: Sequence[Mapping[str, Any]]) -> Section | None:
    """Exported files; keys beyond file, dtype, isa and bytes are columns of their own."""
    if not exports:
        return None
    extra = dict.fromkeys(key for export in exports for key in export if key not in _COLUMNS)
    rows = []
    for export in exports:
        cells: list[object] = [
            h("code", export.get("file", "–")),
            export.get("dtype", "–"),
            export.get("isa", "–"),
        ]
        cells.append(size(float(export["bytes"])) if "bytes" in export else "–")
        for key in extra:
            value = export.get(key, "–")
            cells.append(show(value) if isinstance(value, float) else str(value))
        rows.append(cells)
    return section(
        "exports",
        "Exports",
        "Exported files",
        "Each file was run in a fresh process, from one atom or state to a thousand, and compared with the model "
        "before it was kept.",
        table((*_COLUMNS.values(), *extra), rows, numeric=(3,)),
    )


def notes_section(notes: Sequence[str]) -> Section | None:
    if not notes:
        return None
    return section(
        "notes", "Notes", "Notes", None, h("ul", [h("li", note) for note in notes], class_="notes")
    )


def environment_section(facts: Mapping[str, Any], plan: Plan | None, runs: Sequence[Run]) -> Section:
    """Where this was made, and from what."""
    found: dict[str, object] = dict(facts)
    for run in runs:
        seconds = run.extra.get("seconds")
        if isinstance(seconds, int | float):
            found[f"training, {run.name}"] = duration(float(seconds))
    if plan is not None:
        for words, value in (("graph", plan.graph_hash), ("spec", plan.spec_hash)):
            if value:
                found[words] = h("code", value)
        if plan.citations:
            found["please cite"] = ", ".join(plan.citations)
    return section("environment", "Environment", "Hardware, versions, hashes", None, pairs(found))
