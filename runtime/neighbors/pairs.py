"""Which pairs of nodes have an edge: those within a cutoff, the nearest of them, all, or each node's nearest ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from numpy.typing import ArrayLike

from .lists import COINCIDENT, Array, Edges, checked_structure, neighbor_list

_ROWS = 256  # distances are made for so many nodes at a time
_SAME = 1e-9  # lengths closer than this are one length, whatever rounding made of them


def edges_of(
    system: Mapping[str, Any], positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, *, where: str = ""
) -> tuple[Edges, Array]:
    """The edges of one structure under the `system` section of a plan, by target, then source, then image.

    Nothing repeats where there is no cutoff. With one, the nearest are those of `nearest_of`, periodic images
    included. Without, where fewer nodes are there than a node should have nearest ones, it has all others; of nodes
    at one distance those that come first in the file are nearer.

    Returns:
        edges [2, E] int64 (row 0 the sources, row 1 the targets) and shifts [E, 3] float64, in lattice vectors.

    Raises:
        DataError: what `neighbor_list` refuses; all pairs of a periodic structure, which have no end.
    """
    if system["cutoff"] is not None:
        edges, shifts = neighbor_list(positions, cell, pbc, float(system["cutoff"]), where=where)
        if system["pairs"] == "within":
            return edges, shifts
        return nearest_of(positions, cell, edges, shifts, int(system["pairs"]))
    if np.any(pbc):
        raise DataError(
            f"{where + ': ' if where else ''}all atoms see each other in this model (`interactions: all`), and a "
            "periodic structure has no end of them",
            help="write a `cutoff` in place of `interactions: all`, or set pbc to false where nothing repeats",
        )
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


def nearest_of(
    positions: ArrayLike, cell: ArrayLike, edges: Edges, shifts: Array, count: int
) -> tuple[Edges, Array]:
    """Of the edges to every target the `count` shortest, or all where there are no more, in the same order.

    Of equal lengths (to 1e-9 Å, so that rounding has no say in a crystal) those that come first are kept, which in
    the order of `neighbor_list` is by source, then image.

    Args:
        edges, shifts: [2, E] and [E, 3], by target.
    """
    if not edges.shape[1]:
        return edges, shifts
    points = np.asarray(positions, dtype=np.float64)
    lengths = np.linalg.norm(points[edges[1]] - points[edges[0]] - shifts @ np.asarray(cell), axis=1)
    order = np.lexsort((lengths, edges[1]))
    steps = (np.diff(edges[1][order]) != 0) | (np.diff(lengths[order]) > _SAME)
    level = np.empty(len(order), dtype=np.int64)  # targets, and within them lengths, counted through
    level[order] = np.cumsum(np.concatenate([[False], steps]))
    order = np.argsort(level, kind="stable")
    target = edges[1][order]
    kept = np.sort(order[np.arange(len(order)) - np.searchsorted(target, target) < count])
    return edges[:, kept], shifts[kept]
