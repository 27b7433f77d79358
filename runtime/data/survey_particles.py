"""What a file of particles holds, for writing a first spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .arrays import load_arrays
from .paths import existing_file

_POSITIONS = ("positions", "pos", "loc", "x", "R", "r")
_TARGETS = ("displacement", "displacements", "delta", "target", "targets", "y", "dipole", "dipoles")


@dataclass(frozen=True, slots=True)
class ParticleSurvey:
    """A file of particles: for each value of a particle and of a system, how many numbers it has.

    `targets` are those of `nodes` whose names are those of results.
    """

    path: Path
    rows: int
    particles: int
    nodes: dict[str, int]
    targets: tuple[str, ...]
    energy: bool
    forces: bool


def survey_particles(path: str | Path) -> ParticleSurvey | None:
    """Find positions [S, N, 3] by the usual names, and what else is known of every particle; None without any.

    Raises:
        DataError: no such file, or not a file of arrays of numbers.
    """
    path = existing_file(path)
    arrays = load_arrays(path)
    positions = next((key for key in _POSITIONS if key in arrays and _is_cloud(arrays[key])), None)
    if positions != "positions":  # what the reader knows them as
        return None
    count, particles = arrays[positions].shape[:2]
    nodes = {
        key: int(np.prod(one.shape[2:], dtype=int))
        for key, one in arrays.items()
        if key != positions and one.shape[:2] == (count, particles) and one.dtype.kind in "fiu"
    }
    energy = "energy" in arrays and arrays["energy"].shape[:1] == (count,) and arrays["energy"].size == count
    targets = tuple(key for key in _TARGETS if nodes.get(key) in (1, 3))
    forces = energy and nodes.get("forces") == 3
    return ParticleSurvey(path, count, particles, nodes, targets, energy, forces)


def _is_cloud(array: NDArray[np.generic]) -> bool:
    return array.ndim == 3 and array.shape[2] == 3 and array.size > 0 and array.dtype.kind == "f"
