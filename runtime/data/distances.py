"""How close atoms come in a data set: where a model has been taught, and where it only guesses."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .frame import Frame


def closest_distances(plan: Plan, frames: Iterable[Frame]) -> dict[str, float]:
    """The shortest distance within the cutoff of every pair of species that meets, Å, as {"C-H": 1.08}.

    Species of a pair are in alphabetical order. A pair that is not there never came within the cutoff.
    """
    species = plan.system["species"]
    count = len(species)
    closest = np.full(count * count, np.inf)
    for frame in frames:
        lengths = edge_lengths(frame.positions, frame.cell, frame.edges, frame.shifts)
        first, second = frame.species[frame.edges]
        np.minimum.at(closest, first * count + second, lengths)
    found: dict[str, float] = {}
    for place in np.flatnonzero(np.isfinite(closest)):
        name = pair_name(species[place // count], species[place % count])
        found[name] = min(float(closest[place]), found.get(name, np.inf))
    return dict(sorted(found.items()))


def pair_name(a: str, b: str) -> str:
    """Two species as one word, whatever their order."""
    return "-".join(sorted((a, b)))


def edge_lengths(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    edges: NDArray[np.int64],
    shifts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """|r_j − r_i − S·cell| of edges (i, j) with shifts S, Å; in the convention of `neighbor_list`."""
    vectors = positions[edges[1]] - positions[edges[0]] - shifts @ cell
    return np.sqrt(np.einsum("ek,ek->e", vectors, vectors))
