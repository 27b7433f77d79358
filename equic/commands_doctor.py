"""`equic doctor`."""

import json

import typer
from rich.markup import escape
from rich.table import Table

from .options import JsonOption, console

_COLORS = {"ok": "green", "missing": "yellow", "too old": "red", "too new": "red", "broken": "red"}


def doctor(as_json: JsonOption = False) -> None:
    """Look at versions, the C++ compiler and the GPU; exit 1 when something needed is not there.

    Example: [bold]equic doctor --json[/bold]
    """
    from .doctor import examine

    found = examine()
    if as_json:
        print(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
    else:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for one in found.findings:
            color = "red" if one.needed and one.status != "ok" else _COLORS[one.status]
            table.add_row(one.name, one.version or "–", f"[{color}]{one.status}[/]", escape(one.note))
        console.print(table)
        if found.traps:
            console.print("\nknown of these versions:")
        for text in found.traps:
            console.print(f"- {text}", markup=False)
        if not found.ok:
            console.print("\n[red]something needed is not there[/red]")
    if not found.ok:
        raise typer.Exit(1)
