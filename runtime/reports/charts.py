"""The pictures of a report, each from plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .figures import (
    BAD,
    DASHES,
    GOOD,
    INK,
    MUTED,
    RASTER,
    RASTER_FROM,
    SERIES,
    figure,
    legend,
    plain_log_ticks,
)
from .html import Html
from .numbers import pretty_unit, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# With more points than this, lines are drawn thin: they oscillate, and would fill the picture.
_DENSE = 400
# Smaller errors are drawn here: rounding may give a zero, which a logarithmic axis has no place for.
_FLOOR = 1e-17


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. Without a name it is not in the legend; `colour` and `dashes` count through cycles."""

    name: str
    x: ArrayLike
    y: ArrayLike
    colour: int = 0
    dashes: int = 0


@dataclass(frozen=True, slots=True)
class Rung:
    """One measured value beside what it may be."""

    name: str
    dtype: str
    value: float
    tolerance: float | None
    status: str


def lines_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x: str,
    y: str,
    label: str,
    caption: object = None,
    log: bool = True,
    size: tuple[float, float] = (4.1, 2.9),
) -> Html:
    """Lines over a common axis; logarithmic in y where `log` and every value is positive."""

    def draw(axes: Axes) -> None:
        positive = True
        for line in lines:
            xs, ys = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
            keep = np.isfinite(ys)
            positive &= bool((ys[keep] > 0).all())
            axes.plot(
                xs[keep],
                ys[keep],
                color=SERIES[line.colour % len(SERIES)],
                linestyle=DASHES[line.dashes % len(DASHES)],
                linewidth=0.8 if len(xs) > _DENSE else 1.7 if line.dashes == 0 else 1.4,
                marker="o" if keep.sum() <= 2 else None,
                markersize=4,
                label=line.name.replace("_", "\u200b_", 1)
                or None,  # matplotlib hides names that start with _
            )
        if log and positive:
            axes.set_yscale("log")
            plain_log_ticks(axes.yaxis)
        else:
            axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.margins(x=0.02)
        if sum(bool(line.name) for line in lines) > 1:
            legend(axes)

    return figure(draw, title=title, label=label, caption=caption, size=size)


