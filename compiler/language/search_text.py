"""Chosen values written into the text of a spec: what `equic tune` leaves behind."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from .diagnostics import Report
from .nodes import Node, Path, same_data
from .search import SearchSpace, substitute
from .source import Source, source_from_text
from .spans import Position, Span
from .yaml_writer import write_flow, write_yaml


def write_choices(text: str, source: Source, spaces: Sequence[SearchSpace], values: Mapping[str, Any]) -> str:
    """The text of a spec with every search replaced by its chosen value (or default), its comments kept.

    `text` is `source.text`, `values` maps names of spaces to values. Where an edit cannot say it (a search in
    a file that this one extends, or one repeated by an alias in two ways) the whole resolved spec is written
    instead: the result always reads as the source with these values.

    Example:
        >>> from .search import extract_search
        >>> report = Report()
        >>> source = source_from_text("lr: {search: {low: 1e-4, high: 1.0}}  # tuned", report=report)
        >>> _, spaces = extract_search(source, report)
        >>> write_choices(source.text, source, spaces, {"lr": 0.003})
        'lr: 0.003  # tuned'
    """
    chosen = {space.name: values.get(space.name, space.default) for space in spaces}
    target = substitute(source, chosen, spaces)
    written = _edited(text, source, target, spaces)
    if written is not None:
        again = source_from_text(written, source.path, report=(report := Report()))
        if again is not None and not report.has_errors and same_data(again.data, target.data):
            return written
    return write_yaml(target.root)


def _edited(text: str, source: Source, target: Source, spaces: Sequence[SearchSpace]) -> str | None:
    edits: dict[Span, str] = {}
    for space in spaces:
        span, path = _place(source.root, space)
        node = target.root.at(path)
        if span.file != source.path or node is None:
            return None
        edits[span] = write_flow(node)
    starts = list(accumulate((len(line) for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)), initial=0))

    def offset(position: Position) -> int:
        return starts[position.line - 1] + position.column - 1

    for span in sorted(edits, key=lambda span: span.start, reverse=True):
        start, end = offset(span.start), offset(span.end)
        # a block below its key moves up beside it, when nothing but white space stands between
        gap = re.search(r":[ \t]*(?:\r\n|\n|\r)\s*$", text[:start])
        head = text[: gap.start()] + ": " if gap is not None else text[:start]
        text = head + edits[span] + text[end:]
    return text


def _place(root: Node, space: SearchSpace) -> tuple[Span, Path]:
    """The text to replace for a space: its own, or that of the alias through which it is repeated."""
    node = root
    for length, part in enumerate(space.path[:-1], start=1):
        child = node.child(part)
        if child is None:
            break
        if child.alias:
            return child.span, space.path[:length]
        node = child
    return space.span, space.path
