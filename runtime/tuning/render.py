"""A search as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .result import TrialRow, TuningResult
from .spaces import show

if TYPE_CHECKING:
    from rich.table import Table

MAX_METRICS = 3
_WORDS = {"complete": "", "pruned": "pruned", "failed": "failed", "running": "at work"}


def render_tuning(result: TuningResult, *, noun: str = "objective", limit: int = 20) -> "Table":
    """The trials from best to worst, the best one marked, then pruned and failed ones with their reasons.

    Rows beyond `limit` are counted in the caption, with the importance of each field. Lost trials are left
    out: they run again under another number. Fits 100 columns with four fields.
    """
    from rich.markup import escape
    from rich.table import Table

    rows = _sorted(result)
    best = result.best
    names = short_names(result.spaces)
    metrics = list(dict.fromkeys(key for row in rows for key in row.metrics))[:MAX_METRICS]
    heads = short_names(metrics)
    search = [row for row in result.rows if not row.is_repeat]
    counts = [f"{sum(row.settled for row in search)} of {result.wanted} trials"]
    for state in ("pruned", "failed"):
        if found := sum(row.state == state for row in search):
            counts.append(f"{found} {state}")
    if again := sum(row.is_repeat and row.settled for row in result.rows):
        counts.append(f"{again} repetitions")
    table = Table(
        title=f"{escape(result.name)}: {', '.join(counts)}, by {result.sampler}",
        caption=escape("\n".join(_caption(result, names, len(rows) - limit))),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True, width=1)
    table.add_column("trial", justify="right", no_wrap=True)
    for name in result.spaces:
        table.add_column(escape(names[name]), justify="right")
    table.add_column(escape(noun), justify="right", no_wrap=True)
    for metric in metrics:
        table.add_column(escape(heads[metric]), justify="right")
    table.add_column("time", justify="right", no_wrap=True)
    remarks = [_remark(row) for row in rows[:limit]]
    if any(remarks):
        table.add_column("", max_width=24)
    for row, remark in zip(rows[:limit], remarks, strict=True):
        is_best = best is not None and row.number in best.numbers
        table.add_row(
            "★" if is_best else "",
            str(row.number),
            *[escape(_cell(row.values.get(name))) for name in result.spaces],
            "" if row.objective is None else f"{row.objective:.4g}",
            *[escape(_cell(row.metrics.get(metric))) for metric in metrics],
            "" if row.seconds is None else duration(row.seconds),
            *([escape(remark)] if any(remarks) else []),
            style="bold" if is_best else ("dim" if row.state != "complete" else ""),
        )
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


def _caption(result: TuningResult, names: Mapping[str, str], hidden: int) -> list[str]:
    lines = [f"… and {hidden} more"] if hidden > 0 else []
    if result.importance:
        shares = ", ".join(f"{names[name]} {100 * share:.0f} %" for name, share in result.importance.items())
        lines.append(f"importance for the best tenth (PED-ANOVA): {shares}")
    if result.stopped != "finished":
        why = {"time": "the time was over", "interrupted": "interrupted"}[result.stopped]
        lines.append(f"{why}; the same command continues this search")
    lines.extend(result.notes)
    return lines


def _remark(row: TrialRow) -> str:
    remark = f"seed + {row.repeat}" if row.repeat else ""
    if row.state == "complete":
        return remark
    return f"{_WORDS[row.state]}: {row.reason}" if row.reason else _WORDS[row.state]


def _cell(value: Any) -> str:
    return "" if value is None else show(value)
