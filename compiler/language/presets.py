"""Level 1 to level 2: a preset file with the spec's parameters filled in."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import yaml

from .codes import Code
from .diagnostics import Report
from .foreign import key_help, our_key, our_value, same_meaning
from .nodes import Node, node_from
from .scalars import read_scalar
from .schema_model import Parameter, Preset
from .search_errors import middle_help, report_whole
from .source import Source
from .spans import Span
from .wording import FALSE_FRIENDS, certain, clip, listed, nearest

_MOST = 1_000_000  # of anything that a preset counts
_HOLE = re.compile(r"\$\{(\w+)\}")


# Two papers, one name each: the spec must say which is meant.
AMBIGUOUS = {
    "hegnn": (
        ("spin_hegnn", "Heisenberg edge network"),
        ("hegnn_highdegree", "high-degree equivariant network"),
    ),
    "segnn": (
        ("spin_segnn", "spin-distance edge network"),
        ("segnn_steerable", "steerable equivariant network"),
    ),
}


def preset_names() -> tuple[str, ...]:
    """Every preset that is shipped, sorted."""
    folder = resources.files("equic.specs.presets")
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


@lru_cache(maxsize=64)
def load_preset(name: str) -> Preset:
    """The preset file of this name, checked.

    Raises:
        FileNotFoundError: there is none.
        ValidationError: the shipped file is wrong (a bug of ours, caught by the tests).
    """
    text = resources.files("equic.specs.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Preset.model_validate(yaml.load(text, loader))


def serves(preset: Preset, kind: str) -> bool:
    """Is the preset for this kind of system? Those for atoms take particles as atoms of their types."""
    return preset.kind == kind or (preset.kind == "atoms" and kind == "particles")


def find_preset(name: object, kind: str, source: Source, report: Report) -> Preset | None:
    """The preset that `model.architecture` names, or None after a report that lists what exists."""
    path = ("model", "architecture")
    names = preset_names()
    if isinstance(name, str) and name in AMBIGUOUS and name not in names:
        readings = AMBIGUOUS[name]
        report.error(
            Code.AMBIGUOUS_ARCHITECTURE,
            source.span(path),
            f"`{name}` names two architectures: {' and '.join(f'`{one}` ({what})' for one, what in readings)}",
            help=_which_exist([one for one, _ in readings], kind),
        )
        return None
    if name not in names:
        close = meant_preset(str(name))
        fitting = [other for other in names if serves(load_preset(other), kind)]
        report.error(
            Code.UNKNOWN_ARCHITECTURE,
            source.span(path),
            f"there is no architecture `{clip(str(name))}`",
            help=f"did you mean `{close}`?" if close else f"for {kind} there are: {', '.join(fitting)}",
            fix=source.instead(path, certain(name, names)),
        )
        return None
    preset = load_preset(str(name))
    if not serves(preset, kind):
        fitting = [other for other in names if serves(load_preset(other), kind)]
        report.error(
            Code.OTHER_ARCHITECTURE,
            source.span(path),
            f"`{name}` is an architecture for {preset.kind}, but the system is {kind}",
            help=f"for {kind} there are: {', '.join(fitting)}",
            related=((source.span(("system", "kind")), "declared here"),),
        )
        return None
    return preset


def meant_preset(name: str) -> str | None:
    """The preset that was probably meant: of a like name, or the longest that the name of a class contains.

    Example:
        >>> meant_preset("MACE"), meant_preset("NequIPGNNModel"), meant_preset("transformer9")
        ('mace', 'nequip', None)
    """
    names = preset_names()
    close = nearest(name, names)
    within = [one for one in names if len(one) > 2 and one in name.lower()]
    return close or max(within, key=len, default=None)


def _which_exist(readings: list[str], kind: str) -> str:
    there = [f"`{one}`" for one in readings if one in preset_names()]
    missing = [f"`{one}`" for one in readings if one not in preset_names()]
    if not missing:
        return f"write {' or '.join(there)}"
    fitting = [other for other in preset_names() if serves(load_preset(other), kind)]
    gone = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not shipped in this version"
    return f"write {there[0]}; {gone}" if there else f"{gone}; for {kind} there are: {', '.join(fitting)}"


def fill_preset(
    preset: Preset, given: Mapping[str, object], conditions: frozenset[str], source: Source, report: Report
) -> Node | None:
    """The preset's model with every `${parameter}` replaced, without blocks whose `when` does not hold.

    Each value of the result stands where the parameter does that the user set and that flows into it: of several
    the one furthest above its default; with none, at `architecture:`.

    A `when` names one of `conditions`, or a choice of the preset: `first_layer=residual`.
    """
    values: dict[str, object] = {name: one.default for name, one in preset.parameters.items()}
    fine = True
    for name, value in given.items():
        path = ("model", name)
        if name not in preset.parameters:
            close = difflib.get_close_matches(name, preset.parameters, n=1)
            known = ", ".join(preset.parameters)
            foreign = key_help(name, preset.parameters, ("model",))
            free = set(preset.parameters) - set(given)
            meant = certain(name, free, least=0.75)
            if foreign is not None:
                meant = our_key(name, free, ("model",)) if same_meaning(name) else None
            report.error(
                Code.UNKNOWN_PARAMETER,
                source.span(path, key=True),
                f"`{preset.preset}` has no parameter `{clip(name)}`",
                help=foreign or (f"did you mean `{close[0]}`?" if close else f"its parameters are: {known}"),
                fix=source.instead(path, meant, key=True),
            )
            fine = False
            continue
        problem = _problem(preset.parameters[name], value)
        if problem:
            code, text = problem
            node = source.root.at(path)
            if preset.parameters[name].type == "int" and report_whole(name, node, report):
                fine = False
                continue
            ours = our_value(name, value)
            if ours not in (preset.parameters[name].choices or ()):
                ours = None
            report.error(
                code,
                source.span(path),
                f"`{name}` {text}, not `{clip(_show(value))}`",
                help=f"what others call `{_show(value)}` is `{ours}` here"
                if ours is not None
                else middle_help(node),
                fix=source.instead(path, ours or _meant(preset.parameters[name], value)),
            )
            fine = False
        values[name] = value
    if not fine:
        return None
    places = {name: source.span(("model", name)) for name in given}
    excess = {name: _excess(values[name], preset.parameters[name].default) for name in given}
    copies = _copies(preset.model)
    # few copies of an irrep never hurt: they are to blame only where they are more than usual
    suspects = [name for name in given if name not in copies or excess[name] > 1]
    urgent = sorted(suspects, key=lambda name: -excess[name])
    chosen = {f"{name}={values[name]}" for name, one in preset.parameters.items() if one.type == "choice"}
    filling = _Filling(
        values,
        conditions | chosen,
        {name: places[name] for name in urgent},
        source.span(("model", "architecture")),
    )
    return filling.node(preset.model)


def _excess(value: object, default: object) -> float:
    """How far a number lies above its default, as a ratio; 1 for what is no number."""
    numbers = isinstance(value, (int, float)) and isinstance(default, (int, float))
    return (abs(value) + 1) / (abs(default) + 1) if numbers else 1.0  # type: ignore[arg-type]


def _meant(parameter: Parameter, value: object) -> object:
    """The value that was meant beyond doubt: a choice spelt wrongly, a number or a truth in quotes."""
    if parameter.type == "choice":
        return certain(value, parameter.choices or ())
    if not isinstance(value, str):
        return None
    found = read_scalar(value.strip()) if len(value) < 30 else None
    if parameter.type == "bool" and value.lower() in FALSE_FRIENDS:
        found = FALSE_FRIENDS[value.lower()] == "true"
    return found if found is not None and _problem(parameter, found) is None else None


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _problem(parameter: Parameter, value: object) -> tuple[Code, str] | None:
    """What is wrong with a value, or None."""
    low = parameter.minimum
    high = _MOST if parameter.maximum is None and parameter.type == "int" else parameter.maximum
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match parameter.type:
        case "int" if not isinstance(value, int) or isinstance(value, bool):
            return Code.WRONG_TYPE, "must be a whole number"
        case "float" if not _is_number(value):
            return Code.WRONG_TYPE, "must be a number"
        case "ints":
            if not isinstance(value, list) or not all(type(one) is int and 0 < one <= _MOST for one in value):
                return Code.WRONG_TYPE, "must be a list of positive whole numbers"
            return None
        case "floats":
            numbers = value if isinstance(value, list) else [value]
            if all(_is_number(one) and (low is None or one >= low) for one in numbers):  # type: ignore[operator]
                return None
            least = "" if low is None else f" of at least {low:g}"
            return Code.WRONG_TYPE, f"must be a number{least}, or a list of them"
        case "choice" if value not in (parameter.choices or ()):
            return Code.WRONG_CHOICE, f"must be {listed(parameter.choices or ())}"
        case "bool" if not isinstance(value, bool):
            return Code.WRONG_TYPE, "must be `true` or `false`"
    if number and ((low is not None and value < low) or (high is not None and value > high)):  # type: ignore[operator]
        if low is not None and high is not None:
            return Code.OUT_OF_RANGE, f"must lie between {low:,.10g} and {high:,.10g}"
        return (
            Code.OUT_OF_RANGE,
            f"must be at least {low:g}" if low is not None else f"must be at most {high:g}",
        )
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class _Filling:
    """Parameters on their way into a preset's model; `places` are those set by the user, the likeliest cause first."""

    values: Mapping[str, object]
    conditions: frozenset[str]
    places: Mapping[str, Span]
    anchor: Span

    def node(self, value: object) -> Node:
        """The value with its holes filled, each part at the place of the parameter behind it."""
        return self._at(self._place(value), value)

    def _at(self, place: Span, value: object) -> Node:
        if isinstance(value, str):
            whole = _HOLE.fullmatch(value)
            filled = (
                self.values[whole[1]] if whole else _HOLE.sub(lambda hole: str(self.values[hole[1]]), value)
            )
            return node_from(filled, place, key=place)
        if isinstance(value, list):
            kept = [
                one
                for one in value
                if not isinstance(one, dict) or one.get("when") in (None, *self.conditions)
            ]
            return Node(tuple(self.node(one) for one in kept), place, place)
        if isinstance(value, dict):
            return Node({key: self.node(one) for key, one in value.items() if key != "when"}, place, place)
        return node_from(value, place, key=place)

    def _place(self, value: object) -> Span:
        """Of a text: the likeliest parameter in it; of a list or mapping: the only one, if there is just one."""
        names = [name for name in self.places if name in _holes(value)]
        if not names or (len(names) > 1 and not isinstance(value, str)):
            return self.anchor
        return self.places[names[0]]


def _copies(value: object) -> frozenset[str]:
    """The parameters that count copies of irreps, as in `${channels}x0e`."""
    if isinstance(value, str):
        return frozenset(re.findall(r"\$\{(\w+)\}x", value))
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset().union(*(_copies(part) for part in parts))


def _holes(value: object) -> frozenset[str]:
    """The parameters that flow into a value of a preset."""
    if isinstance(value, str):
        return frozenset(_HOLE.findall(value))
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset().union(*(_holes(part) for part in parts))


__all__ = ["fill_preset", "find_preset", "load_preset", "preset_names"]
