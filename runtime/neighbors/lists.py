"""Which atoms see each other: all ordered pairs closer than a cutoff, periodic images included."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from equic.runtime.errors import DataError
from numpy.typing import ArrayLike, NDArray

Edges = NDArray[np.int64]
Array = NDArray[np.float64]

# Below this (Å) two atoms are one atom written twice: the direction between them is rounding, and a model
# that divides by its length gives NaN.
COINCIDENT = 1e-6
# vesin decides who is within the cutoff by its own rounding; we ask for a little more and decide ourselves,
# so that a list built afresh and one filtered from a larger list agree to the last pair.
_MARGIN = 1.0 + 1e-9
# Of so few atoms that nothing repeats, all pairs are compared sooner than a search has begun: 16 against 120 µs
# for 9 atoms, 0.5 against 1.6 ms for 64.
_FEW = 64


def neighbor_list(
    positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float, *, where: str = ""
) -> tuple[Edges, Array]:
    """All ordered pairs (source j, target i) closer than the cutoff, by target, then source, then image.

        v = r_i − r_j − S·cell,    0 < |v| < cutoff

    where S counts lattice vectors: the image of j that i sees lies at r_j + S·cell. An atom sees its own
    images, but not itself.

    Args:
        positions: [N, 3] in Å, N ≥ 0; they need not lie in the cell.
        cell: [3, 3] in Å, lattice vectors as rows. Rows of directions that are not periodic do not matter.
        pbc: one boolean, or one per lattice vector.
        cutoff: Å, positive.
        where: what to call the structure in messages, such as `train.xyz:frame 17`.

    Returns:
        edges [2, E] int64 (row 0 the sources j, row 1 the targets i) and shifts S [E, 3] float64.

    Raises:
        DataError: positions that are not finite or not [N, 3], two atoms in the same place, periodic
            lattice vectors that are not independent, or a cutoff that is not positive.

    Example:
        >>> line = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
        >>> edges, shifts = neighbor_list(line, np.zeros((3, 3)), False, 1.5)
        >>> edges.tolist()
        [[1, 0, 2, 1], [0, 1, 1, 2]]
    """
    points, lattice, periodic = checked_structure(positions, cell, pbc, where)
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise DataError(f"a cutoff must be a positive length, not {cutoff}")
    if len(points) <= _FEW and not periodic.any():
        edges, shifts = _every_pair(len(points))
    else:
        edges, shifts = candidate_pairs(points, lattice, periodic, cutoff, where)
    return within(points, lattice, edges, shifts, cutoff, where)


def checked_structure(
    positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, where: str = ""
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Positions [N, 3], cell [3, 3], pbc [3] as arrays of their final types.

    Raises:
        DataError: wrong shapes, or numbers that are not finite.
    """
    prefix = f"{where}: " if where else ""
    points = np.ascontiguousarray(positions, dtype=np.float64)
    if points.size == 0:
        points = points.reshape(0, 3)
    if points.ndim != 2 or points.shape[1] != 3:
        raise DataError(f"{prefix}positions have shape {list(points.shape)}, expected [atoms, 3]")
    if not np.isfinite(points).all():
        atoms = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise DataError(
            f"{prefix}the position of {_name(atoms)} is not finite",
            help="remove the structure, or, in a simulation, take a shorter time step",
        )
    lattice = np.ascontiguousarray(np.asarray(cell, dtype=np.float64))
    if lattice.shape != (3, 3):
        raise DataError(f"{prefix}the cell has shape {list(lattice.shape)}, expected [3, 3]")
    if not np.isfinite(lattice).all():
        raise DataError(f"{prefix}the cell is not finite")
    return points, lattice, np.array(np.broadcast_to(np.asarray(pbc, dtype=bool), (3,)))


def candidate_pairs(
    points: Array, cell: Array, periodic: NDArray[np.bool_], cutoff: float, where: str = ""
) -> tuple[Edges, Array]:
    """At least all pairs within the cutoff, sorted by target, then source, then image.

    Raises:
        DataError: periodic lattice vectors that are not independent.
    """
    from vesin import NeighborList

    box = _full_box(points, cell, periodic, cutoff, where)
    search = NeighborList(cutoff=cutoff * _MARGIN, full_list=True, n_threads=1)
    target, source, images = search.compute(
        points=points, box=box, periodic=periodic.tolist(), quantities="ijS"
    )
    # the last key sorts first
    order = np.lexsort((images[:, 2], images[:, 1], images[:, 0], source, target))
    edges = np.stack([source, target]).astype(np.int64)[:, order]
    return edges, images[order].astype(np.float64)


@lru_cache(maxsize=_FEW + 1)
def _every_pair(count: int) -> tuple[Edges, Array]:
    """All ordered pairs of different atoms, by target, then source; they are shared, and not to be changed."""
    target, source = np.nonzero(~np.eye(count, dtype=bool))
    return np.stack([source, target]).astype(np.int64), np.zeros((len(source), 3))


def within(
    points: Array, cell: Array, edges: Edges, shifts: Array, cutoff: float, where: str = ""
) -> tuple[Edges, Array]:
    """Those of the pairs that are closer than the cutoff, in the same order.

    Raises:
        DataError: two atoms are in the same place.
    """
    vectors = points[edges[1]] - points[edges[0]] - shifts @ cell
    lengths = np.sqrt(np.einsum("ek,ek->e", vectors, vectors))
    if (coincident := np.flatnonzero(lengths < COINCIDENT)).size:
        a, b = sorted(edges[:, coincident[0]].tolist())
        image = "" if not shifts[coincident[0]].any() else " (one of them in a periodic image)"
        raise DataError(
            f"{where + ': ' if where else ''}atoms {a} and {b} are in the same place{image}",
            help="remove one of them; atoms are counted from 0",
        )
    keep = lengths < cutoff
    return edges[:, keep], shifts[keep]


def _full_box(points: Array, cell: Array, periodic: NDArray[np.bool_], cutoff: float, where: str) -> Array:
    """The cell with the rows that do not repeat replaced by vectors orthogonal to those that do.

    Files give zeros there, or anything; the search wants three independent vectors.
    """
    extent = (np.ptp(points, axis=0).max() if len(points) else 0.0) + cutoff + 1.0
    if not periodic.any():
        return np.asarray(extent * np.eye(3))
    rows = cell[periodic]
    lengths = np.linalg.norm(rows, axis=1)
    # the least singular value of unit vectors is 1 where they are orthogonal, 0 where they are dependent
    if (lengths < COINCIDENT).any() or _least_singular(rows / lengths[:, None]) < 1e-6:
        prefix = f"{where}: " if where else ""
        raise DataError(
            f"{prefix}the periodic lattice vectors are not independent: {rows.tolist()}",
            help="give a cell with a volume, or set pbc to false where nothing repeats",
        )
    box = cell.copy()
    complement = np.linalg.svd(rows, full_matrices=True)[2][len(rows) :]
    box[~periodic] = extent * complement
    return box


def _least_singular(rows: Array) -> float:
    return float(np.linalg.svd(rows, compute_uv=False).min(initial=1.0))


def _name(atoms: NDArray[np.int64]) -> str:
    if len(atoms) == 1:
        return f"atom {atoms[0]}"
    more = f" and {len(atoms) - 5} more" if len(atoms) > 5 else ""
    return f"atoms {', '.join(map(str, atoms[:5]))}{more}"
