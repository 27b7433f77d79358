"""What the model does when it moves: molecular dynamics, rollouts, phase portraits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .blocks import Section, grid, section
from .charts import Line, energy_chart, lines_chart, portrait_chart
from .html import table
from .numbers import show


def dynamics_section(runs: Mapping[str, Mapping[str, Any]]) -> Section | None:
    """Energies and temperature of molecular dynamics against time, and the drift."""
    if not runs:
        return None
    figures, rows = [], []
    for name, run in runs.items():
        where = f" ({name})" if name else ""
        energies = {key: run[key] for key in ("total", "potential", "kinetic")}
        figures += [
            energy_chart(
                run["time"],
                energies,
                unit="eV",
                x="time (ps)",
                title=f"energies{where}",
                label=f"Energies of molecular dynamics against time{where}",
            ),
            energy_chart(
                run["time"],
                {"total": run["total"]},
                unit="eV",
                x="time (ps)",
                title=f"total energy alone{where}",
                label=f"Total energy of molecular dynamics against time{where}",
            ),
            lines_chart(
                [Line("temperature", run["time"], run["temperature"], colour=2)],
                title=f"temperature{where}",
                x="time (ps)",
                y="K",
                label=f"Temperature of molecular dynamics against time{where}",
                log=False,
            ),
        ]
        rows.append(_facts(name, run))
    head = ("run", "ensemble", "atoms", "steps", "mean temperature", "drift (meV/atom/ps)", "shadow")
    return section(
        "dynamics",
        "Dynamics",
        "Molecular dynamics",
        "The drift is the slope of what the exact dynamics keeps (the total energy, or that with bath and cell), with "
        "its standard error; Langevin dynamics keeps nothing. The shadow energy is the total corrected for the finite "
        "time step: its drift is that of the integration and the forces.",
        grid(figures),
        table(head, rows, numeric=(2, 5)),
    )


def _facts(name: str, run: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        name or "run",
        run["ensemble"],
        show(run.get("atoms")),
        f"{run['steps']:,} × {show(run['timestep_fs'])} fs",
        f"{show(float(np.mean(run['temperature'])))} K",
        _slope(run.get("drift")),
        _slope(run.get("shadow_drift")),
    )


def _slope(drift: Mapping[str, float] | None) -> str:
    if drift is None:
        return "–"
    return f"{show(1e3 * drift['slope'])} ± {show(1e3 * drift['standard_error'], 2)}"


def phase_section(rollout: Mapping[str, Any] | None, portrait: Mapping[str, Any] | None) -> Section | None:
    """Energy along a rollout, and trajectories in phase space."""
    names = dict.fromkeys([*(rollout or {}).get("energy", ()), *(portrait or {}).get("series", ())])
    colours = {name: place for place, name in enumerate(names)}  # one name, one colour in both pictures
    figures = []
    if rollout:
        figures.append(
            energy_chart(
                rollout["time"],
                rollout["energy"],
                unit=str(rollout.get("unit", "1")),
                x=str(rollout.get("x", "time")),
                title="energy along the rollout",
                label="Energy along a rollout",
                caption=rollout.get("caption"),
            )
        )
    if portrait:
        lines = [
            Line(str(name), q, p, colour=colours[name], dashes=colours[name])
            for name, (q, p) in portrait["series"].items()
        ]
        figures.append(
            portrait_chart(
                lines,
                x=str(portrait.get("x", "q")),
                y=str(portrait.get("y", "p")),
                title="phase portrait",
                label="Trajectories in phase space",
                caption=portrait.get("caption"),
            )
        )
    if not figures:
        return None
    return section("phase-space", "Phase space", "Phase space", None, grid(figures))
