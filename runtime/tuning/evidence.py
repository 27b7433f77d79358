"""One line that says what a search has shown about the constraints it relaxed.

Nothing is said that was not measured: an end point that is missing, failed or was pruned is named, and so are
a spread that nobody measured and end points that differ from the best in more than the constraint.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import TuningError
from .result import Point, TuningResult, best_point, points
from .spaces import Space, canonical, show
from .strictness import FREE, HARD, place, strictness

ASSUMED_TIE = 0.05
_SIGMAS = 2.0
_TIE_TEXT = f"{100 * ASSUMED_TIE:.0f} %"


def evidence(
    result: TuningResult,
    spaces: Sequence[Space],
    *,
    noun: str = "validation error",
    unit: str = "",
    metric: str | None = None,
) -> str:
    """The line of evidence: where the best point lies on each ladder, against its hard and its free end.

    Points are chosen by the objective; with `metric` the line compares them by that metric of the trials
    (such as a test error, smaller is better), which the choice has not seen.

    A constraint counts as broken in the data only where relaxing it gains more than twice the standard error
    of the difference, pooled over all repeated points (of relative deviations where all numbers are
    positive). Where no point was repeated, differences below 5 % count as ties, and the line says so. It
    "looks" broken where the end point differs from the best in other fields, too.

    Raises:
        TuningError: no trial has recorded this metric.

    Example:
        O(3) is broken in this data: s = 0.3, validation error 0.21 against 1.05 hard (s = 0) and 4.8
        free (s = 1)
    """
    table = _Table.of(result, noun, unit, metric)
    if table.best is None:
        done = sum(row.settled for row in result.rows)
        return f"no evidence: none of {done} trials completed" if done else "no evidence: no trial was run"
    dials = [space for space in spaces if space.subject is not None and table.varies(space)]
    if not dials:
        return _plain_line(table, table.best, spaces)
    return "; ".join(_dial_line(table, table.best, space) for space in dials) + table.caveat


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a ladder: a point, or why there is none; `paired` if only the dial differs from the best."""

    point: Point | None
    text: str
    paired: bool = True


@dataclass(frozen=True, slots=True)
class _Table:
    """The measured points, and how their numbers are compared and written."""

    result: TuningResult
    known: tuple[Point, ...]
    shown: dict[str, Point]
    best: Point | None
    noun: str
    unit: str
    maximize: bool
    relative: bool
    spread: float | None

    @classmethod
    def of(cls, result: TuningResult, noun: str, unit: str, metric: str | None) -> "_Table":
        known = tuple(points(result.rows))
        seen = known
        if metric is not None:
            rows = [replace(row, objective=row.metrics.get(metric)) for row in result.rows]
            seen = tuple(points(rows))
            if known and not seen:
                names = sorted({name for row in result.rows for name in row.metrics})
                raise TuningError(
                    f"no trial has recorded `{metric}`", help=f"recorded are: {', '.join(names) or 'none'}"
                )
        relative = all(sample > 0 for point in seen for sample in point.samples)
        return cls(
            result=result,
            known=known,
            shown={canonical(point.values): point for point in seen},
            best=best_point(known, result.direction),
            noun=noun,
            unit=unit,
            maximize=result.direction == "maximize" and metric is None,
            relative=relative,
            spread=_pooled_spread(seen, relative),
        )

    @property
    def caveat(self) -> str:
        if self.spread is not None:
            return ""
        return f" (one run each: the spread was not measured, below {_TIE_TEXT} counts as equal)"

    def varies(self, space: Space) -> bool:
        """Whether the space is a ladder at all: some value of it has a strictness."""
        values = space.choices or [row.values.get(space.name) for row in self.result.rows]
        return any(strictness(value) is not None for value in values)

    def text(self, point: Point) -> str:
        """The number of a point with its standard error, or that it is missing."""
        seen = self.shown.get(canonical(point.values))
        if seen is None:
            return "not recorded"
        number = f"{seen.mean:.3g}"
        if seen.spread is not None:
            number += f" ± {seen.spread / math.sqrt(seen.count):.1g}"
        return f"{number} {self.unit}" if self.unit else number

    def gains(self, point: Point, other: Point) -> bool:
        """Whether `point` is better than `other` by more than chance."""
        a, b = self.shown.get(canonical(point.values)), self.shown.get(canonical(other.values))
        if a is None or b is None:
            return False
        gain = (a.mean - b.mean) * (1.0 if self.maximize else -1.0)
        if gain <= 0:
            return False
        if self.spread is None:
            return gain > ASSUMED_TIE * max(abs(a.mean), abs(b.mean))
        if self.relative:
            gain = abs(math.log(a.mean / b.mean))
        return gain > _SIGMAS * self.spread * math.sqrt(1 / a.count + 1 / b.count)

    def end(self, space: Space, best: Point, wanted: float) -> _End:
        """The end of this ladder: where measured with the other fields of the best, else its own best."""
        name = place(wanted)
        there = [point for point in self.known if strictness(point.values.get(space.name)) == wanted]
        twins = [point for point in there if _others(point, space) == _others(best, space)]
        point = best_point(twins or there, self.result.direction)
        if point is not None:
            return _End(point, f"{self.text(point)} {name}", paired=bool(twins))
        rows = [row for row in self.result.rows if strictness(row.values.get(space.name)) == wanted]
        rows = [row for row in rows if row.settled]
        if rows:
            what = "was pruned" if rows[-1].state == "pruned" else "failed"
            return _End(None, f"{name} {what} ({rows[-1].reason})")
        return _End(None, f"{name} was not measured{self._nearest(space, best, wanted)}")

    def _nearest(self, space: Space, best: Point, wanted: float) -> str:
        placed = [(strictness(point.values.get(space.name)), point) for point in self.known]
        distances = [abs(s - wanted) for s, _ in placed if s is not None]
        if not distances:
            return ""
        near = [point for s, point in placed if s is not None and abs(s - wanted) == min(distances)]
        point = best_point(near, self.result.direction)
        if point is None or point is best:
            return ""
        return f" (the nearest was {place(point.values[space.name])}: {self.text(point)})"


