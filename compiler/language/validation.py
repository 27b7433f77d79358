"""Pydantic's errors as diagnostics: at the right place of the YAML text, and in plain words."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..symmetry.irreps import IrrepsError
from ..symmetry.units import DimensionError, QuantityError, UnitError
from .codes import Code
from .diagnostics import MOST, Fix, Report, SpecValueError
from .fixes import replacing
from .foreign import GROUPS, key_help, our_key, our_value, same_meaning
from .locate import Located, SchemaWalk
from .nodes import Path, path_text
from .scalars import write_scalar
from .search_errors import middle_help, report_unit, report_whole
from .source import Source
from .spans import Span
from .type_help import keys_help, type_fix, type_help
from .wording import certain, clip, listed, nearest, place_words, suggestion, value_words

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "string": "a text",
    "bool": "`true` or `false`",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "iterable": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "model_attributes": "a mapping",
    "dataclass": "a mapping",
    "none": "nothing",
}
_MISTYPED = re.compile(
    rf"({'|'.join(_EXPECTED)})_(?:type|parsing|required|from_float)|({'|'.join(_EXPECTED)})_parsing_size"
)
_BOUNDS = {
    "greater_than": ("gt", "larger than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_CODES = (
    (QuantityError, Code.BAD_QUANTITY),
    (DimensionError, Code.WRONG_DIMENSION),
    (UnitError, Code.UNKNOWN_UNIT),
    (IrrepsError, Code.BAD_IRREPS),
)
_MOST_LISTED = 6  # longer lists of choices go into the help

Error = Mapping[str, Any]


def diagnose(
    error: ValidationError,
    source: Source,
    report: Report,
    *,
    model: type[BaseModel] | TypeAdapter[Any],
    prefix: Path = (),
) -> None:
    """Report every error of a failed `model.model_validate(...)`.

    `prefix` is the path of the validated part in `source`, which may have been filled up since (by a preset):
    a path that is not in the text is shown at its nearest ancestor. Validators say what is wrong by
    `raise SpecValueError(message, help=...)`, which may also choose the code and the key to blame.
    """
    walk = SchemaWalk(model)
    errors = error.errors(include_url=False)
    found = [_Found(item, walk.locate(item["loc"])) for item in errors[:MOST]]
    writer = _Writer(source, report, walk, prefix)
    unions: dict[Path, list[_Found]] = defaultdict(list)
    for item in found:
        if item.place.union is not None:
            unions[item.place.union[0]].append(item)
    unknown = [item for item in found if item.error["type"] == "extra_forbidden"]
    for item in found:
        if item.place.union is None and not _explained(item, unknown, walk):
            writer.write(item)
    for path, items in unions.items():
        writer.write_union(path, items)
    report.leave_out(len(errors[MOST:]))


@dataclass(frozen=True, slots=True)
class _Found:
    error: Error
    place: Located

    @property
    def mistyped(self) -> tuple[str, ...]:
        """The words for what was expected, when the error is that the value has another type."""
        match = _MISTYPED.fullmatch(self.error["type"])
        if match is not None:
            return (_EXPECTED[match.group(1) or match.group(2)],)
        schema = self.place.schema
        if self.error["type"] == "literal_error" and schema is not None and schema["type"] == "literal":
            known = schema["expected"]
            if not isinstance(self.error["input"], tuple(map(type, known))):
                return tuple(listed([word]) for word in known)
        return ()


def _explained(item: _Found, unknown: Sequence[_Found], walk: SchemaWalk) -> bool:
    """Whether a missing key is only a misspelt one, which is reported anyway."""
    if item.error["type"] != "missing":
        return False
    parent, key = item.place.path[:-1], item.place.path[-1]
    return any(
        other.place.path[:-1] == parent
        and key in (nearest(name, known), our_key(str(name), known, item.place.path[:-1]))
        for other in unknown
        for name, known in ((other.place.path[-1], walk.keys(_parent(walk, other))),)
    )


def _parent(walk: SchemaWalk, item: _Found) -> Any:
    return walk.locate(item.error["loc"][:-1]).schema


class _Writer:
    """Turns located errors into diagnostics of one source."""

    def __init__(self, source: Source, report: Report, walk: SchemaWalk, prefix: Path) -> None:
        self.source, self.report, self.walk, self.prefix = source, report, walk, prefix

    def write(self, item: _Found) -> None:
        kind, path = item.error["type"], (*self.prefix, *item.place.path)
        if kind == "missing":
            self.missing(item, path)
        elif kind == "extra_forbidden":
            self.unknown_key(item, path)
        elif kind in ("literal_error", "enum"):
            self.choice(item, path)
        elif kind == "union_tag_invalid":
            self.tag(item, path)
        elif kind == "union_tag_not_found":
            self.no_tag(item, path)
        elif kind in ("value_error", "assertion_error"):
            self.value_error(item, path)
        elif kind in _BOUNDS:
            context, words = _BOUNDS[kind]
            bound = item.error["ctx"][context]
            self.plain(
                Code.OUT_OF_RANGE, item, path, f"must be {words} {bound:g}, not {self.bare(item, path)}"
            )
        elif kind == "finite_number":
            self.plain(Code.OUT_OF_RANGE, item, path, "must be a finite number")
        elif kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
            self.length(item, path)
        elif kind == "string_pattern_mismatch":
            named = path == ("name",)
            help = f"it must match the pattern `{item.error['ctx']['pattern']}`"
            if named:
                help = "use letters, digits, `.`, `_` and `-`, and start with a letter or digit"
            code = Code.BAD_NAME if named else Code.WRONG_CHOICE
            self.plain(code, item, path, f"cannot be {self.got(item, path)}", help)
        elif item.mistyped:
            self.mistyped(item.mistyped, item, path)
        else:
            self.plain(Code.INVALID_VALUE, item, path, f"cannot be {self.got(item, path)}")

    def write_union(self, path: Path, items: list[_Found]) -> None:
        """The errors of the member that was most likely meant; where none fits, what they all expect."""
        members: dict[str, list[_Found]] = defaultdict(list)
        for item in items:
            assert item.place.union is not None
            members[item.place.union[1]].append(item)
        shaped = [
            found for found in members.values() if not any(i.mistyped and i.place.path == path for i in found)
        ]
        if shaped:
            for item in min(shaped, key=len):
                self.write(item)
            return
        first = items[0]
        expected = tuple(dict.fromkeys(words for item in items for words in item.mistyped))
        self.mistyped(expected, first, (*self.prefix, *path))

    def plain(
        self,
        code: Code,
        item: _Found,
        path: Path,
        words: str,
        help: str | None = None,
        fix: Fix | None = None,
    ) -> None:
        span = self.source.span(path, key=item.place.on_key)
        help = help or middle_help(self.source.root.at(path))
        self.report.error(code, span, f"{place_words(path)} {words}", help=help, fix=fix)

    def instead(self, item: _Found, path: Path, text: str | None, *, safe: bool = True) -> Fix | None:
        """Writing `text` in place of the scalar at `path`; None where no scalar stands there by itself."""
        node = self.source.root.at(path)
        if text is None or node is None or node.text is None or node.alias or item.place.on_key:
            return None
        return replacing(node.span, text, safe=safe)

    def got(self, item: _Found, path: Path) -> str:
        return value_words(item.error["input"], self.text(item, path))

    def bare(self, item: _Found, path: Path, value: Any = None) -> str:
        """The value in backticks, without a word for what it is; in words where it has no short text."""
        value = item.error["input"] if value is None else value
        if isinstance(value, (dict, list)) or value is None or not str(value).strip():
            return value_words(value)
        text = self.text(item, path)
        return value_words(value) if isinstance(value, bool) else f"`{clip(text or str(value))}`"

    def text(self, item: _Found, path: Path) -> str | None:
        node = self.source.root.at(path)
        return node.text if node is not None and node.value == item.error["input"] else None

    def missing(self, item: _Found, path: Path) -> None:
        key, parent = str(path[-1]), path[:-1]
        cls = self.walk.locate(item.error["loc"][:-1]).model
        fields = cls.model_fields.items() if cls is not None else ()
        field = next((field for name, field in fields if key in (name, field.validation_alias)), None)
        help = f"add `{key}:`" + (f", {field.description}" if field is not None and field.description else "")
        subject = place_words(parent)
        self.report.error(
            Code.MISSING_KEY, self.block_span(parent), f"{subject} needs the key `{key}`", help=help
        )

    def block_span(self, path: Path) -> Span:
        """Where to point for a block as a whole: its `kind:`, else its key, else its first character."""
        node = self.source.root.at(path)
        kind = node.child("kind") if node is not None else None
        if kind is not None and kind.key is not None and kind.key.file == kind.span.file:
            return Span(kind.key.file, kind.key.start, kind.span.end)
        span = self.source.span(path, key=True)
        return span if path else Span(span.file, span.start, span.start)

    def unknown_key(self, item: _Found, path: Path) -> None:
        key, parent = str(path[-1]), path[:-1]
        known = self.walk.keys(_parent(self.walk, item))
        given = item.error["loc"] and self.source.root.at(parent)
        free = [name for name in known if given is None or given.child(name) is None]
        homes = [home for home in self.walk.homes(key) if (*self.prefix, *home) != parent]
        foreign = key_help(key, known, parent) if nearest(key, free, least=0.9) is None else None
        if foreign is not None:
            help = foreign
        elif nearest(key, free) is None and homes:
            where = path_text((*self.prefix, *homes[0]))
            help = f"it belongs under `{where}`" if where else "it belongs at the top, without indentation"
        else:
            near = free if nearest(key, free) is not None else known
            help = suggestion(key, near, keys_help(known) or "remove it")
        span = self.source.span(path, key=True)
        meant = certain(key, free, least=0.75)
        if foreign is not None:
            meant = our_key(key, free, parent) if same_meaning(key) else None
        self.report.error(
            Code.UNKNOWN_KEY,
            span,
            f"{place_words(parent)} has no key `{clip(key)}`",
            help=help,
            fix=replacing(span, write_scalar(meant)) if meant is not None else None,
        )

    def choice(self, item: _Found, path: Path) -> None:
        schema = item.place.schema
        known = list(schema["expected"]) if schema is not None and schema["type"] == "literal" else []
        known = known or re.findall(r"'([^']*)'", str(item.error["ctx"].get("expected", "")))
        self.one_of(Code.WRONG_CHOICE, known, item.error["input"], item, path)

    def one_of(self, code: Code, known: list[Any], value: Any, item: _Found, path: Path) -> None:
        if path == ("equic",):
            code = Code.UNSUPPORTED_VERSION
        got = self.bare(item, path, value)
        if len(known) <= _MOST_LISTED:
            words, rest = f"must be {listed(known)}, not {got}", f"write {listed(known)}"
        else:
            words, rest = f"cannot be {got}", f"write one of {listed(known)}"
        help = suggestion(value, known, rest) if isinstance(value, str) else rest
        meant = certain(value, known) if isinstance(value, str) else None
        ours = our_value(path[-1], value) if path else None
        if ours in known:
            meant = ours
            help = f"what others call {got} is `{ours}` here"
        elif path[:1] == ("symmetry",) and isinstance(value, str) and nearest(value, known) is None:
            group = GROUPS[value][0] if value in GROUPS else value if "(" in value else "O(3)"
            help = f"a line of `symmetry` is `GROUP: mode`, such as `{group}: hard`"
        fix = self.instead(item, path, None if meant is None else write_scalar(meant))
        self.plain(code, item, path, words, help, fix)

    def tag(self, item: _Found, path: Path) -> None:
        schema, context = item.place.schema, item.error["ctx"]
        name = schema.get("discriminator") if schema is not None else None
        known = (
            [tag for tag in schema["choices"] if not str(tag).startswith("@")] if schema is not None else []
        )
        if isinstance(name, str):
            value = item.error["input"].get(name) if isinstance(item.error["input"], dict) else context["tag"]
            self.one_of(Code.UNKNOWN_KIND, known, value, item, (*path, name))
        else:
            self.plain(Code.WRONG_CHOICE, item, path, f"cannot be {self.got(item, path)}", None)

    def no_tag(self, item: _Found, path: Path) -> None:
        schema = item.place.schema
        name = schema.get("discriminator") if schema is not None else None
        if not isinstance(name, str) or schema is None:
            self.plain(Code.WRONG_TYPE, item, path, f"cannot be {self.got(item, path)}", None)
        elif not isinstance(item.error["input"], dict):
            self.mistyped(("a mapping",), item, path)
        else:
            help = f"add `{name}:`, which is {listed(schema['choices'])}"
            words = f"{place_words(path)} needs the key `{name}`"
            self.report.error(Code.MISSING_KEY, self.block_span(path), words, help=help)

    def value_error(self, item: _Found, path: Path) -> None:
        error = item.error["ctx"]["error"]
        if isinstance(error, SpecValueError):
            path = (*path, *error.at)
            if error.code == Code.MISSING_UNIT and report_unit(self.source.root.at(path), "Å", self.report):
                return
            fix = self.instead(item, path, None if error.instead is None else write_scalar(error.instead))
            self.report.error(error.code, self.at(item, path), error.message, help=error.help, fix=fix)
        else:
            # a validator may have put an error of ours into its own words: the code is still that one's
            code = _code_of(error) or _code_of(error.__context__) or Code.INVALID_VALUE
            help = error.help if isinstance(error, (UnitError, IrrepsError)) else None
            meant = error.instead if isinstance(error, IrrepsError) else None
            if isinstance(error, UnitError):
                meant = error.mended(str(item.error["input"]))
            fix = self.instead(item, path, None if meant is None else write_scalar(meant))
            self.report.error(code, self.at(item, path), str(error), help=help, fix=fix)

    def at(self, item: _Found, path: Path) -> Span:
        node = self.source.root.at(path)
        block = node is not None and isinstance(node.value, dict)
        return self.block_span(path) if block else self.source.span(path, key=item.place.on_key)

    def length(self, item: _Found, path: Path) -> None:
        context = item.error["ctx"]
        short = "short" in item.error["type"]
        bound = context["min_length" if short else "max_length"]
        value = item.error["input"]
        if short and len(value) >= bound:
            return  # long enough, but its items are wrong, and reported one by one
        noun = "characters" if isinstance(value, str) else "entries" if isinstance(value, dict) else "items"
        noun = {"entries": "entry"}.get(noun, noun[:-1]) if bound == 1 else noun
        words = f"needs at {'least' if short else 'most'} {bound} {noun}, and has {len(value) or 'none'}"
        self.plain(Code.WRONG_LENGTH, item, path, words)

    def mistyped(self, expected: Sequence[str], item: _Found, path: Path) -> None:
        value = item.error["input"]
        node = self.source.root.at(path)
        if "a whole number" in expected and report_whole(str(path[-1]), node, self.report):
            return
        if len(expected) > 1:
            expected_words = f"{', '.join(expected[:-1])} or {expected[-1]}"
        else:
            expected_words = expected[0]
        words = f"must be {expected_words}, not {self.got(item, path)}"
        if value is None:
            words = f"has no value; it must be {expected_words}"
        code = Code.UNSUPPORTED_VERSION if path == ("equic",) else Code.WRONG_TYPE
        self.plain(
            code,
            item,
            path,
            words,
            type_help(expected, value, item.place, self.walk, item.error["loc"]),
            self.type_fix(expected, value, item, path),
        )

    def type_fix(self, expected: Sequence[str], value: Any, item: _Found, path: Path) -> Fix | None:
        """What the help says, as a change of the text, where it leaves no choice."""
        node = self.source.root.at(path)
        if node is None or node.text is None or node.alias or item.place.on_key:
            return None
        return type_fix(expected, value, item.place, node)


def _code_of(error: BaseException | None) -> Code | None:
    if isinstance(error, IrrepsError) and error.too_large:
        return Code.IRREPS_TOO_LARGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)
