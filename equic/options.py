"""What the commands share: consoles, options, and the way into a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from equic.compiler.pipeline import Compilation
    from equic.runtime.data.audit.audit import Audit

SpecArgument = Annotated[Path, typer.Argument(help="the spec, a YAML file", show_default=False)]
FileArgument = Annotated[
    Path, typer.Argument(help="an artifact (.equic) or an export (.pt2, .standalone)", show_default=False)
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="override a key: model.channels=32")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]

console = Console(highlight=False)
complaints = Console(stderr=True, highlight=False)


def compiled(spec: Path, overrides: list[str] | None, *, data: bool = False) -> Compilation:
    """Compile, and read the data if asked to; print what is wrong and leave with 2, or print what is doubtful."""
    from . import api
    from .show import print_diagnostics

    done = api.check(spec, overrides or [])
    if data and done.ok:
        read_data(done)
    if not done.ok or data:
        print_diagnostics(done, complaints)
    if not done.ok:
        raise typer.Exit(2)
    return done


def read_data(done: Compilation) -> Audit:
    """`check_data`, with a line on the terminal that says how far it is."""
    from .data_check import check_data

    if not complaints.is_terminal:
        return check_data(done)
    with complaints.status("reading the data") as status:

        def progress(file: str, frames: int) -> None:
            if frames % 500 == 0:
                status.update(f"reading {file}: {frames:,} structures")

        return check_data(done, progress=progress)