def _dial_line(table: _Table, best: Point, space: Space) -> str:
    subject, value = space.subject, best.values.get(space.name)
    hard, free = table.end(space, best, HARD), table.end(space, best, FREE)
    measured = f"{place(value)}, {table.noun} {table.text(best)}"
    s = strictness(value)
    if s is None:
        return f"{subject}: the best is {measured} against {hard.text} and {free.text}"
    if s == HARD:
        relaxed = [p for p in table.known if (strictness(p.values.get(space.name)) or HARD) > HARD]
        if not relaxed:
            return f"{subject} is undecided: {measured}, and nothing else was measured"
        against = f" against {free.text}" if free.point else f"; {free.text}"
        return f"{subject} holds in this data: {measured}{against}; nothing is gained by relaxing it"
    if hard.point is None:
        against = f"; against {free.text}" if free.point and s != FREE else ""
        return f"{subject} is undecided: the best is {measured}, but {hard.text}{against}"
    if not table.gains(best, hard.point):
        margin = "the spread" if table.spread is not None else _TIE_TEXT
        return (
            f"{subject} holds in this data: {hard.text} is within {margin} of the best, {measured}; "
            "nothing is gained by relaxing it"
        )
    verb = "is" if hard.paired else "looks"
    line = f"{subject} {verb} broken in this data: {measured} against {hard.text}"
    if s == FREE:
        line += "; nothing is gained by keeping it"
    elif free.point is None:
        line += f"; {free.text}"
    elif table.gains(best, free.point):
        line += f" and {free.text}"
    else:
        line += f"; {free.text} is as good"
    return line if hard.paired else f"{line} (these differ in other fields, too)"


def _plain_line(table: _Table, best: Point, spaces: Sequence[Space]) -> str:
    """Where no constraint was varied: the best values, against the defaults where they were measured."""
    values = ", ".join(f"{name} = {show(value)}" for name, value in best.values.items())
    line = f"best: {values}, {table.noun} {table.text(best)}"
    if any(space.default is None for space in spaces):
        return line
    defaults = canonical({space.name: space.middle() for space in spaces})
    same = next((point for point in table.known if canonical(point.values) == defaults), None)
    if same is None:
        return f"{line}; the defaults were not measured"
    if same is best:
        return f"{line}; these are the defaults"
    verdict = "" if table.gains(best, same) else ", which is as good"
    return f"{line} against {table.text(same)} with the defaults{verdict}{table.caveat}"


def _pooled_spread(seen: Sequence[Point], relative: bool) -> float | None:
    """The standard deviation of one run, from all repeated points; of its logarithm if `relative`."""
    freedom = sum(point.count - 1 for point in seen)
    if freedom == 0:
        return None
    axis: Callable[[float], float] = math.log if relative else float
    repeated = [point for point in seen if point.count > 1]
    squares = sum((p.count - 1) * statistics.variance([axis(x) for x in p.samples]) for p in repeated)
    return math.sqrt(squares / freedom)


def _others(point: Point, space: Space) -> dict[str, Any]:
    return {name: value for name, value in point.values.items() if name != space.name}
