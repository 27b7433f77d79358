"""Moving a spec to another folder: the paths in it are relative to where it stands."""

from __future__ import annotations

import os

from .diagnostics import Report
from .source import Source, source_from_text
from .spans import Span


def rebase_paths(text: str, old: str, new: str) -> str:
    """The spec's text with every relative path written for the folder `new` instead of `old`.

    Touches `extends` and the `path` of data sets, and nothing else: comments and layout stay.
    """
    if os.path.abspath(old) == os.path.abspath(new):
        return text
    source = source_from_text(text, report=Report(), directory=old)
    assert source is not None, "a spec that has compiled can be read again"
    edits = []
    for path in _paths(source):
        value = source.scalar_text(path)
        span = source.span(path)
        if value is not None and span.file == source.path and not os.path.isabs(value):
            edits.append((span, os.path.relpath(os.path.join(old, value), new)))
    lines = text.split("\n")
    for span, value in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        _replace(lines, span, value)
    return "\n".join(lines)


def _paths(source: Source) -> list[tuple[str | int, ...]]:
    found: list[tuple[str | int, ...]] = [("extends",)] if "extends" in source.data else []
    data = source.data.get("data") or {}
    sets: list[tuple[tuple[str, ...], dict[str, object]]]
    sets = [(("data", name), one) for name, one in data.items() if isinstance(one, dict)]
    sets += [(("data", "others", name), one) for name, one in (data.get("others") or {}).items()]
    found += [(*path, "path") for path, one in sets if "path" in one]
    return found


def _replace(lines: list[str], span: Span, value: str) -> None:
    row, start, end = span.start.line - 1, span.start.column - 1, span.end.column - 1
    assert span.start.line == span.end.line, "a path stands on one line"
    plain = value.replace("/", "").replace("_", "").replace("-", "").replace(".", "").isalnum()
    lines[row] = lines[row][:start] + (value if plain else f'"{value}"') + lines[row][end:]