def parity_chart(
    truth: ArrayLike, prediction: ArrayLike, unit: str, *, title: str, label: str, caption: object = None
) -> Html:
    """Prediction against reference around the diagonal; far from zero, both less the mean of the reference."""
    a = np.asarray(truth, dtype=float).reshape(-1)
    b = np.asarray(prediction, dtype=float).reshape(-1)
    mean = float(a.mean())
    far = abs(mean) > 50 * float(max(np.ptp(a), np.ptp(b)))
    a, b = (a - mean, b - mean) if far else (a, b)

    def draw(top: Axes) -> None:
        _points(top, a, b, 0)
        low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
        pad = 0.04 * (high - low or 1.0)
        ends = (low - pad, high + pad)
        top.plot(ends, ends, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        top.set_xlim(*ends)
        top.set_ylim(*ends)
        top.set_aspect("equal")
        word = f" ({pretty_unit(unit)})" if pretty_unit(unit) else ""
        top.set_xlabel(f"reference{word}")
        top.set_ylabel(f"model{word}")

    if far:
        title = f"{title}, less {show(mean, 6)} {pretty_unit(unit)}".rstrip()
    return figure(draw, title=title, label=label, caption=caption, size=(3.4, 3.4))


def tuning_chart(
    trials: Sequence[Mapping[str, Any]],
    *,
    parameter: str,
    objective: str,
    log_x: bool,
    log_y: bool,
    label: str,
    line: Literal["mean", "best so far"] | None = None,
    ticks: Sequence[str] | None = None,
    maximize: bool = False,
    title: str,
    caption: object = None,
) -> Html:
    """Error against a searched value, or against the number of the trial. Each trial has `x`, `y`, `best`.

    `line` joins the means of equal x, or follows the best so far. `ticks` names the positions 0, 1, ... of
    choices; on a logarithmic axis zero has a place of its own at the left.
    """

    def draw(axes: Axes) -> None:
        xs = np.array([t["x"] for t in trials], dtype=float)
        ys = np.array([t["y"] for t in trials], dtype=float)
        if log_x:
            xs = _log_axis_with_zero(axes, xs)
        if log_y:
            axes.set_yscale("log")
            plain_log_ticks(axes.yaxis)
        if line == "mean":
            places = sorted(set(xs))
            axes.plot(places, [ys[xs == x].mean() for x in places], color=SERIES[0], linewidth=1.2, alpha=0.6)
        elif line == "best so far":
            order = np.argsort(xs)
            running = (np.maximum if maximize else np.minimum).accumulate(ys[order])
            axes.step(xs[order], running, where="post", color=SERIES[1], linewidth=1.4, label="best so far")
            legend(axes)
        axes.scatter(xs, ys, s=26, color=SERIES[0], edgecolors="none", alpha=0.75, zorder=2)
        best = [i for i, t in enumerate(trials) if t.get("best")]
        axes.margins(y=0.18)
        if best:
            _star(axes, float(xs[best[0]]), float(np.mean(ys[best])), maximize)
        if ticks is not None:
            axes.set_xticks(range(len(ticks)), labels=list(ticks))
            axes.margins(x=0.12)
        axes.set_xlabel(parameter)
        axes.set_ylabel(objective)

    return figure(draw, title=title, label=label, caption=caption, size=(4.1, 2.9))


def _star(axes: Axes, x: float, y: float, maximize: bool) -> None:
    axes.scatter([x], [y], s=170, marker="*", color=SERIES[1], edgecolors=INK, linewidths=0.6, zorder=3)
    offset = (0, 10) if maximize else (0, -18)
    axes.annotate(show(y), (x, y), xytext=offset, textcoords="offset points", ha="center", color=INK)


def _log_axis_with_zero(axes: Axes, xs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make the x axis logarithmic; zeros move to a place left of all others, which is named 0."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    axes.set_xscale("log")
    plain_log_ticks(axes.xaxis)
    if not (xs <= 0).any():
        return xs
    zero_at = float(xs[xs > 0].min()) / 6
    axes.axvline(zero_at * 2.2, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
    powers = [10.0**k for k in range(-12, 7) if zero_at * 2.2 < 10.0**k <= float(xs.max()) * 1.001]
    axes.xaxis.set_major_locator(FixedLocator([zero_at, *powers]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == zero_at else f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    return np.where(xs <= 0, zero_at, xs)


def energy_chart(
    time: ArrayLike,
    series: Mapping[str, ArrayLike],
    *,
    unit: str,
    x: str,
    title: str,
    label: str,
    caption: object = None,
) -> Html:
    """Energies over time, each from its own start: what drifts is told from what is only exchanged."""
    lines = []
    for place, (name, values) in enumerate(series.items()):
        energies = np.asarray(values, dtype=float)
        lines.append(Line(name, time, energies - energies[0], colour=place, dashes=place))
    word = f" ({pretty_unit(unit)})" if pretty_unit(unit) else ""
    y = f"change since the start{word}"
    return lines_chart(lines, title=title, x=x, y=y, label=label, caption=caption, log=False)


def portrait_chart(
    lines: Sequence[Line], *, x: str, y: str, title: str, label: str, caption: object = None
) -> Html:
    """Trajectories in a plane of phase space, their starts marked."""

    def draw(axes: Axes) -> None:
        for place, line in enumerate(lines):
            xs, ys = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
            colour, dashes = SERIES[line.colour % len(SERIES)], DASHES[line.dashes % len(DASHES)]
            axes.plot(
                xs, ys, color=colour, linestyle=dashes, linewidth=1.5, label=line.name, zorder=2 + place
            )
            axes.scatter(xs[:1], ys[:1], s=26, color=colour, edgecolors=INK, linewidths=0.6, zorder=9)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if len(lines) > 1:
            legend(axes)

    return figure(draw, title=title, label=label, caption=caption, size=(4.1, 2.9))


def ladder_chart(rungs: Sequence[Rung], *, title: str, label: str, caption: object = None) -> Html:
    """Measured errors and tolerances on a logarithmic axis: one row per property, one panel per dtype."""
    names = list(dict.fromkeys(rung.name for rung in rungs))
    dtypes = list(dict.fromkeys(rung.dtype for rung in rungs))
    top = max([rung.value for rung in rungs] + [rung.tolerance or 0.0 for rung in rungs])
    ends = (_FLOOR, max(10 * top, 1e-2))

    def draw(*panels: Axes) -> None:
        for axes, dtype in zip(panels, dtypes, strict=True):
            for rung in (rung for rung in rungs if rung.dtype == dtype):
                _rung(axes, len(names) - 1 - names.index(rung.name), rung)
            axes.set_xscale("log")
            axes.set_xlim(*ends)
            axes.set_xticks([1e-16, 1e-12, 1e-8, 1e-4, 1])
            axes.set_xlim(*ends)
            plain_log_ticks(axes.xaxis)
            axes.set_ylim(-0.6, len(names) - 0.4)
            axes.set_yticks(range(len(names)), labels=list(reversed(names)) if axes is panels[0] else [])
            axes.tick_params(axis="y", labelcolor=INK, length=0)
            axes.grid(False, axis="y")
            axes.spines["left"].set_visible(False)
            axes.set_title(dtype, loc="left")

    width = 9.6 / len(dtypes)
    size = (width, 0.75 + 0.25 * max(len(names), 3))
    return figure(draw, title=title, label=label, caption=caption, columns=len(dtypes), size=size)


def _rung(axes: Axes, row: int, rung: Rung) -> None:
    colour = {"holds": GOOD, "fails": BAD}.get(rung.status, MUTED)
    at = max(rung.value, _FLOOR)
    axes.plot([_FLOOR, at], [row, row], color=colour, linewidth=1.2, alpha=0.45)
    axes.scatter([at], [row], s=34, color=colour, marker="X" if rung.status == "fails" else "o", zorder=3)
    if rung.tolerance is not None:
        axes.plot([rung.tolerance] * 2, [row - 0.32, row + 0.32], color=INK, linewidth=1.6, zorder=2)


def _points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], i: int) -> None:
    if len(x) >= RASTER_FROM:
        axes.scatter(x, y, s=5, color=RASTER[i], alpha=0.25, edgecolors="none", rasterized=True, zorder=2)
    else:
        axes.scatter(x, y, s=11, color=SERIES[i], alpha=0.55, edgecolors="none", zorder=2)
