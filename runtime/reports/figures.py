"""Matplotlib figures as inline SVG that follows the page's theme.

Figures are drawn in marker colours, and the markers are replaced by CSS variables: one picture is right on a
light page, on a dark one and in print. Fonts are the page's. No figure touches pyplot, or any global state
that lasts.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .html import Html, h

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Marker colours: unlikely in any drawing, replaced by variables of the style sheet.
INK, MUTED, GRID, PAPER = "#010101", "#010102", "#010103", "#010104"
GOOD, BAD = "#010105", "#010106"
SERIES = ("#010111", "#010112", "#010113", "#010114", "#010115", "#010116")
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--card",
    GOOD: "--good",
    BAD: "--bad",
    **{colour: f"--s{i}" for i, colour in enumerate(SERIES, 1)},
}
# Clouds of many points become pictures inside the SVG, whose colours no style sheet reaches: these mid tones
# stand out from white and from black alike.
RASTER = ("#3d8bd4", "#e0702a", "#1fa47c", "#c565a0")
RASTER_FROM = 1500

# How far a picture may grow beyond its own size to fill a wide column.
_GROWTH = 1.1

DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "equic",  # the same picture has the same ids on every run
    "text.parse_math": False,  # labels come from users
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "path.simplify_threshold": 0.5,
    "savefig.dpi": 144,
}


def figure(
    draw: Callable[..., None],
    *,
    title: str,
    label: str,
    caption: object = None,
    columns: int = 1,
    rows: int = 1,
    size: tuple[float, float] = (5.2, 3.3),
) -> Html:
    """A `<figure>` with the axes that `draw(axes, ...)` filled.

    `title` stands over the picture; `label` says in words what it shows, for those who do not see it; `size` is
    per axes, in inches of 96 pixels.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):  # type: ignore[arg-type]  # its stub wants literal keys
        fig = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        axes = fig.subplots(rows, columns, squeeze=False)
        for each in axes.flat:
            _dress(each)
        draw(*axes.flat)
        for each in axes.flat:
            _thin_out(each)
        buffer = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        fig.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    return h(
        "figure",
        h("div", title, class_="title"),
        _inline(buffer.getvalue(), label),
        h("figcaption", caption) if caption is not None else None,
    )


def _dress(axes: Axes) -> None:
    axes.set_facecolor("none")
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=MUTED, labelcolor=MUTED, which="both", width=0.8, length=3)
    axes.tick_params(which="minor", length=2)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def _thin_out(axes: Axes) -> None:
    """About six ticks on every axis, pictures being small: fewer on a long linear one, more on a short log one."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    for axis in (axes.xaxis, axes.yaxis):
        locator = axis.get_major_locator()
        low, high = axis.get_view_interval()
        if isinstance(locator, MaxNLocator):
            locator.set_params(nbins=6)
        elif isinstance(locator, LogLocator) and 0 < low < high < 100 * low:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def legend(axes: Axes) -> None:
    """A legend above the axes, where it hides nothing."""
    entries = [text for text in axes.get_legend_handles_labels()[1] if text]
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=1 if max(map(len, entries), default=0) > 22 else min(3, len(entries)),
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.8,
        columnspacing=1.4,
        fontsize=9,
    )


def plain_log_ticks(axis: Any) -> None:
    """Powers of ten in words that a screen reader and any font can say: 1e-3, 0.01, 0.1, 1, 10."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    def name(value: float, _: object) -> str:
        return (
            f"{value:g}" if 1e-3 <= value < 1e5 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
        )

    axis.set_major_formatter(FuncFormatter(name))
    axis.set_minor_formatter(NullFormatter())


def _inline(svg: str, label: str) -> Html:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    # "font: 9px 'DejaVu Sans', ..." keeps its size and takes the page's family
    body = re.sub(r"font: ((?:\S+ )*?\d+(?:\.\d+)?px) [^;\"]*", r"font: \1 var(--font)", body)
    # groups need no names; what is referred to gets a name that no other picture of the page has
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    own = hashlib.sha256(body.encode()).hexdigest()[:8]
    body = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{own}", body)
    # scale to the column: a viewBox without fixed sizes
    head, rest = body.split(">", 1)
    width = re.search(r'width="([\d.]+)pt"', head)
    assert width is not None
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    style = f"max-width:{float(width.group(1)) * _GROWTH * 4 / 3:.0f}px"
    title = h("title", label)
    return Html(f'{head} role="img" style="{style}">{title}{rest.strip()}')
