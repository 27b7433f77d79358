"""Which pairs of nodes have an edge: those within a cutoff, all, or each node with its nearest ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from numpy.typing import ArrayLike

from .lists import COINCIDENT, Array, Edges, checked_structure, neighbor_list

_ROWS = 256  # distances are made for so many nodes at a time


def edges_of(
    system: Mapping[str, Any], positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, *, where: str = ""
) -> tuple[Edges, Array]:
    """The edges of one structure under the `system` section of a plan, by target, then source, then image.

    Nothing repeats where there is no cutoff. Where fewer nodes are there than a node should have nearest ones,
    it has all others; of nodes at one distance those that come first in the file are nearer.

    Returns:
        edges [2, E] int64 (row 0 the sources, row 1 the targets) and shifts [E, 3] float64, in lattice vectors.

    Raises:
        DataError: what `neighbor_list` refuses.
    """
    if system["pairs"] == "within":
        return neighbor_list(positions, cell, pbc, float(system["cutoff"]), where=where)
    points, _, _ = checked_structure(positions, np.zeros((3, 3)), False, where)
    count = len(points)
    nearest = count - 1 if system["pairs"] == "all" else min(int(system["pairs"]), count - 1)
    sources = [np.zeros((0, max(nearest, 0)), dtype=np.int64)]
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        distance = np.linalg.norm(points[rows, None] - points[None], axis=-1)
        distance[np.arange(len(rows)), rows] = np.inf
        if (distance < COINCIDENT).any():
            a, b = np.argwhere(distance < COINCIDENT)[0]
            raise DataError(
                f"{where + ': ' if where else ''}nodes {start + a} and {b} are in the same place",
                help="remove one of them; nodes are counted from 0",
            )
        order = np.argsort(distance, axis=1, kind="stable")[:, :nearest]
        sources.append(np.sort(order, axis=1))
    found = np.concatenate(sources)
    targets = np.repeat(np.arange(count), max(nearest, 0))
    edges = np.stack([found.reshape(-1), targets]).astype(np.int64)
    return edges, np.zeros((edges.shape[1], 3))
