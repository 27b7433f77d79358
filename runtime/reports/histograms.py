"""How errors are spread: one outline per run, over a common logarithmic count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .figures import DASHES, MUTED, SERIES, figure, legend
from .html import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 41
# What lies beyond goes into the outermost bins, so that one outlier does not hide all others.
_WIDEST = 6.0


def histogram_chart(
    errors: Mapping[str, ArrayLike], unit: str, *, title: str, label: str, caption: object = None
) -> Html:
    """Outlines of histograms of prediction − reference, {run: errors}, in equal bins around zero.

    The bins reach to six times the smallest RMS, or to the largest error; counts are logarithmic, because the
    tails are what one looks for.
    """
    series = {name: np.asarray(values, dtype=float).reshape(-1) for name, values in errors.items()}
    largest = max(float(np.abs(values).max(initial=0.0)) for values in series.values()) or 1.0
    smallest = min(float(np.sqrt(np.mean(values**2))) for values in series.values() if len(values))
    reach = min(largest, _WIDEST * smallest) if smallest > 0 else largest
    edges = np.linspace(-reach, reach, _BINS + 1)

    def draw(axes: Axes) -> None:
        for place, (name, values) in enumerate(series.items()):
            counts, _ = np.histogram(np.clip(values, -reach, reach), edges)
            axes.stairs(
                counts,
                edges,
                color=SERIES[place % len(SERIES)],
                linestyle=DASHES[place % len(DASHES)],
                linewidth=1.6,
                fill=False,
                label=name or None,
            )
        axes.axvline(0.0, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.8)
        axes.set_xlabel(f"model − reference ({unit})" if unit else "model − reference")
        axes.set_ylabel("how many")
        if len(series) > 1:
            legend(axes)

    return figure(draw, title=title, label=label, caption=caption, size=(4.1, 2.9))
