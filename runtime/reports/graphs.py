"""Pictures of the typed graphs that were trained, as training left them beside the artifacts."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from .blocks import Section, section
from .html import Html, h
from .runs import Run


def graph_section(runs: Sequence[Run]) -> Section | None:
    """The graph of every run, folded; runs of one graph share a picture."""
    names: dict[str, list[str]] = {}
    for run in runs:
        if run.picture is not None:
            names.setdefault(run.picture, []).append(run.name)
    if not names:
        return None
    return section(
        "graph",
        "Graph",
        "The model as a typed graph",
        "Every box is one operation: its name, its kind with the number of its weights, and the type of its value. "
        "The point says whether the symmetries hold there. `equic show --emit svg` draws the same.",
        [_folded(picture, ", ".join(of), len(names) == 1) for picture, of in names.items()],
    )


def _folded(picture: str, of: str, alone: bool) -> Html:
    """One picture behind a line to click.

    As an image it is closed in itself: its names meet no others of the page, and nothing in it is run or fetched.
    """
    data = base64.b64encode(picture.encode()).decode()
    image = h("img", src=f"data:image/svg+xml;base64,{data}", alt=f"The graph of {of}")
    return h("details", h("summary", "Show the graph" if alone else f"Show the graph of {of}"), image)
