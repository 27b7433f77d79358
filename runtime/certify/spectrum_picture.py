"""A spectrum as a table for people, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from .spectrum import SIGNIFICANT, Content, Spectrum

if TYPE_CHECKING:
    from rich.console import Console

_CELL, _LEFT, _TOP = (64, 26), 250, 64
_DECADES = 12  # from white to full colour


def render_spectrum(found: Spectrum, console: Console) -> None:
    """Print a spectrum: one row a block, its errors, what it is made of, and how much of it strays."""
    from rich.table import Table

    what = f"{found.frames} frames, l" if found.group == "O(3)" else f"{found.frames} states, frequencies"
    table = Table(title=f"response to {found.group}, {found.dtype}, {what} up to {found.lmax}")
    factors = list(found.contents[0].errors) if found.contents else []
    for column in ("at", "block", "RMS", *(f"A, {factor}" for factor in factors), "made of", "strays"):
        table.add_column(column, overflow="fold")
    for one in found.contents:
        table.add_row(
            one.at,
            one.block,
            f"{one.size:.3g}" + ("" if one.unit == "1" else f" {one.unit}"),
            *(f"{one.errors[factor]:.1e}" for factor in factors),
            _words(one),
            f"{one.strays:.1e}" if one.shares else "–",
        )
    console.print(table)


def _words(one: Content, most: int = 4) -> str:
    parts = sorted(one.shares.items(), key=lambda pair: -pair[1])
    shown = [f"{name} {share:.2g}" for name, share in parts[:most] if share > SIGNIFICANT]
    return ", ".join(shown) or "nothing"


def spectrum_svg(found: Spectrum) -> str:
    """The shares as a picture: one row a block, one column an irrep, colour by their logarithm.

    The irrep that a block claims is framed; a sound model has colour in the frames alone.
    """
    parities = "eo" if found.group == "O(3)" else ("",)
    columns = [f"{l}{p}" for l in range(found.lmax + 1) for p in parities] + ["above"]
    (width, height), rows = _CELL, found.contents
    size = (_LEFT + width * len(columns) + 20, _TOP + height * len(rows) + 44)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
        _text(12, 24, f"Character spectrum over {found.group}: share of the mean square in each irrep", 15),
    ]
    for i, column in enumerate(columns):
        parts.append(_text(_LEFT + (i + 0.5) * width, _TOP - 8, column, anchor="middle"))
    for k, one in enumerate(rows):
        y = _TOP + k * height
        label = f"{one.at}  {one.block}"
        parts.append(_text(_LEFT - 8, y + 17, label, anchor="end"))
        for i, column in enumerate(columns):
            parts += _cell(_LEFT + i * width, y, one.shares.get(column, 0.0), column == one.irrep)
    note = "Framed: the irrep that the block claims. White is 1e-12 or less."
    parts += [_text(12, size[1] - 14, note, 11), "</svg>"]
    return "\n".join(parts) + "\n"


def _cell(x: float, y: float, share: float, own: bool) -> Sequence[str]:
    width, height = _CELL
    depth = 0.0 if share <= SIGNIFICANT else 1.0 + float(np.log10(min(share, 1.0))) / _DECADES
    light = np.array([255, 255, 255]) * (1.0 - depth) + np.array([20, 88, 140]) * depth
    colour = "#" + "".join(f"{round(c):02x}" for c in light)
    box = f'x="{x + 1}" y="{y + 1}" width="{width - 2}" height="{height - 2}"'
    frame = ' stroke="#c2410c" stroke-width="2"' if own else ' stroke="#e5e7eb"'
    made = [f'<rect {box} fill="{colour}"{frame}/>']
    if share > SIGNIFICANT:
        ink = "#ffffff" if depth > 0.6 else "#111827"
        word = f"{share:.2f}" if share >= 0.01 else f"{share:.0e}"
        made.append(_text(x + width / 2, y + 17, word, 11, anchor="middle", fill=ink))
    return made


def _text(
    x: float, y: float, words: str, size: int = 12, anchor: str = "start", fill: str = "#111827"
) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'
