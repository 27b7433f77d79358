"""Where frames go as they come, and the bar that shows how far a run is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DynamicsError

if TYPE_CHECKING:
    from ase import Atoms
    from rich.console import Console

_REFRESH_S = 0.2


@contextmanager
def frame_writer(path: str | Path | None) -> Iterator[Callable[[Atoms], Any]]:
    """A function that appends one frame to `path`; closed, flushed, whatever happens.

    Raises:
        DynamicsError: `path` ends in none of .extxyz, .xyz and .traj.
    """
    if path is None:
        yield lambda system: None
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".traj":
        from ase.io import Trajectory

        with Trajectory(path, "w") as file:
            yield file.write
    elif path.suffix in (".xyz", ".extxyz"):
        from ase.io.extxyz import write_extxyz

        with open(path, "w", encoding="utf-8") as text:

            def write(system: Atoms) -> None:
                write_extxyz(text, [system])
                text.flush()

            yield write
    else:
        raise DynamicsError(
            f"`{path}` is no known kind of trajectory", help="end it in .extxyz, .xyz or .traj"
        )


@contextmanager
def step_meter(shown: bool, steps: int, console: Console | None) -> Iterator[Callable[[int, float], None]]:
    """A function of (step, temperature in K) that moves a bar; none outside of a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    if not shown or not console.is_terminal:
        yield lambda step, kelvin: None
        return
    columns = (
        TextColumn("dynamics"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[kelvin]:.0f} K"),
        TimeRemainingColumn(),
    )
    last = -_REFRESH_S
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("dynamics", total=steps, kelvin=0.0)

        def advance(step: int, kelvin: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _REFRESH_S:
                last = now
                bar.update(task, completed=step, kelvin=kelvin, refresh=True)

        yield advance
