"""HTML as values. Text is escaped unless it is `Html` already, so nothing from a user can become markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is markup already. Only this module, the charts and the style sheet make it."""

    __slots__ = ()


_VOID = ("meta", "br", "hr", "col", "img")


def h(tag: str, *children: object, **attributes: object) -> Html:
    """One element. `class_` stands for `class`, `_` in names for `-`; attributes that are None are left out.

    Example:
        >>> h("p", "a < b", h("b", "!"), class_="note")
        '<p class="note">a &lt; b<b>!</b></p>'
    """
    text = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Html(f"<{tag}{text}>")
    return Html(f"<{tag}{text}>{join(children)}</{tag}>")


def join(children: Iterable[object]) -> Html:
    """Children one after another; lists are flattened, None is nothing, plain text is escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child))
        elif isinstance(child, Iterable):
            parts.append(join(child))
        else:
            parts.append(escape(str(child)))
    return Html("".join(parts))


def table(
    head: Iterable[object],
    rows: Iterable[Iterable[object]],
    *,
    caption: str | None = None,
    numeric: Iterable[int] = (),
) -> Html:
    """A table that scrolls sideways when it must; columns in `numeric` are set flush right.

    The first cell of a row is its header. A cell may be markup.
    """
    right = set(numeric)

    def css(column: int) -> str | None:
        return "num" if column in right else None

    header = h("tr", [h("th", cell, scope="col", class_=css(i)) for i, cell in enumerate(head)])
    body = [
        h(
            "tr",
            [
                h("th", cell, scope="row", class_=css(i)) if i == 0 else h("td", cell, class_=css(i))
                for i, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    return h(
        "div",
        h("table", h("caption", caption) if caption else None, h("thead", header), h("tbody", body)),
        class_="scroll",
    )
