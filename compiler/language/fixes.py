"""Changes of the text that mend a diagnostic, and how several are made at once."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .spans import Position, Span

_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Edit:
    """`text` in place of what stands at `span`; an empty span is a place to insert at."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that belong together. A `safe` one can be made unseen: what was meant is beyond doubt."""

    edits: tuple[Edit, ...]
    safe: bool = True


def replacing(span: Span, text: str, *, safe: bool = True) -> Fix:
    """The fix that writes `text` in place of `span`."""
    return Fix((Edit(span, text),), safe)


def wrapping(span: Span, before: str, after: str) -> Fix:
    """The fix that writes something before and behind `span`, which stays as it is."""
    start, end = Span(span.file, span.start, span.start), Span(span.file, span.end, span.end)
    return Fix((Edit(start, before), Edit(end, after)))


def apply_fixes(text: str, fixes: Iterable[Fix]) -> tuple[str, tuple[Fix, ...]]:
    """The text of a file with as many of the fixes as do not meet, and those; the rest waits for another round.

    Everything outside the edited spans stays, byte for byte. All edits of the fixes lie in this one file.

    Example:
        >>> span = Span("spec.yaml", Position(1, 1), Position(1, 6))
        >>> apply_fixes("modle: {}  # mine", [replacing(span, "model")])[0]
        'model: {}  # mine'
    """
    starts = [0, *(match.end() for match in _BREAK.finditer(text))]
    taken: list[tuple[int, int, str]] = []
    placed = []
    for fix in fixes:
        ranges = [
            (offset(one.span.start, starts), offset(one.span.end, starts), one.text) for one in fix.edits
        ]
        if all(end <= len(text) for _, end, _ in ranges) and not any(
            _meet(one, other) for one in ranges for other in taken
        ):
            taken.extend(ranges)
            placed.append(fix)
    for start, end, new in sorted(taken, reverse=True):
        text = text[:start] + new + text[end:]
    return text, tuple(placed)


def moved(fixes: Sequence[Fix], text: str) -> tuple[Span, ...]:
    """Where the edits of fixes that were made in `text` stand in the text that came out."""
    starts = [0, *(match.end() for match in _BREAK.finditer(text))]
    edits = [one for fix in fixes for one in fix.edits]
    ordered = sorted(
        (offset(one.span.start, starts), offset(one.span.end, starts), k) for k, one in enumerate(edits)
    )
    after, _ = apply_fixes(text, fixes)
    shift, found = 0, {}
    for start, end, k in ordered:
        new = edits[k].text
        file = edits[k].span.file
        found[k] = Span(file, _position(after, start + shift), _position(after, start + shift + len(new)))
        shift += len(new) - (end - start)
    return tuple(found[k] for k in range(len(edits)))


def offset(position: Position, starts: Sequence[int]) -> int:
    """The place in a text of a line and column, given where its lines start."""
    return starts[min(position.line, len(starts)) - 1] + position.column - 1


def _position(text: str, at: int) -> Position:
    before = _BREAK.split(text[:at])
    return Position(len(before), len(before[-1]) + 1)


def _meet(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return (one[0] < other[1] and other[0] < one[1]) or one[0] == other[0]
