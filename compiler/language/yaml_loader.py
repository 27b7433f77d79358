"""YAML text to nodes with spans: PyYAML's events, read by the rules of YAML 1.2 and of this language.

Only events are taken from PyYAML. What it would do with them (YAML 1.1 words, the last of two equal keys,
tags that make objects, endless aliases) is done here, each problem becoming a diagnostic.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import yaml

from .codes import Code
from .diagnostics import Report
from .elements import symbol_of
from .fixes import replacing
from .nodes import Node, Scalar
from .scalars import read_scalar
from .spans import Position, Span
from .yaml_errors import report_syntax

MAX_CHARACTERS = 1_000_000
MAX_VALUES = 20_000
MAX_DEPTH = 64

LINE_BREAK = re.compile(r"\r\n|\n|\r")
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a PyYAML without libyaml has no CSafeLoader
# what YAML allows, less NEL, LS and PS (line breaks in 1.1, not in 1.2) and the byte order mark
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_OF_SPECIES = ("isolated_atoms", "E0s")  # what others key by atomic numbers
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("null", "bool", "int", "float", "str", "seq", "map")}


class _Unusable(Exception):
    """The rest of the text cannot be read; the reason is already in the report."""


@dataclass(slots=True)
class _Anchor:
    """A finished (or, while `node` is None, open) anchored value with the size it has when copied."""

    node: Node | None
    values: int
    depth: int


def load_yaml(text: str, file: str, report: Report, *, origin: Position = Position(1, 1)) -> Node | None:  # noqa: B008
    """The nodes of a YAML text, or None after reporting why not.

    `origin` is where the text starts in `file` (an override is read from the middle of its line).

    Example:
        >>> node = load_yaml("lr: 1e-3", "spec.yaml", Report())
        >>> node.value["lr"].value, str(node.value["lr"].span)
        (0.001, 'spec.yaml:1:5')
    """
    if len(text) > MAX_CHARACTERS:
        report.error(
            Code.TOO_LARGE,
            Span(file, origin, origin),
            f"the text has {len(text):,} characters, more than {MAX_CHARACTERS:,}",
            help="keep data in data files, and name them in the spec",
        )
        return None
    if not _check_characters(text, file, report, origin):
        return None
    return _Reader(text, file, report, origin).read()


def _check_characters(text: str, file: str, report: Report, origin: Position) -> bool:
    match = _FORBIDDEN.search(text)
    if match is None:
        return True
    before = LINE_BREAK.split(text[: match.start()])
    place = _shift(len(before) - 1, len(before[-1]), origin)
    report.error(
        Code.CONTROL_CHARACTER,
        Span(file, place, Position(place.line, place.column + 1)),
        f"the character U+{ord(match.group()):04X} is not allowed",
        help="remove it; it is often invisible and comes with copied text",
    )
    return False


def _shift(line: int, column: int, origin: Position) -> Position:
    return Position(origin.line + line, column + (origin.column if line == 0 else 1))


class _Reader:
    """One walk over the events of one text."""

    def __init__(self, text: str, file: str, report: Report, origin: Position) -> None:
        self.lines = LINE_BREAK.split(text)
        self.file, self.report, self.origin = file, report, origin
        self.anchors: dict[str, _Anchor] = {}
        self.values = 0
        self.deepest = 0
        self.parser = _Parser(text)
        self.under: str | None = None  # the key of the mapping that is read

    def read(self) -> Node | None:
        try:
            return self.document()
        except yaml.MarkedYAMLError as error:
            mark, context = error.problem_mark or error.context_mark, error.context_mark
            report_syntax(
                error.problem or "",
                error.context or "",
                self.position(mark) if mark else self.origin,
                self.position(context) if context else None,
                self.file,
                [" " * (self.origin.column - 1) + self.lines[0], *self.lines[1:]],
                self.report,
            )
            return None
        except _Unusable:
            return None
        finally:
            self.parser.dispose()

    def position(self, mark: Any) -> Position:
        return _shift(mark.line, mark.column, self.origin)

    def span(self, event: Any) -> Span:
        return Span(self.file, self.position(event.start_mark), self.position(event.end_mark))

    def document(self) -> Node | None:
        self.next()  # stream start
        if self.parser.check_event(yaml.StreamEndEvent):
            self.empty()
            return None
        self.next()  # document start
        node = self.value(self.next(), depth=1)
        self.next()  # document end
        if not self.parser.check_event(yaml.StreamEndEvent):
            place = self.position(self.parser.peek_event().start_mark)
            self.report.error(
                Code.SEVERAL_DOCUMENTS,
                Span(self.file, place, Position(place.line, place.column + 3)),
                "a second document starts here",
                help="keep one spec in each file, and remove `---`",
            )
        if node.value is None and not node.text:
            self.empty()
            return None
        return node

    def empty(self) -> None:
        self.report.error(
            Code.EMPTY_FILE,
            Span(self.file, self.origin, self.origin),
            "there is nothing to read here",
            help="start with `equic: 1`, or let `equic init DATA` write a first spec",
        )

    def next(self) -> Any:
        return self.parser.get_event()

    def value(self, event: Any, depth: int) -> Node:
        self.values += 1
        self.deepest = max(self.deepest, depth)
        if depth > MAX_DEPTH:
            self.too_deep(self.span(event))
        if self.values > MAX_VALUES:
            self.too_many(self.span(event))
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, depth)
        if event.anchor is None:
            return self.content(event, depth)
        # an anchored value: measure it, since every alias of it counts as a copy
        self.anchors[event.anchor] = anchor = _Anchor(None, 0, 0)
        before, deepest, self.deepest = self.values, self.deepest, depth
        node = self.content(event, depth)
        anchor.node, anchor.values, anchor.depth = node, self.values - before, self.deepest - depth
        self.deepest = max(self.deepest, deepest)
        return node

    def content(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        kind, words = (
            ("seq", "a list") if isinstance(event, yaml.SequenceStartEvent) else ("map", "a mapping")
        )
        tag = self.tag(event)
        if tag not in (None, kind):
            self.wrong_tag(event, tag, words)
        node = self.sequence(event, depth) if kind == "seq" else self.mapping(event, depth)
        if event.tag not in (None, "!") and tag != kind:
            self.report.give_up(node.span)
        return node

    def alias(self, event: Any, depth: int) -> Node:
        span = self.span(event)
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            self.report.error(
                Code.UNKNOWN_ALIAS,
                span,
                f"no value above is named `&{event.anchor}`",
                help="name the value with `&` where it first stands, or quote a text that starts with `*`",
            )
            self.report.give_up(span)
            return Node(None, span, alias=True)
        if anchor.node is None:
            self.report.error(
                Code.RECURSIVE_ALIAS,
                span,
                f"`*{event.anchor}` stands inside the value that it repeats",
                help="write the value out: a spec is finite",
            )
            raise _Unusable
        self.values += anchor.values
        self.deepest = max(self.deepest, depth + anchor.depth)
        if self.values > MAX_VALUES:
            self.too_many(span)
        if depth + anchor.depth > MAX_DEPTH:
            self.too_deep(span)
        return replace(anchor.node, span=span, key=None, alias=True)

    def sequence(self, event: Any, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(item := self.next(), yaml.SequenceEndEvent):
            items.append(self.value(item, depth + 1))
        return Node(tuple(items), self.closed(event, item, items[-1].span if items else None))

    def mapping(self, event: Any, depth: int) -> Node:
        entries: dict[str, Node] = {}
        last: Span | None = None
        while not isinstance(key := self.next(), yaml.MappingEndEvent):
            name = self.key(key, depth)
            key_span = self.span(key)
            outer, self.under = self.under, name
            node = self.value(self.next(), depth + 1)
            self.under = outer
            last = max(node.span, key_span, key=lambda span: span.end)
            if name is None:
                continue
            if name in entries:
                first = entries[name].key
                assert first is not None
                self.report.error(
                    Code.DUPLICATE_KEY,
                    key_span,
                    f"the key `{name}` is written twice",
                    help="keep one of the two",
                    related=((first, "it first stands here"),),
                )
                continue
            entries[name] = replace(node, key=key_span)
        return Node(entries, self.closed(event, key, last))

    def key(self, event: Any, depth: int) -> str | None:
        """The text of a key, or None for one that cannot be used (its value is still read, then dropped)."""
        if not isinstance(event, yaml.ScalarEvent):
            self.report.error(
                Code.KEY_NOT_TEXT, self.span(event), "a key must be a plain text", help="write `key: value`"
            )
            if not isinstance(event, yaml.AliasEvent):
                self.value(event, depth + 1)
            return None
        node = self.scalar(event)
        self.values += 1
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(node, 1, 0)
        if node.text == "<<" and not node.quoted:
            self.report.error(
                Code.MERGE_KEY,
                node.span,
                "the merge key `<<` is not part of YAML 1.2",
                help="write the keys out, or put the common part into a file and use `extends:`",
            )
            return None
        if not isinstance(node.value, str):
            text = node.text or ""
            meant = f'"{text}"' if text else None
            help = f"put it in quotes: `{meant}`" if text else "write a key before the `:`"
            if self.under in _OF_SPECIES and (symbol := symbol_of(node.value)) is not None:
                meant, help = symbol, f"write the symbol: `{symbol}`"
            self.report.error(
                Code.KEY_NOT_TEXT,
                node.span,
                f"the key `{text}` is {_name(node.value)}, not a text",
                help=help,
                fix=replacing(node.span, meant) if meant is not None and event.tag is None else None,
            )
            self.report.give_up(node.span)
        return node.text

    def scalar(self, event: Any) -> Node:
        text, span = event.value, self.span(event)
        if event.style == '"' and _SURROGATE.search(
            text
        ):  # libyaml refuses the escape, plain Python reads it
            raise yaml.MarkedYAMLError(problem="invalid escape", problem_mark=event.start_mark)
        if event.style in ("|", ">"):  # their end mark lies behind the blank and comment lines that follow
            span = self.trimmed(span)
        quoted = event.style in ("'", '"', "|", ">")  # plain is None or "", by parser
        tag = self.tag(event)
        if tag is None:
            value = text if quoted else self.resolve(text, span)
        elif tag in ("seq", "map"):
            self.wrong_tag(event, tag, "a single value")
            value = text
        elif tag == "str":
            value, quoted = text, True
        else:
            value = self.resolve(text, span)
            if isinstance(value, int) and tag == "float" and not isinstance(value, bool):
                value = float(value)
            if _tag_of(value) != tag:
                self.wrong_tag(event, tag, f"`{text}`")
        return Node(value, span, text=text, quoted=quoted)

    def resolve(self, text: str, span: Span) -> Scalar:
        try:
            return read_scalar(text)
        except OverflowError:
            self.report.error(
                Code.NUMBER_TOO_LARGE,
                span,
                "this number is larger than a double can hold",
                help="write `.inf` for infinity, or quote the number if it is a text",
            )
            self.report.give_up(span)
            return 0

    def tag(self, event: Any) -> str | None:
        if event.tag is None:
            return None
        if event.tag == "!":
            return "str" if isinstance(event, yaml.ScalarEvent) else None
        name = _TAGS.get(event.tag)
        if name is None:
            span = self.span(event)
            self.report.error(
                Code.TAG,
                Span(
                    self.file,
                    span.start,
                    Position(span.start.line, span.start.column + self.tag_width(span.start)),
                ),
                f"the tag `{event.tag.replace('tag:yaml.org,2002:', '!!')}` is not allowed",
                help="remove it: a spec is data, and every value says by its form what it is",
            )
            self.report.give_up(span)
        return name

    def tag_width(self, start: Position) -> int:
        line = self.lines[start.line - self.origin.line]
        offset = start.column - (self.origin.column if start.line == self.origin.line else 1)
        match = re.match(r"(?:&\S+\s+)?!\S*", line[offset:])
        return match.end() if match else 1

    def wrong_tag(self, event: Any, tag: str | None, found: str) -> None:
        self.report.error(Code.TAG, self.span(event), f"{found} is not a `!!{tag}`", help="remove the tag")
        self.report.give_up(self.span(event))

    def closed(self, start: Any, end: Any, last: Span | None) -> Span:
        """The span of a list or mapping; a block ends with its last item, not where the next token starts."""
        if start.flow_style or last is None:
            return Span(self.file, self.position(start.start_mark), self.position(end.end_mark))
        return Span(self.file, self.position(start.start_mark), last.end)

    def trimmed(self, span: Span) -> Span:
        line = span.end.line - (0 if span.end.column > 1 else 1)
        first = span.start.line
        while line > first and not self.lines[line - self.origin.line].strip():
            line -= 1
        return Span(
            self.file, span.start, Position(line, len(self.lines[line - self.origin.line].rstrip()) + 1)
        )

    def too_many(self, span: Span) -> None:
        self.report.error(
            Code.TOO_MANY_VALUES,
            span,
            f"the text holds more than {MAX_VALUES:,} values, counting each alias as a copy",
            help="keep data in data files, and name them in the spec",
        )
        raise _Unusable

    def too_deep(self, span: Span) -> None:
        self.report.error(
            Code.TOO_DEEP,
            span,
            f"values are nested more than {MAX_DEPTH} deep",
            help="remove some of the brackets",
        )
        raise _Unusable


def _tag_of(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _name(value: object) -> str:
    if value is None:
        return "empty"
    return "true or false" if isinstance(value, bool) else "a number"
