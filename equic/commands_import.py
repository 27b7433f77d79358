"""`equic import PEER MODEL`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import console

importing = typer.Typer(
    help="Bring a model of another program: its weights, checked against its own answers.\n\nExample: equic import mace my.model",
    no_args_is_help=True,
)


@importing.command()
def mace(
    model: Annotated[
        Path, typer.Argument(help="a model of mace-torch, or a dump of one (.npz)", show_default=False)
    ],
    python: Annotated[
        str | None, typer.Option(help="a Python that has mace-torch; it reads the model")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="the artifact to write")] = None,
    frames: Annotated[
        Path | None,
        typer.Option(help="structures to compare on (any format of ASE); random ones if not given"),
    ] = None,
    spec: Annotated[Path | None, typer.Option(help="write the spec here too, to train further")] = None,
    keep_dump: Annotated[
        Path | None, typer.Option(help="keep what that Python wrote: it imports without --python")
    ] = None,
    dtype: Annotated[str, typer.Option(help="of the stored weights: float64 or float32")] = "float64",
) -> None:
    """Import a model of mace-torch as an artifact that answers the same, to rounding.

    Example: [bold]equic import mace my.model --python ~/mace/bin/python -o my.equic[/bold]
    """
    from .importing import import_model

    target = out or Path(f"{model.stem}.equic")
    found = import_model("mace", model, target, python=python, frames=frames, dump=keep_dump, dtype=dtype)
    if spec is not None:
        spec.write_text(found.spec_text, encoding="utf-8")
    item = found.certificate.item("reproduces mace-torch", "float64")
    console.print(
        f"wrote {found.path}: reproduces mace-torch to {item.value:.1e}", markup=False, soft_wrap=True
    )
    failures = found.certificate.failures
    for one in failures:
        console.print(f"fails: {one.name} in {one.dtype}: {one.value:.1e}; {one.reason}", markup=False)
    if failures:
        raise typer.Exit(1)
