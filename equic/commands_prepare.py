"""`equic prepare`: the data of a spec with its neighbour lists, on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import SetOption, SpecArgument, complaints, console


def prepare(
    spec: SpecArgument,
    overrides: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="the folder to fill; `data.prepared` of the spec if not given"),
    ] = None,
) -> None:
    """Read the data once, and write frames, labels and neighbours where training streams them from.

    For sets larger than memory, or read many times. Files that are prepared already are left as they are.

    Example: [bold]equic prepare spec.yaml -o prepared && equic train spec.yaml --set data.prepared=prepared[/bold]
    """
    from . import api
    from .options import compiled

    compiled(spec, overrides)
    made, _ = api.plan(spec, overrides or [])
    from equic.runtime.data.prepared import prepare as write
    from equic.runtime.data.sets import file_specs
    from equic.runtime.errors import DataError

    if made.data is None or made.kind != "atoms":
        raise DataError("there are no frames of atoms to prepare", help="give the spec a section `data:`")
    folder = out or (Path(made.data["prepared"]) if made.data["prepared"] else None)
    if folder is None:
        complaints.print("[red]error[/red]: where to? give `-o FOLDER`, or write `data: {prepared: FOLDER}`")
        raise typer.Exit(2)

    def tell(file: str, frames: int) -> None:
        if frames % 10_000 == 0:
            complaints.print(f"{file}: {frames:,} frames", highlight=False)

    counts = write(made, file_specs(made), folder, progress=tell)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    words = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    console.print(f"{folder} holds {words} frames ({size / 1e6:.1f} MB)", highlight=False)
