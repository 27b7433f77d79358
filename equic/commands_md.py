"""`equic md`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DeviceOption, FileArgument, JsonOption, complaints, console

if TYPE_CHECKING:
    from equic.runtime.dynamics import MDResult


def md(
    file: FileArgument,
    start: Annotated[
        Path, typer.Argument(help="the first structure (any format of ASE)", show_default=False)
    ],
    steps: Annotated[int, typer.Option(help="time steps")] = 1000,
    timestep: Annotated[float, typer.Option(help="fs")] = 0.5,
    temperature: Annotated[float, typer.Option(help="K, of the first velocities and of the bath")] = 300.0,
    ensemble: Annotated[
        str, typer.Option(help="nve, nvt-langevin, npt (the cell keeps its shape) or npt-flexible")
    ] = "nve",
    pressure: Annotated[float, typer.Option(help="bar, held by npt")] = 1.0,
    friction: Annotated[float, typer.Option(help="1/fs, of nvt-langevin")] = 0.01,
    every: Annotated[int, typer.Option(help="record every so many steps", min=1)] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="trajectory: .extxyz, .xyz or .traj of ASE")
    ] = None,
    seed: Annotated[int, typer.Option(help="of velocities and noise")] = 0,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Run molecular dynamics, and say how well the energy is kept.

    Beside the trajectory go its energies (.md.json, which `equic report` reads) and a picture of them (.md.svg).

    Example: [bold]equic md model.pt2 start.xyz --steps 2000 -o run.extxyz[/bold]
    """
    from equic.runtime.calculators import OutsideRangeWarning
    from equic.runtime.data.structures import structures_of
    from equic.runtime.dynamics import run_md

    from . import api

    calculator = api.load(file, device=device).calculator()
    atoms = structures_of(start, most=1)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("always", OutsideRangeWarning)
        warnings.showwarning = _say  # a line each, above the bar
        result = run_md(
            atoms,
            calculator,
            ensemble=ensemble,  # type: ignore[arg-type]  # it checks what is typed
            temperature=temperature,
            pressure_bar=pressure,
            timestep_fs=timestep,
            steps=steps,
            friction=friction,
            trajectory=out,
            log_every=every,
            seed=seed,
            progress=True,
            console=complaints,
        )
    if out is not None:
        from equic.runtime.dynamics.picture import draw_run

        out.with_suffix(".md.json").write_text(json.dumps(result.to_json()), encoding="utf-8")
        draw_run(result, out.with_suffix(".md.svg"))
    if as_json:
        print(json.dumps(result.to_json()))
    else:
        console.print(describe(result))


def _say(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    complaints.print(f"[yellow]warning[/yellow]: {message}")


def describe(result: MDResult) -> str:
    """One sentence on a trajectory."""
    text = f"{result.time[-1]:.3g} ps of {result.ensemble}, {result.temperature[-1]:.0f} K at the end"
    if result.volume is not None:
        text += f", {result.volume[-1]:.1f} Å^3 after {result.volume[0]:.1f}"
    if result.conserved is None or result.drift is None:
        return text
    name = "total energy" if result.ensemble == "nve" else "conserved energy"
    spread = float(result.conserved.std()) / len(result.atoms)
    text += f"; {name} drifts by {_slope(result.drift)} meV/atom/ps, and fluctuates by {1e3 * spread:.2g} meV/atom"
    if result.shadow_drift is not None:
        text += f"; shadow energy drifts by {_slope(result.shadow_drift)}"
    return text


def _slope(drift) -> str:  # type: ignore[no-untyped-def]
    return f"{1e3 * drift.slope:+.2g} ± {1e3 * drift.standard_error:.1g}"
