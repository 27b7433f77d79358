"""Diagnostics as text: in full with the source line and carets, on one line, as JSON, or in colour."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .diagnostics import Diagnostic, Fix, Report, Severity
from .spans import Span

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100  # columns of source text shown; a longer line is cut around the caret
_BREAK = re.compile(r"\r\n|\n|\r")
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}

Segment = tuple[str, str]  # text and rich style
Line = list[Segment]


def render_full(diagnostic: Diagnostic, texts: Mapping[str, str]) -> str:
    """A diagnostic with its source line, carets, related places and help; `texts` maps files to their text.

    Example:
        >>> from .diagnostics import Code, Position
        >>> span = Span("spec.yaml", Position(1, 8), Position(1, 13))
        >>> d = Diagnostic(Code.GATE_COUNT, Severity.ERROR, "too few gates", span, help="write `48x0e`")
        >>> print(render_full(d, {"spec.yaml": "gates: 32x0e"}))
        error[T204]: too few gates
         --> spec.yaml:1:8
        1 | gates: 32x0e
          |        ^^^^^
         = help: write `48x0e`
    """
    return "\n".join("".join(text for text, _ in line).rstrip() for line in _lines(diagnostic, texts))


def render_concise(diagnostic: Diagnostic) -> str:
    """One line, as compilers and editors write it: `file:line:column: error[T204]: message`."""
    place = "" if diagnostic.span is None else f"{diagnostic.span}: "
    return _visible(f"{place}{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}")


def render_json(report: Report | Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """Diagnostics as plain data; lines and columns count from 1, `end` is exclusive."""
    diagnostics = report.diagnostics if isinstance(report, Report) else report
    return [
        {
            "code": str(d.code),
            "severity": str(d.severity),
            "message": d.message,
            "help": d.help,
            "label": d.label,
            **_place(d.span),
            "related": [{"message": text, **_place(span)} for span, text in d.related],
            "fix": None if d.fix is None else _fix(d.fix),
        }
        for d in diagnostics
    ]


def print_report(report: Report, console: "Console | None" = None) -> None:
    """Print every diagnostic in colour, then the count; to the error stream unless a console is given."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(stderr=True, highlight=False)
    for diagnostic in report.diagnostics:
        for line in _lines(diagnostic, report.texts):
            console.print(Text.assemble(*line), soft_wrap=True)
        console.print()
    if report.diagnostics:
        console.print(Text(summary(report)), soft_wrap=True)


def summary(report: Report) -> str:
    """How many of each severity, such as `2 errors, 1 warning`, and how many `--fix` mends; empty without any."""
    counts = [(sum(d.severity is severity for d in report.diagnostics), severity) for severity in Severity]
    text = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for count, severity in counts if count)
    if report.left_out:
        text += f", {report.left_out:,} more that are not shown"
    fixable = sum(d.fix is not None and d.fix.safe for d in report.diagnostics)
    return text + (f"; `equic check --fix` mends {fixable}" if fixable else "")


def _fix(fix: Fix) -> dict[str, Any]:
    return {"safe": fix.safe, "edits": [{"text": one.text, **_place(one.span)} for one in fix.edits]}


def _place(span: Span | None) -> dict[str, Any]:
    if span is None:
        return {"file": None, "start": None, "end": None}
    return {
        "file": span.file,
        "start": {"line": span.start.line, "column": span.start.column},
        "end": {"line": span.end.line, "column": span.end.column},
    }


def _lines(diagnostic: Diagnostic, texts: Mapping[str, str]) -> Iterable[Line]:
    style = _STYLES[diagnostic.severity]
    yield [
        (f"{diagnostic.severity}[{diagnostic.code}]", style),
        (f": {_visible(diagnostic.message)}", "bold"),
    ]
    yield from _snippet(diagnostic.span, diagnostic.label, style, texts)
    for span, text in diagnostic.related:
        yield from _sentence("note", text)
        yield from _snippet(span, None, "bold blue", texts)
    if diagnostic.help:
        yield from _sentence("help", diagnostic.help)


def _sentence(word: str, text: str) -> Iterable[Line]:
    first, *rest = (_visible(line) for line in text.split("\n"))
    yield [(" = ", "bold blue"), (f"{word}: ", "bold"), (first, "")]
    for line in rest:
        yield [(" " * (len(word) + 5), ""), (line, "")]


def _snippet(span: Span | None, label: str | None, style: str, texts: Mapping[str, str]) -> Iterable[Line]:
    if span is None:
        return
    yield [(" --> ", "bold blue"), (_visible(str(span)), "")]
    text = texts.get(span.file)
    if text is None:
        return
    lines = _lines_of(text)
    if span.start.line > len(lines):
        return
    line = lines[span.start.line - 1]
    start = min(span.start.column - 1, len(line))
    end = span.end.column - 1 if span.end.line == span.start.line else len(line.rstrip())
    end = max(start, min(end, len(line)))
    shown, before, marked = _window(line, start, end)
    gutter = len(str(span.start.line))
    carets = " " * before + "^" * max(1, marked)
    yield [(f"{span.start.line} | ", "bold blue"), (shown, "")]
    yield [(f"{' ' * gutter} | ", "bold blue"), (carets + (f" {label}" if label else ""), style)]


@lru_cache(maxsize=8)
def _lines_of(text: str) -> list[str]:
    """The lines of a text, which many diagnostics point into."""
    return _BREAK.split(text)


def _window(line: str, start: int, end: int) -> tuple[str, int, int]:
    """The part of a line to show, the columns before the carets, and the number of carets."""
    away = max(0, start - 3 * WIDTH)  # what is further away is not shown, and need not be measured
    line, start, end = line[away : start + 3 * WIDTH], start - away, end - away
    cells = [_cells(character) for character in line]
    line = _visible(line)
    first, last = 0, len(line)
    if sum(cells) > WIDTH:
        first = max(0, min(start - WIDTH // 3, len(line) - WIDTH))
        last = min(len(line), first + WIDTH)
        while sum(cells[first:last]) > WIDTH and last > start + 1:
            last -= 1
    end = min(end, last)
    left, right = ("…" if first > 0 else ""), ("…" if last < len(line) else "")
    return left + line[first:last] + right, len(left) + sum(cells[first:start]), sum(cells[start:end])


def _visible(text: str) -> str:
    """The text without characters that move a terminal's cursor or do not show; tabs are blanks."""
    text = text.replace("\t", " ")
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def _cells(character: str) -> int:
    """Columns that a character takes in a terminal."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
