"""What the commands share: consoles, options, and the way into a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from equic.compiler.pipeline import Compilation

SpecArgument = Annotated[Path, typer.Argument(help="the spec, a YAML file", show_default=False)]
FileArgument = Annotated[
    Path, typer.Argument(help="an artifact (.equic) or an export (.pt2)", show_default=False)
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="override a key: model.channels=32")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]

console = Console(highlight=False)
complaints = Console(stderr=True, highlight=False)


def compiled(spec: Path, overrides: list[str] | None) -> Compilation:
    """Compile, or print what is wrong and leave with 2."""
    from . import api
    from .show import print_diagnostics

    done = api.check(spec, overrides or [])
    if not done.ok:
        print_diagnostics(done, complaints)
        raise typer.Exit(2)
    return done
