"""`equic import PEER MODEL`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import console

importing = typer.Typer(
    help="Bring a model of another program: its weights, checked against its own answers.\n\n"
    "Example: [bold]equic import mace my.model --python ~/mace/bin/python[/bold]",
    no_args_is_help=True,
)

PythonOption = Annotated[str | None, typer.Option(help="a Python that has the program; it reads the model")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="the artifact to write")]
FramesOption = Annotated[
    Path | None, typer.Option(help="structures to compare on (any format of ASE); random ones if not given")
]
SpecOption = Annotated[Path | None, typer.Option(help="write the spec here too, to train further")]
DumpOption = Annotated[
    Path | None, typer.Option(help="keep what that Python wrote: it imports without --python")
]
DtypeOption = Annotated[str, typer.Option(help="of the stored weights: float64 or float32")]


@importing.command()
def mace(
    model: Annotated[
        Path, typer.Argument(help="a model of mace-torch, or a dump of one (.npz)", show_default=False)
    ],
    python: PythonOption = None,
    out: OutOption = None,
    frames: FramesOption = None,
    spec: SpecOption = None,
    keep_dump: DumpOption = None,
    dtype: DtypeOption = "float64",
    head: Annotated[str | None, typer.Option(help="which of several heads")] = None,
) -> None:
    """Import a model of mace-torch as an artifact that answers the same, to rounding.

    Example: [bold]equic import mace my.model --python ~/mace/bin/python -o my.equic[/bold]
    """
    _import("mace", model, python, out, frames, spec, keep_dump, dtype, head)


@importing.command()
def nequip(
    model: Annotated[
        Path,
        typer.Argument(help="a checkpoint or package of nequip, or a dump of one (.npz)", show_default=False),
    ],
    python: PythonOption = None,
    out: OutOption = None,
    frames: FramesOption = None,
    spec: SpecOption = None,
    keep_dump: DumpOption = None,
    dtype: DtypeOption = "float64",
) -> None:
    """Import a model of nequip (0.19), or of nequip-allegro (0.8), as an artifact that answers the same, to rounding.

    Example: [bold]equic import nequip last.ckpt --python ~/nequip/bin/python -o my.equic[/bold]
    """
    _import("nequip", model, python, out, frames, spec, keep_dump, dtype)


@importing.command()
def deepmd(
    model: Annotated[
        Path,
        typer.Argument(
            help="a model of deepmd-kit of any backend, or a dump of one (.npz)", show_default=False
        ),
    ],
    python: PythonOption = None,
    out: OutOption = None,
    frames: FramesOption = None,
    spec: SpecOption = None,
    keep_dump: DumpOption = None,
    dtype: DtypeOption = "float64",
) -> None:
    """Import a model of deepmd-kit (3, descriptor se_e2_a) as an artifact that answers the same, to rounding.

    Example: [bold]equic import deepmd water.pth --python ~/deepmd/bin/python -o water.equic[/bold]
    """
    _import("deepmd", model, python, out, frames, spec, keep_dump, dtype)


def _import(
    peer: str,
    model: Path,
    python: str | None,
    out: Path | None,
    frames: Path | None,
    spec: Path | None,
    keep_dump: Path | None,
    dtype: str,
    head: str | None = None,
) -> None:
    from .importing import import_model

    target = out or Path(f"{model.stem}.equic")
    found = import_model(
        peer, model, target, python=python, frames=frames, dump=keep_dump, dtype=dtype, head=head
    )
    if spec is not None:
        spec.write_text(found.spec_text, encoding="utf-8")
    name = next(one for one in found.certificate.names if one.startswith("reproduces "))
    item = found.certificate.item(name, "float64")
    console.print(f"wrote {found.path}: {name} to {item.value:.1e}", markup=False, soft_wrap=True)
    for one in found.certificate.failures:
        console.print(f"fails: {one.name} in {one.dtype}: {one.value:.1e}; {one.reason}", markup=False)
    if not found.certificate.ok:
        raise typer.Exit(1)
