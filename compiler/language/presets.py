"""Level 1 to level 2: a preset file with the spec's parameters filled in."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

import yaml

from .blocks import Parameter, Preset
from .codes import Code
from .diagnostics import Report
from .scalars import read_scalar
from .source import Source
from .wording import FALSE_FRIENDS, certain, clip, listed

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
        close = difflib.get_close_matches(str(name), names, n=1)
        fitting = [other for other in names if load_preset(other).kind == kind]
        report.error(
            Code.UNKNOWN_ARCHITECTURE,
            source.span(path),
            f"there is no architecture `{clip(str(name))}`",
            help=f"did you mean `{close[0]}`?" if close else f"for {kind} there are: {', '.join(fitting)}",
            fix=source.instead(path, certain(name, names)),
        )
        return None
    preset = load_preset(str(name))
    if preset.kind != kind:
        fitting = [other for other in names if load_preset(other).kind == kind]
        report.error(
            Code.OTHER_ARCHITECTURE,
            source.span(path),
            f"`{name}` is an architecture for {preset.kind}, but the system is {kind}",
            help=f"for {kind} there are: {', '.join(fitting)}",
            related=((source.span(("system", "kind")), "declared here"),),
        )
        return None
    return preset


def _which_exist(readings: list[str], kind: str) -> str:
    there = [f"`{one}`" for one in readings if one in preset_names()]
    missing = [f"`{one}`" for one in readings if one not in preset_names()]
    if not missing:
        return f"write {' or '.join(there)}"
    fitting = [other for other in preset_names() if load_preset(other).kind == kind]
    gone = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not shipped in this version"
    return f"write {there[0]}; {gone}" if there else f"{gone}; for {kind} there are: {', '.join(fitting)}"


def fill_preset(
    preset: Preset, given: Mapping[str, object], conditions: frozenset[str], source: Source, report: Report
) -> dict[str, object] | None:
    """The preset's model with every `${parameter}` replaced, without blocks whose `when` does not hold."""
    values: dict[str, object] = {name: one.default for name, one in preset.parameters.items()}
    fine = True
    for name, value in given.items():
        path = ("model", name)
        if name not in preset.parameters:
            close = difflib.get_close_matches(name, preset.parameters, n=1)
            known = ", ".join(preset.parameters)
            report.error(
                Code.UNKNOWN_PARAMETER,
                source.span(path, key=True),
                f"`{preset.preset}` has no parameter `{clip(name)}`",
                help=f"did you mean `{close[0]}`?" if close else f"its parameters are: {known}",
                fix=source.instead(
                    path, certain(name, set(preset.parameters) - set(given), least=0.75), key=True
                ),
            )
            fine = False
            continue
        problem = _problem(preset.parameters[name], value)
        if problem:
            code, text = problem
            report.error(
                code,
                source.span(path),
                f"`{name}` {text}, not `{clip(_show(value))}`",
                fix=source.instead(path, _meant(preset.parameters[name], value)),
            )
            fine = False
        values[name] = value
    return _fill(preset.model, values, conditions) if fine else None  # type: ignore[return-value]


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
        case "float" if not number or not math.isfinite(value):  # type: ignore[arg-type]
            return Code.WRONG_TYPE, "must be a number"
        case "ints":
            if not isinstance(value, list) or not all(type(one) is int and 0 < one <= _MOST for one in value):
                return Code.WRONG_TYPE, "must be a list of positive whole numbers"
            return None
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


def _fill(value: object, values: Mapping[str, object], conditions: frozenset[str]) -> object:
    if isinstance(value, str):
        whole = _HOLE.fullmatch(value)
        if whole:
            filled = values[whole[1]]
            return list(filled) if isinstance(filled, tuple) else filled
        return _HOLE.sub(lambda hole: str(values[hole[1]]), value)
    if isinstance(value, list):
        kept = [one for one in value if not isinstance(one, dict) or one.get("when") in (None, *conditions)]
        return [_fill(one, values, conditions) for one in kept]
    if isinstance(value, dict):
        return {key: _fill(one, values, conditions) for key, one in value.items() if key != "when"}
    return value


__all__ = ["fill_preset", "find_preset", "load_preset", "preset_names"]
