"""A certificate as a table for people."""

from typing import TYPE_CHECKING

from .certificate import Certificate, Item

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_MARKS = {
    "holds": ("✓", "green"),
    "fails": ("✗", "bold red"),
    "reported": ("·", "yellow"),
    "not applicable": ("–", "dim"),
}


def render_certificate(certificate: Certificate, console: "Console | None" = None) -> None:
    """Print a certificate: one row per item, one column per dtype, then the reasons that a reader needs.

    ✓ holds, ✗ fails (with its tolerance), · reported without a claim, – not applicable.
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    meta = certificate.meta
    words = [str(meta[key]) for key in ("name", "measured_on", "device") if key in meta]
    console.print(Text("certificate: " + " · ".join(words) if words else "certificate", style="bold"))
    console.print(certificate_table(certificate))
    for line in _notes(certificate):
        console.print(line)


def certificate_table(certificate: Certificate) -> "RenderableType":
    """The table of `render_certificate` as a rich renderable, for a report to place."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("item", no_wrap=True)
    for dtype in certificate.dtypes:
        table.add_column(dtype, no_wrap=True)
    found = {(item.name, item.dtype): item for item in certificate.items}
    for name in certificate.names:
        cells = []
        for dtype in certificate.dtypes:
            item = found.get((name, dtype))
            cells.append(Text("") if item is None else Text(_cell(item), style=_MARKS[item.status][1]))
        table.add_row(name, *cells)
    return table


def _cell(item: Item) -> str:
    mark = _MARKS[item.status][0]
    if item.value is None:
        return f"{mark} not applicable"
    if item.tolerance is None:
        return f"{mark} {item.value:.1e}"
    return f"{mark} {item.value:.1e} {'≤' if item.status == 'holds' else '>'} {item.tolerance:.0e}"


def _notes(certificate: Certificate) -> list["RenderableType"]:
    """The verdict; failures, with what was measured and why; what was not claimed or not measured."""
    from rich.padding import Padding
    from rich.text import Text

    counts = {status: sum(item.status == status for item in certificate.items) for status in _MARKS}
    words = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    notes: list[RenderableType] = [Text(words or "nothing measured", style="bold")]
    for status in ("fails", "reported", "not applicable"):
        grouped: dict[tuple[str, str], list[str]] = {}
        for item in certificate.items:
            if item.status == status:
                what = f"{item.measure}; " if status == "fails" else ""
                grouped.setdefault((item.name, what + item.reason), []).append(item.dtype)
        for (name, why), dtypes in grouped.items():
            mark, style = _MARKS[status]
            line = Text(f"{mark} {name}", style=style)
            line.append(
                f" ({', '.join(dtypes)}): {why}" if len(dtypes) < len(certificate.dtypes) else f": {why}"
            )
            notes.append(Padding(line, (0, 0, 0, 1)))
    return notes
