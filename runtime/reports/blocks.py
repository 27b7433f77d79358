"""What every part of a report is made of: a section with its place in the contents, a status, a grid of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .html import Html, h

STATUS = {
    "holds": ("good", "✓ holds"),
    "fails": ("bad", "✗ fails"),
    "reported": ("warn", "● reported"),
    "not applicable": ("idle", "– not applicable"),
}


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page: its anchor, its name in the contents, and its markup."""

    anchor: str
    name: str
    html: Html


def section(anchor: str, name: str, title: str, intro: object, *body: object) -> Section:
    """A titled card. `name` is the short form for the contents, `intro` a sentence under the title."""
    lead = h("p", intro, class_="intro") if intro else None
    return Section(anchor, name, h("section", h("h2", title), lead, *body, id=anchor))


def pill(status: str, text: str | None = None) -> Html:
    """A status as a word with a sign, so that the colour is never all there is."""
    kind, words = STATUS.get(status, ("idle", status))
    return h("span", text or words, class_=f"pill {kind}")


def grid(figures: Sequence[Html]) -> Html:
    """Figures side by side, as many in a row as leaves no hole."""
    columns = {1: "one", 2: "two", 4: "two"}.get(len(figures), "three")
    return h("div", figures, class_=f"figures {columns}")


def pairs(facts: Mapping[str, object]) -> Html:
    return h("dl", [[h("dt", key), h("dd", value)] for key, value in facts.items()], class_="pairs")
