"""`equic compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, complaints, console

if TYPE_CHECKING:
    from equic.runtime.compare import Comparison


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(help="models (.equic, .pt2, standalone folders), then the data", show_default=False),
    ],
    tolerance: Annotated[
        float | None, typer.Option(help="allowed, of the RMS; 1e-9 in float64, else 1e-4, if not given")
    ] = None,
    dtype: Annotated[str, typer.Option(help="of artifacts: float64, or own for that stored")] = "float64",
    as_json: JsonOption = False,
) -> None:
    """Run the same frames through several files; exit 1 where they disagree.

    The last argument is the data: structures in any format of ASE, or the states `z` of an npz or HDF5 file.

    Example: [bold]equic compare model.equic model.pt2 frames.xyz[/bold]
    """
    from . import api

    if len(files) < 3:
        complaints.print("[red]error[/red]: give at least two models, and the data last")
        raise typer.Exit(2)
    *models, data = files
    with complaints.status("computing"):
        found = api.compare(models, data, tolerance=tolerance, dtype=None if dtype == "own" else dtype)
    if as_json:
        print(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
    else:
        _print(found)
    if not found.ok:
        raise typer.Exit(1)


def _print(found: Comparison) -> None:
    from rich.table import Table

    table = Table()
    for column in ("first", "second", "output"):
        table.add_column(column, overflow="fold")
    for column in ("largest difference", "of its RMS", "frame"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found.disagreements:
        mark, style = ("✓", "green") if one.holds else ("✗", "bold red")
        table.add_row(
            one.first,
            one.second,
            one.output,
            f"{one.largest:.1e}" + ("" if one.unit == "1" else f" {one.unit}"),
            f"{mark} {one.relative:.1e} {'≤' if one.holds else '>'} {one.tolerance:.0e}",
            str(one.frame),
            style=style,
        )
    console.print(table)
    worst = found.worst
    console.print(
        f"{found.frames} frames; the worst disagreement is {worst.relative:.1e} of the RMS, "
        f"in {worst.output} between {worst.first} and {worst.second}"
    )
