"""Syntax errors of PyYAML in our own words: its two parsers differ in theirs."""

import re

from .codes import Code
from .diagnostics import Report
from .fixes import Edit, Fix
from .spans import Position, Span

# what the parser complains about, our message, and how to mend it; the first pattern that matches counts
_MESSAGES = (
    (
        r"mapping values are not allowed",
        "a `:` is not expected here",
        "put one `key: value` on each line, and quote a text that contains `: `",
    ),
    (
        r"could not find expected ':'",
        "this key has no `:` after it",
        "write `key: value`, with a space after the colon",
    ),
    (
        r"expected ',' or '\]'",
        "a `,` or the closing `]` is missing",
        "separate items with `,` and end the list with `]`",
    ),
    (
        r"expected ',' or '\}'",
        "a `,` or the closing `}` is missing",
        "separate entries with `,` and end with `}`",
    ),
    (r"unexpected end of stream", "the quoted text is never closed", "add the closing quote"),
    (r"unexpected document indicator", "the quoted text is never closed", "add the closing quote"),
    (
        r"escape",
        "this escape does not exist",
        "write `\\\\` for a backslash, or use single quotes",
    ),
    (
        r"cannot start any token",
        "no value can start with this character",
        "put the text in quotes",
    ),
    (
        r"expected '-'|while parsing a block collection",
        "this line does not continue the list above",
        "start each item with `- `, all at the same indentation",
    ),
    (
        r"expected key|expected <block end>|unindent|sequence entries are not allowed",
        "this does not fit the lines above",
        "check the indentation, and that each line is `key: value`",
    ),
    (r"node content", "a value is missing or misplaced here", "remove this character, or quote it"),
    (
        r"alphabetic or numeric|alias|anchor",
        "this is not a valid anchor or alias name",
        "quote a text that starts with `*` or `&`",
    ),
    (r"tag|directive|URI", "this tag or directive is not valid", "remove it: a spec needs neither"),
    (
        r"indentation indicator|chomping|block scalar",
        "this block text has a wrong header",
        "write `|` or `>` alone",
    ),
    (r"duplicate", "this directive stands twice", "remove one"),
)
_OPENED = (
    ("flow sequence", "the list is opened here"),
    ("flow mapping", "the mapping is opened here"),
    ("quoted scalar", "the text is opened here"),
)
_GENERAL = ("this is not valid YAML", "check the indentation, the quotes and the brackets around here")


def report_syntax(
    problem: str,
    context: str,
    place: Position,
    opened: Position | None,
    file: str,
    lines: list[str],
    report: Report,
) -> None:
    """Report what a parser refused: at its place, or at the opening quote of an endless text."""
    place = _inside(place, lines)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent and ("tab" in problem or "start any token" in problem):
        start = indent.index("\t") + 1
        report.error(
            Code.TAB,
            Span(file, Position(place.line, start), Position(place.line, len(indent) + 1)),
            "a tab indents this line",
            help="YAML indents with spaces: replace each tab by two",
            fix=_without_tabs(file, lines),
        )
        return
    message, help = next(
        (
            (message, help)
            for pattern, message, help in _MESSAGES
            if re.search(pattern, f"{problem}; {context}")
        ),
        _GENERAL,
    )
    related: tuple[tuple[Span, str], ...] = ()
    label = next((label for name, label in _OPENED if name in context), None)
    if label and opened and opened < place:
        bracket = Span(file, opened, Position(opened.line, opened.column + 1))
        if "never closed" in message:
            report.error(Code.SYNTAX, bracket, message, help=help)
            return
        related = ((bracket, label),)
    end = Position(place.line, place.column + 1)
    report.error(Code.SYNTAX, Span(file, place, end), message, help=help, related=related)


def _without_tabs(file: str, lines: list[str]) -> Fix | None:
    """Two spaces for every tab that indents; no fix where spaces indent too, since then nobody knows how far."""
    indents = [line[: len(line) - len(line.lstrip())] for line in lines]
    if any(" " in indent for indent, line in zip(indents, lines, strict=True) if line.strip()):
        return None
    edits = (
        Edit(Span(file, Position(k, 1), Position(k, len(indent) + 1)), "  " * len(indent))
        for k, indent in enumerate(indents, start=1)
        if "\t" in indent
    )
    found = tuple(edits)
    return Fix(found) if found else None


def _inside(place: Position, lines: list[str]) -> Position:
    """The place itself, or just behind the last word of the text when it lies beyond."""
    if any(line.strip() for line in lines[place.line - 1 :]):
        return place
    for number in range(len(lines), 0, -1):
        if lines[number - 1].strip():
            return Position(number, len(lines[number - 1].rstrip()) + 1)
    return Position(1, 1)
