"""What a search found: every trial as a row, points with their spread, the best one."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .spaces import canonical

State = Literal["complete", "pruned", "failed", "lost", "running"]
Stopped = Literal["finished", "time", "interrupted"]


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial. A `lost` one was interrupted or its worker killed; it runs again under another number.

    `seconds` is wall-clock time; `reason` says why a trial was pruned or failed; `repeat` is 0 in
    the search and counts the runs with other seeds that were added after it.
    """

    number: int
    values: dict[str, Any]
    state: State
    objective: float | None = None
    seconds: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    artifact: str | None = None
    reason: str | None = None
    repeat: int = 0
    retry_of: int | None = None
    worker: str | None = None

    @property
    def settled(self) -> bool:
        """Whether the trial counts towards the wanted total."""
        return self.state in ("complete", "pruned", "failed")

    @property
    def is_repeat(self) -> bool:
        """Whether the trial was added after the search, with another seed."""
        return self.repeat > 0


@dataclass(frozen=True, slots=True)
class Point:
    """The completed trials with the same values: the mean of `count` independent runs, their numbers.

    `repeated` says that the runs were made for this comparison, after the search.
    """

    values: dict[str, Any]
    mean: float
    samples: tuple[float, ...]
    numbers: tuple[int, ...]
    repeated: bool = False

    @property
    def count(self) -> int:
        """The number of independent runs (seeds)."""
        return len(self.samples)

    @property
    def spread(self) -> float | None:
        """The standard deviation between the runs; None for a single one."""
        return statistics.stdev(self.samples) if self.count > 1 else None


@dataclass(frozen=True, slots=True)
class TuningResult:
    """A search, as far as it got.

    `direction` is minimize or maximize; `wanted` the total number of trials asked for (repetitions come on
    top); `importance` the share of each space in reaching the best tenth of the trials (PED-ANOVA), empty for
    fewer than 10 completed trials; `stopped` why the search returned; `notes` what had to be mended or
    reclaimed, in words.
    """

    name: str
    direction: str
    wanted: int
    rows: tuple[TrialRow, ...]
    spaces: tuple[str, ...]
    importance: dict[str, float]
    sampler: str
    storage: str
    stopped: Stopped = "finished"
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Point | None:
        """The best point; where points were repeated, the best of those. None before a trial is completed."""
        return best_point(points(self.rows), self.direction)

    @property
    def best_values(self) -> dict[str, Any] | None:
        """The values of the best point."""
        return None if self.best is None else self.best.values

    @property
    def best_objective(self) -> float | None:
        """The objective of the best point, the mean over its repetitions."""
        return None if self.best is None else self.best.mean

    @property
    def best_row(self) -> TrialRow | None:
        """The best trial at the best point: the one whose model to keep."""
        best = self.best
        if best is None:
            return None
        sign = -1.0 if self.direction == "maximize" else 1.0
        rows = [row for row in self.rows if row.objective is not None and row.values == best.values]
        return min(rows, key=lambda row: (sign * (row.objective or 0.0), row.number))

    def count(self, state: State) -> int:
        """The number of trials in this state."""
        return sum(row.state == state for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The result as plain data; the best point is spelled out for readers."""
        data = asdict(self)
        best = self.best
        data["rows"] = [asdict(row) for row in self.rows]
        data["spaces"], data["notes"] = list(self.spaces), list(self.notes)
        data["best"] = None if best is None else {**asdict(best), "spread": best.spread}
        return _plain(data)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TuningResult":
        """The result whose `to_json` this is."""
        known = {key: value for key, value in data.items() if key != "best"}
        known["rows"] = tuple(TrialRow(**row) for row in data["rows"])
        known["spaces"], known["notes"] = tuple(data["spaces"]), tuple(data["notes"])
        return cls(**known)


def points(rows: Iterable[TrialRow]) -> list[Point]:
    """The completed trials gathered by their values, in the order of their first trial.

    Where a point was repeated after the search, its run in the search is left out: the point was chosen
    because that run came out well. Trials with the same values and the same seed are one sample, their mean.
    """
    groups: dict[str, dict[int, list[TrialRow]]] = {}
    for row in rows:
        if row.state == "complete" and row.objective is not None:
            groups.setdefault(canonical(row.values), {}).setdefault(row.repeat, []).append(row)
    gathered = []
    for seeds in groups.values():
        repeated = {seed: same for seed, same in seeds.items() if seed > 0}
        used = list((repeated or seeds).values())
        samples = tuple(_mean(same) for same in used)
        numbers = tuple(sorted(row.number for same in used for row in same))
        values = used[0][0].values
        mean = statistics.fmean(samples)
        gathered.append(Point(values, mean, samples, numbers, repeated=bool(repeated)))
    return gathered


def best_point(candidates: Sequence[Point], direction: str) -> Point | None:
    """The best of these points, by the mean; where points were repeated, the best of those.

    The best of many single runs is the luckiest one; a mean over fresh seeds is not.
    """
    repeated = [point for point in candidates if point.repeated]
    sign = -1.0 if direction == "maximize" else 1.0
    return min(repeated or candidates, key=lambda point: (sign * point.mean, point.numbers[0]), default=None)


def _mean(rows: Iterable[TrialRow]) -> float:
    return statistics.fmean(row.objective for row in rows if row.objective is not None)


def _plain(value: Any) -> Any:
    """Lists for tuples, None for numbers that JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
