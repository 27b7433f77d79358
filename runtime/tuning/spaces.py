"""One searched field: its range or choices, and how values of it are stored.

Optuna keeps only None, booleans, numbers and strings. A choice such as `{relaxed: 0.1}` is therefore searched
by its canonical text, and mapped back before an objective sees it.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .errors import TuningError

Kind = Literal["float", "int", "choice"]
_LADDERS = ("symmetry", "constraints")  # the sections of a spec whose entries are held more or less strictly


class SearchLike(Protocol):
    """What `Space.from_search` reads; the compiler's search spaces have this shape."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Sequence[Any]: ...
    @property
    def kind(self) -> Any: ...
    @property
    def low(self) -> Any: ...
    @property
    def high(self) -> Any: ...
    @property
    def log(self) -> bool: ...
    @property
    def step(self) -> Any: ...
    @property
    def choices(self) -> Any: ...
    @property
    def default(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Space:
    """A searched field of a spec.

    `subject` names the constraint whose strictness the field sets (`O(3)`, `hamiltonian`), None for any other
    field. `anchors` are values that are measured first although they may lie outside of `low..high`: a
    strength on a logarithmic axis never reaches the strict end point s = 0 by itself.

    Raises:
        TuningError: an empty or reversed range, a logarithmic range that reaches 0, a step that does not
        divide
            the range, no or equal choices, a choice that is not plain data.
    """

    name: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    default: Any = None
    subject: str | None = None
    anchors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "choice":
            _check_choices(self)
        elif self.kind in ("float", "int"):
            _check_range(self)
        else:
            raise TuningError(
                f"search space `{self.name}` has kind `{self.kind}`",
                help="the kinds are float, int and choice",
            )

    @classmethod
    def from_search(cls, search: SearchLike) -> "Space":
        """The space of a marked field.

        A mode or a strength under `symmetry` or `constraints` sets the strictness of what is named there; a
        strength (`symmetry.O(3).relaxed`) gets the anchors 0 (hard) and 1 (free).
        """
        path = search.path.split(".") if isinstance(search.path, str) else [str(part) for part in search.path]
        is_dial = len(path) > 1 and path[0] in _LADDERS and set(path[2:]) <= {"mode", "relaxed", "strength"}
        subject = path[1] if is_dial else None
        strength = is_dial and search.kind == "float" and path[-1] in ("relaxed", "strength")
        return cls(
            name=search.name,
            kind=search.kind,
            low=search.low,
            high=search.high,
            log=bool(search.log),
            step=search.step,
            choices=tuple(search.choices or ()),
            default=search.default,
            subject=subject,
            anchors=(0.0, 1.0) if strength else (),
        )

    def contains(self, value: Any) -> bool:
        """Whether the sampler could propose this very value."""
        if self.kind == "choice":
            return canonical(value) in {canonical(choice) for choice in self.choices}
        if not _is_number(value) or (self.kind == "int" and value != int(value)):
            return False
        low, high = self.bounds
        if not low <= value <= high:
            return False
        steps = 0.0 if not self.step else (value - low) / self.step
        return abs(steps - round(steps)) < 1e-8

    def middle(self) -> Any:
        """Where the field stands while another one is varied: its default, else the middle of its range."""
        given = self.default is not None and self.contains(self.default)
        if self.kind == "choice":
            return self.default if given else self.choices[0]
        if given:
            return int(self.default) if self.kind == "int" else float(self.default)
        low, high = self.bounds
        middle = math.sqrt(low * high) if self.log else (low + high) / 2
        if self.kind == "int" or self.step:
            step = self.step or 1
            middle = low + round((middle - low) / step) * step
        return int(middle) if self.kind == "int" else float(middle)

    def to_param(self, value: Any) -> Any:
        """The stored form: the canonical text of a choice, a number moved to the nearest of `low..high`."""
        if self.kind == "choice":
            return canonical(value)
        low, high = self.bounds
        inside = min(max(value, low), high)
        return int(inside) if self.kind == "int" else float(inside)

    def from_param(self, param: Any) -> Any:
        """The value that a stored form stands for."""
        if self.kind == "choice":
            return next(choice for choice in self.choices if canonical(choice) == param)
        return param

    def distribution(self) -> Any:
        """The Optuna distribution of the stored form."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution([canonical(choice) for choice in self.choices])
        low, high = self.bounds
        if self.kind == "int":
            return IntDistribution(int(low), int(high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(float(low), float(high), log=self.log, step=self.step)

    def describe(self) -> dict[str, Any]:
        """What must not change while a study continues, as plain data."""
        if self.kind == "choice":
            return {"name": self.name, "kind": "choice", "choices": [canonical(c) for c in self.choices]}
        low, high = self.bounds
        return {
            "name": self.name,
            "kind": self.kind,
            "low": float(low),
            "high": float(high),
            "log": self.log,
            "step": None if self.step is None else float(self.step),
        }

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of a number."""
        # both are numbers: checked in __post_init__
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high


def canonical(value: Any) -> str:
    """The canonical text of plain data: JSON with sorted keys, so that equal values have equal texts.

    Raises:
        TuningError: the value is not made of None, booleans, finite numbers, strings, lists and mappings.

    Example:
        >>> canonical({"relaxed": 0.1, "by": "residual"})
        '{"by":"residual","relaxed":0.1}'
    """
    try:
        return json.dumps(
            value,
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
            default=_plain,
        )
    except (TypeError, ValueError) as error:
        raise TuningError(
            f"a searched value is not plain data: {value!r} ({error})",
            help="use numbers, text, true, false, null, lists and mappings",
        ) from error


def show(value: Any) -> str:
    """A value as a spec writes it, numbers with four digits.

    Example:
        >>> show({"relaxed": 0.123456})
        '{relaxed: 0.1235}'
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def changes(stored: Iterable[Mapping[str, Any]], spaces: Iterable[Space]) -> list[str]:
    """What differs between the spaces that a study was begun with and those of now, one sentence each."""
    old = {space["name"]: space for space in stored}
    new = {space.name: space.describe() for space in spaces}
    lines = [f"`{name}` is no longer searched" for name in old if name not in new]
    lines += [f"`{name}` was not searched before" for name in new if name not in old]
    for name in (name for name in new if name in old):
        for key in sorted({*old[name], *new[name]}):
            before, now = old[name].get(key), new[name].get(key)
            if before != now:
                lines.append(f"`{key}` of `{name}` was {_before(before)} and is now {_before(now)}")
    return lines


def check_spaces(spaces: Sequence[Space]) -> tuple[Space, ...]:
    """The spaces, at least one, no name twice.

    Raises:
        TuningError: nothing is searched, or one field is searched twice.
    """
    if not spaces:
        raise TuningError(
            "the spec marks no field to search",
            help="mark one, for example `learning_rate: {search: {low: 1e-4, high: 1e-1, log: true}}`",
        )
    names = [space.name for space in spaces]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TuningError(f"these fields are searched twice: {', '.join(twice)}")
    return tuple(spaces)


def _check_choices(space: Space) -> None:
    if not space.choices:
        raise TuningError(f"search space `{space.name}` has no choices")
    texts = [canonical(choice) for choice in space.choices]
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        raise TuningError(f"search space `{space.name}` lists {', '.join(twice)} twice")


def _check_range(space: Space) -> None:
    low, high, step = space.low, space.high, space.step
    if not _is_number(low) or not _is_number(high):
        raise TuningError(
            f"search space `{space.name}` needs finite numbers `low` and `high`, has {low!r}, {high!r}"
        )
    assert low is not None
    assert high is not None
    if low >= high:
        raise TuningError(f"search space `{space.name}` has low = {low:g}, not below high = {high:g}")
    if space.log and low <= 0:
        raise TuningError(
            f"search space `{space.name}` is logarithmic and starts at {low:g}",
            help="start above 0; the end point 0 of a strength is measured by itself",
        )
    if space.log and step:
        raise TuningError(f"search space `{space.name}` has both `log` and `step`", help="keep one of them")
    if space.kind == "int" and any(v != int(v) for v in (low, high, step or 1)):
        raise TuningError(f"search space `{space.name}` searches integers, but its range is not of integers")
    if step is not None:
        if step <= 0:
            raise TuningError(f"search space `{space.name}` has step = {step:g}, which is not positive")
        count = (high - low) / step
        if abs(count - round(count)) > 1e-8:
            last = low + math.floor(count) * step
            raise TuningError(
                f"search space `{space.name}`: steps of {step:g} from {low:g} do not reach {high:g}",
                help=f"write `high: {last:g}`",
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no plain form")


def _before(value: Any) -> str:
    return "not given" if value is None else show(value)
