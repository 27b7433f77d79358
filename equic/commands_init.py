"""`equic init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import complaints, console
from .starting_spec import KINDS, spec_for_arrays, spec_for_particles, spec_for_structures, template


def init(
    source: Annotated[
        str,
        typer.Argument(metavar="DATA_OR_KIND", help="data, or a kind: atoms, particles, phase_space"),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="the spec to write")] = Path("spec.yaml"),
    force: Annotated[bool, typer.Option("--force", help="overwrite a file that is there")] = False,
) -> None:
    """Write a commented spec for data, or a template of a kind.

    Data: extended XYZ, any format of ASE, npz, HDF5, a folder of DeePMD systems.

    Example: [bold]equic init train.xyz -o spec.yaml[/bold]
    """
    if out.exists() and not force:
        complaints.print(f"[red]error[/red]: {out} is there already; name another with -o, or give --force")
        raise typer.Exit(2)
    if not out.parent.is_dir():
        complaints.print(f"[red]error[/red]: there is no folder {out.parent}")
        raise typer.Exit(2)
    if source not in KINDS and not Path(source).exists():
        complaints.print(
            f"[red]error[/red]: there is no file `{source}`, nor a kind of that name",
            f"help: kinds are {', '.join(KINDS)}; else name a file of data",
            sep="\n",
        )
        raise typer.Exit(2)
    text = starting_text(source, out.parent)
    out.write_text(text, encoding="utf-8")
    guesses = text.count("# GUESS")
    advice = f"; look at what is marked GUESS ({guesses})" if guesses else ""
    console.print(f"wrote {out}{advice}; then: equic check {out}", markup=False, soft_wrap=True)


def starting_text(source: str, folder: Path) -> str:
    """The spec for a file, a folder or a kind, to stand in `folder`.

    Raises:
        DataError: the data cannot be used.
    """
    if source in KINDS:
        return template(source)
    from equic.runtime.data.paths import ARRAYS

    if Path(source).suffix in ARRAYS:
        from equic.runtime.data.survey_arrays import survey_arrays
        from equic.runtime.data.survey_particles import survey_particles

        particles = survey_particles(source)
        if particles is not None:
            return spec_for_particles(particles, folder)
        return spec_for_arrays(survey_arrays(source), folder)
    from equic.runtime.data.survey import survey_structures

    return spec_for_structures(survey_structures(source), folder)
