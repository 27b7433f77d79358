"""`{search: ...}`: values that `equic tune` may choose, anywhere in a spec."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..symmetry.units import UnitError, parse_quantity
from .codes import Code
from .diagnostics import Report
from .fixes import Edit, Fix, replacing
from .foreign import key_help, our_key
from .nodes import Node, Path, node_from, parse_path, plain, same_data
from .search_space import Number, SearchSpace
from .source import Source
from .spans import Span
from .wording import certain, clip, listed, suggestion, value_words
from .yaml_writer import write_flow

_KEYS = ("low", "high", "log", "step", "choices", "default")
_NUMBER_AND_UNIT = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s+(\S.*)")
_FORM = "write `{search: {low: 1e-4, high: 1.0, log: true}}` or `{search: [a, b]}`"

__all__ = ["SearchSpace", "extract_search", "substitute"]


def extract_search(source: Source, report: Report) -> tuple[Source, tuple[SearchSpace, ...]]:
    """The source with every search replaced by its default, and the search spaces in the order of the text.

    The default is the `default:` of the search, else the first choice, else the middle of the range
    (geometric where it is logarithmic). Malformed searches are reported, and replaced by what they suggest.

    Example:
        >>> from .source import source_from_text
        >>> report = Report()
        >>> source = source_from_text("model: {channels: {search: {low: 16, high: 64}}}", report=report)
        >>> fixed, (space,) = extract_search(source, report)
        >>> fixed.data, space.name, space.candidates_to_check()
        ({'model': {'channels': 40}}, 'model.channels', (16, 64))
    """
    spaces: list[SearchSpace] = []
    root = _Extractor(report).walk(source.root, (), spaces)
    return source.with_root(root), tuple(spaces)


def substitute(source: Source, values: Mapping[str, Any], spaces: Sequence[SearchSpace] = ()) -> Source:
    """The source with values put at dotted paths; raises `KeyError` for a path that does not exist.

    With the `spaces` of `extract_search`, choices keep their place in the text, and numbers get their unit.
    """
    known = {space.name: space for space in spaces}
    root = source.root
    for name, value in values.items():
        space = known.get(name)
        path = space.path if space is not None else parse_path(name)
        if path is None or root.at(path) is None:
            raise KeyError(name)
        root = root.replaced(
            path, space.node(value) if space is not None else node_from(value, source.span(path))
        )
    return source.with_root(root)


class _Extractor:
    """One walk over the values of a source."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def walk(self, node: Node, path: Path, spaces: list[SearchSpace]) -> Node:
        if isinstance(node.value, dict):
            search = node.value.get("search")
            if search is not None:
                return self.search(node, search, path, spaces)
            entries = {key: self.walk(child, (*path, key), spaces) for key, child in node.value.items()}
            return replace(node, value=entries)
        if isinstance(node.value, tuple):
            items = tuple(self.walk(child, (*path, index), spaces) for index, child in enumerate(node.value))
            return replace(node, value=items)
        return node

    def search(self, node: Node, search: Node, path: Path, spaces: list[SearchSpace]) -> Node:
        assert isinstance(node.value, dict)
        others = [key for key in node.value if key != "search"]
        if others:
            self.error(
                Code.BAD_SEARCH,
                node.value[others[0]].key or node.span,
                f"`{others[0]}` stands beside `search`, which must be alone",
                f"move it into the search, or out of the braces; {_FORM}",
            )
        if not path:
            self.error(Code.BAD_SEARCH, search.key or node.span, "a whole spec cannot be searched", _FORM)
            return replace(node, value={})
        self.refuse_nested(search)
        space = self.space(search, path, node.span)
        if space is None:
            self.report.give_up(node.span)
            return Node(None, node.span, node.key)
        spaces.append(space)
        written = search.value if isinstance(search.value, dict) and space.kind != "choice" else None
        return replace(space.node(space.default), key=node.key, search=written)

    def refuse_nested(self, node: Node) -> None:
        children: tuple[Node, ...] = ()
        if isinstance(node.value, (dict, tuple)):
            children = tuple(node.value.values()) if isinstance(node.value, dict) else node.value
        for child in children:
            if isinstance(child.value, dict) and "search" in child.value:
                self.error(
                    Code.NESTED_SEARCH,
                    child.value["search"].key or child.span,
                    "a search stands inside another search",
                    "list the values of the inner one as choices of the outer one",
                )
            self.refuse_nested(child)

    def space(self, search: Node, path: Path, span: Span) -> SearchSpace | None:
        if isinstance(search.value, tuple):
            return self.choice(search, None, path, span)
        if not isinstance(search.value, dict):
            words = f"a search must be a range or a list, not {value_words(search.value, search.text)}"
            self.error(Code.BAD_SEARCH, search.span, words, _FORM)
            return None
        keys = search.value
        for key, child in keys.items():
            if key not in _KEYS:
                help = key_help(key, _KEYS, path) or suggestion(
                    key, _KEYS, f"its keys are {listed(_KEYS, 'and')}"
                )
                place = child.key or child.span
                free = [one for one in _KEYS if one not in keys]
                meant = certain(key, free, least=0.75) or our_key(key, free, path)
                fix = replacing(place, meant) if meant is not None and child.key is not None else None
                self.report.error(
                    Code.UNKNOWN_KEY, place, f"`search` has no key `{clip(key)}`", help=help, fix=fix
                )
        if "choices" in keys:
            for key in ("low", "high", "log", "step"):
                if key in keys:
                    place = keys[key].key or search.span
                    self.error(
                        Code.BAD_SEARCH, place, f"`{key}` does not go with `choices`", "remove one of the two"
                    )
            return self.choice(keys["choices"], keys.get("default"), path, span)
        missing = [key for key in ("low", "high") if key not in keys]
        if missing:
            place = search.key or search.span
            self.error(Code.BAD_SEARCH, place, f"a search needs {listed(('low', 'high'), 'and')}", _FORM)
            return None
        return self.range(keys, path, span)

    def choice(self, choices: Node, default: Node | None, path: Path, span: Span) -> SearchSpace | None:
        nodes = choices.value
        if not isinstance(nodes, tuple):
            self.error(Code.BAD_SEARCH, choices.span, "`choices` must be a list", "write `choices: [a, b]`")
            return None
        if len(nodes) < 2:
            count = "one choice" if nodes else "no choices"
            help = "write the value itself, or add another choice" if nodes else "list at least two choices"
            self.error(Code.EMPTY_SEARCH, choices.span, f"this search has {count}", help)
            if not nodes:
                return None
        values = tuple(plain(node) for node in nodes)
        seen: set[str] = set()
        for index, value in enumerate(values):
            if (text := repr(value)) in seen:  # which tells 1, 1.0 and true apart
                words = f"the choice `{clip(write_flow(nodes[index]))}` is listed twice"
                self.error(Code.BAD_SEARCH, nodes[index].span, words, "list every choice once")
            seen.add(text)
        chosen = values[0]
        if default is not None:
            if any(same_data(plain(default), value) for value in values):
                chosen = plain(default)
            else:
                words = f"the default `{clip(write_flow(default))}` is not one of the choices"
                known = listed(write_flow(node) for node in nodes)
                self.error(Code.BAD_DEFAULT, default.span, words, f"write {clip(known, 200)}")
        return SearchSpace(path, "choice", chosen, span, choices=values, nodes=nodes)

    def range(self, keys: dict[str, Node], path: Path, span: Span) -> SearchSpace | None:
        bottom, top = self.number(keys["low"], "low"), self.number(keys["high"], "high")
        step_of = self.number(keys["step"], "step") if "step" in keys else None
        log = self.flag(keys["log"]) if "log" in keys else False
        if bottom is None or top is None:
            return None
        (low, unit), (high, other) = bottom, top
        if unit != other:
            words = f"`low` is in {_unit_words(unit)}, and `high` in {_unit_words(other)}"
            self.error(Code.BAD_SEARCH, keys["high"].span, words, "write both in the same unit")
            return None
        if low > high:
            help = f"write `low: {keys['high'].text}, high: {keys['low'].text}`"
            words = f"`low` is {keys['low'].text}, above `high`, which is {keys['high'].text}"
            self.report.error(
                Code.REVERSED_BOUNDS,
                keys["low"].span,
                words,
                help=help,
                fix=_exchanged(keys["low"], keys["high"]),
            )
            low, high = high, low
        if low == high:
            self.error(
                Code.EMPTY_SEARCH,
                keys["high"].span,
                "`low` and `high` are equal: there is nothing to search",
                "write the value itself, or widen the range",
            )
        if log and low <= 0:
            self.error(
                Code.LOG_FROM_ZERO,
                keys["low"].span,
                f"a logarithmic range must start above 0, not at {keys['low'].text}",
                "raise `low`, or remove `log: true`",
            )
        step = self.step(keys, step_of, log, high - low, unit)
        whole = isinstance(low, int) and isinstance(high, int) and (step is None or isinstance(step, int))
        if whole and low == 0 and high == 1:
            self.report.warning(
                Code.TINY_SEARCH,
                span,
                "only 0 and 1 are searched, since both ends are whole numbers",
                help="write `high: 1.0` to search what lies between",
            )
        if not whole:
            low, high = float(low), float(high)
        # of a logarithm that cannot be taken nothing is said but that
        default: Number = high if log and low <= 0 else _middle(low, high, log, step, whole)
        space = SearchSpace(
            path,
            "int" if whole else "float",
            default,
            span,
            low,
            high,
            log,
            step,
            unit,
            nodes=(keys["low"], keys["high"]),
        )
        return self.with_default(space, keys.get("default"))

    def step(
        self,
        keys: dict[str, Node],
        found: tuple[Number, str | None] | None,
        log: bool,
        width: Number,
        unit: str | None,
    ) -> Number | None:
        if found is None:
            return None
        step, own = found
        if own not in (None, unit):
            words = f"`low` is in {_unit_words(unit)}, and `step` in {_unit_words(own)}"
            self.error(Code.BAD_STEP, keys["step"].span, words, "write both in the same unit")
            return None
        if log:
            place = keys["step"].key or keys["step"].span
            self.error(Code.BAD_STEP, place, "a logarithmic range has no `step`", "remove `step` or `log`")
            return None
        if step <= 0 or step > width:
            words = f"a step of {keys['step'].text} does not fit between `low` and `high`"
            self.error(
                Code.BAD_STEP, keys["step"].span, words, "write a positive step, smaller than the range"
            )
            return None
        return step

    def with_default(self, space: SearchSpace, node: Node | None) -> SearchSpace:
        found = None if node is None else self.number(node, "default")
        if node is None or found is None:
            return space
        value, unit = found
        assert space.low is not None
        assert space.high is not None
        whole = space.kind == "int" and not isinstance(value, int)
        if unit != space.unit or not space.low <= value <= space.high or whole:
            ends = listed(write_flow(end) for end in space.nodes).replace(" or ", " and ")
            words = f"the default {node.text} does not lie in the range"
            kind = "a whole number" if space.kind == "int" else "a value"
            self.error(Code.BAD_DEFAULT, node.span, words, f"write {kind} between {ends}")
            return space
        return replace(space, default=value if space.kind == "int" else float(value))

    def number(self, node: Node, key: str) -> tuple[Number, str | None] | None:
        """A finite number, and the unit written behind it."""
        value = node.value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return value, None
        if isinstance(value, dict) and "search" in value:
            return None  # reported as nested
        match = _NUMBER_AND_UNIT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            shown = clip(node.text) if node.text else write_flow(node)
            self.error(
                Code.BAD_SEARCH, node.span, f"`{key}` must be a finite number, not `{clip(shown)}`", _FORM
            )
            return None
        try:
            number, _ = parse_quantity(match.group())
        except UnitError as error:
            self.error(Code.UNKNOWN_UNIT, node.span, error.message, error.help)
            return None
        return number, match.group(2).strip()

    def flag(self, node: Node) -> bool:
        if isinstance(node.value, bool):
            return node.value
        shown = clip(node.text) if node.text else write_flow(node)
        self.error(Code.BAD_SEARCH, node.span, f"`log` must be `true` or `false`, not `{clip(shown)}`", _FORM)
        return False

    def error(self, code: Code, span: Span, message: str, help: str | None) -> None:
        self.report.error(code, span, message, help=help)


def _exchanged(one: Node, other: Node) -> Fix | None:
    """The fix that writes each scalar where the other stands."""
    if one.alias or other.alias or one.text is None or other.text is None or one.span.file != other.span.file:
        return None
    return Fix((Edit(one.span, _written(other, other.text)), Edit(other.span, _written(one, one.text))))


def _written(node: Node, text: str) -> str:
    return f'"{text}"' if node.quoted else text


def _middle(low: Number, high: Number, log: bool, step: Number | None, whole: bool) -> Number:
    """The geometric or arithmetic middle of a range, on its grid."""
    if whole:
        middle = math.isqrt(int(low) * int(high)) if log else int(low) + (int(high) - int(low)) // 2
        # whole numbers may be larger than a double: no division
        steps = 0 if step is None else (2 * (middle - int(low)) + int(step)) // (2 * int(step))
        return middle if step is None else int(low) + steps * int(step)
    value = math.exp((math.log(low) + math.log(high)) / 2) if log else low / 2 + high / 2
    if step is not None:
        count = (value - low) / step
        value = low + round(count) * step if math.isfinite(count) else value
    return min(max(float(f"{value:.6g}"), low), high)


def _unit_words(unit: str | None) -> str:
    return "no unit" if unit is None else f"`{unit}`"
