"""A search as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .result import TrialRow, TuningResult
from .spaces import show

if TYPE_CHECKING:
    from rich.table import Table

MAX_METRICS = 3
MAX_REASONS = 3
_WORDS = {"pruned": "pruned", "failed": "failed", "running": "at work"}


def render_tuning(result: TuningResult, *, noun: str = "objective", limit: int = 20) -> "Table":
    """The trials from best to worst, the best one marked, then pruned and failed ones.

    The caption counts the rows beyond `limit`, and has the importance of each field and the reasons of failed
    trials. Lost trials are left out: they run again under another number. Fits 100 columns with four fields.
    """
    from rich.markup import escape
    from rich.table import Table

    rows = _sorted(result)
    best = result.best
    names = short_names(result.spaces)
    room = max(MAX_METRICS + 2 - len(result.spaces), 0)
    metrics = telling_metrics([key for row in rows for key in row.metrics], noun)[:room]
    table = Table(
        title=escape(f"{result.name}: {_counts(result)}"),
        caption=escape("\n".join(_caption(result, names, len(rows) - limit))),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    heads = ["trial", *[names[name] for name in result.spaces], noun, *metrics, "time"]
    for head in heads:  # one part of a name to a line, so that columns stay narrow
        table.add_column(escape(head.replace(".", "\n").replace("_", "\n")), justify="right", no_wrap=True)
    for row in rows[:limit]:
        is_best = best is not None and row.number in best.numbers
        cells = [
            "★" if is_best else "",
            f"{row.number} (seed + {row.repeat})" if row.repeat else str(row.number),
            *[_cell(row.values.get(name)) for name in result.spaces],
            _WORDS.get(row.state) or _cell(row.objective),
            *[_cell(row.metrics.get(metric)) for metric in metrics],
            "" if row.seconds is None else duration(row.seconds),
        ]
        style = "bold" if is_best else ("dim" if row.state != "complete" else "")
        table.add_row(*[escape(cell) for cell in cells], style=style)
    return table


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted name, with as many parts before it as tell it from the others.

    A strength is known by its constraint.

    Example:
        >>> short_names(["symmetry.O(3).relaxed", "train.learning_rate"])
        {'symmetry.O(3).relaxed': 'O(3)', 'train.learning_rate': 'learning_rate'}
    """
    parts = {name: name.removesuffix(".relaxed").removesuffix(".mode").split(".") for name in names}
    short = {}
    for name in names:
        for take in range(1, len(parts[name]) + 1):
            candidate = ".".join(parts[name][-take:])
            if sum(".".join(other[-take:]) == candidate for other in parts.values()) == 1:
                break
        else:
            candidate = name
        short[name] = candidate
    return short


def telling_metrics(names: Sequence[str], objective: str) -> list[str]:
    """The metrics to show beside the objective, three at most: the test set's, then what is not of a training set.

    Of these first the objective's own kind: `test.forces.rmse` beside `validation.forces.rmse`.

    Example:
        >>> names = ["train.forces.rmse", "test.energy.mae", "test.energy.rmse", "test.forces.rmse", "symmetry.O(3)"]
        >>> telling_metrics(names, "validation.forces.rmse")
        ['test.forces.rmse', 'test.energy.rmse', 'symmetry.O(3)']
    """
    wanted = objective.split(".")
    known = [
        n for n in dict.fromkeys(names) if n != objective and n.split(".")[0] not in ("train", "validation")
    ]

    def rank(name: str) -> int:
        parts = name.split(".")
        if parts[0] != "test":
            return 2
        return 0 if parts[1:] == wanted[1:] else 1 if parts[-1] == wanted[-1] else 3

    return sorted(known, key=rank)[:MAX_METRICS]


def duration(seconds: float) -> str:
    """A time span in two figures or so.

    Example:
        >>> [duration(s) for s in (0.5, 42, 754, 9000)]
        ['0.5 s', '42 s', '12:34', '2:30 h']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def _sorted(result: TuningResult) -> list[TrialRow]:
    sign = -1.0 if result.direction == "maximize" else 1.0
    order = {"complete": 0, "running": 1, "pruned": 2, "failed": 3}
    rows = [row for row in result.rows if row.state in order]
    return sorted(rows, key=lambda row: (order[row.state], sign * (row.objective or 0.0), row.number))


def _counts(result: TuningResult) -> str:
    search = [row for row in result.rows if not row.is_repeat]
    counts = [f"{sum(row.settled for row in search)} of {result.wanted} trials"]
    for state in ("pruned", "failed"):
        if found := sum(row.state == state for row in search):
            counts.append(f"{found} {state}")
    if again := sum(row.is_repeat and row.settled for row in result.rows):
        counts.append(f"{again} repetitions")
    return ", ".join(counts)


def _caption(result: TuningResult, names: Mapping[str, str], hidden: int) -> list[str]:
    lines = [f"… and {hidden} more"] if hidden > 0 else []
    if result.importance:
        shares = ", ".join(f"{names[name]} {100 * share:.0f} %" for name, share in result.importance.items())
        lines.append(f"importance for the best tenth (PED-ANOVA): {shares}")
    failed = [row for row in result.rows if row.state == "failed"]
    lines += [f"trial {row.number} failed: {row.reason}" for row in failed[:MAX_REASONS]]
    if len(failed) > MAX_REASONS:
        lines.append(f"{len(failed) - MAX_REASONS} more failed")
    if result.stopped != "finished":
        why = {"time": "the time was over", "interrupted": "interrupted"}[result.stopped]
        lines.append(f"{why}; the same command continues this search")
    lines.extend(result.notes)
    lines.append(f"sampler: {result.sampler}")
    return lines


def _cell(value: Any) -> str:
    return "" if value is None else show(value)
