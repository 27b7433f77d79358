"""`equic verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import DeviceOption, FileArgument, JsonOption, complaints, console


def verify(
    file: FileArgument,
    data: Annotated[Path | None, typer.Option(help="frames to measure on (any format of ASE)")] = None,
    as_json: JsonOption = False,
    write: Annotated[bool, typer.Option("--write", help="store the certificate in the artifact")] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="look for the worst rotation on all frames, from more starts")
    ] = False,
    spectrum: Annotated[
        bool, typer.Option("--spectrum", help="also what outputs are made of, irrep by irrep")
    ] = False,
    at: Annotated[
        list[str] | None, typer.Option("--at", help="with --spectrum: also at this step of the graph")
    ] = None,
    lmax: Annotated[int, typer.Option(help="with --spectrum: the largest degree", min=1, max=12)] = 4,
    picture: Annotated[
        Path | None, typer.Option(help="with --spectrum: write it as an SVG picture here")
    ] = None,
    device: DeviceOption = "cpu",
) -> None:
    """Measure every claim of a file again; exit 1 when one does not hold.

    Without `--data` the test or validation frames of the spec are used while they are at hand, else random ones.

    Example: [bold]equic verify model.equic --data frames.xyz --spectrum --at layer1.A[/bold]
    """
    from . import api

    looked = spectrum or bool(at) or picture is not None
    with complaints.status("measuring"):
        certificate = api.verify(file, data=data, device=device, write=write, thorough=thorough)
        found = api.spectrum(file, data=data, at=at or [], lmax=lmax) if looked else None
    if as_json:
        parts = certificate.to_json() | ({"spectrum": found.to_json()} if found is not None else {})
        print(json.dumps(parts, ensure_ascii=False, indent=1))
    else:
        from equic.runtime.certify import render_certificate

        render_certificate(certificate, console)
    if found is not None:
        from equic.runtime.certify.spectrum_picture import render_spectrum, spectrum_svg

        if not as_json:
            render_spectrum(found, console)
        if picture is not None:
            picture.write_text(spectrum_svg(found), encoding="utf-8")
            complaints.print(f"wrote {picture}")
    if not certificate.ok:
        raise typer.Exit(1)
