"""A neighbour list that lasts for many steps of a simulation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .lists import Array, Edges, candidate_pairs, checked_structure, within
from .pairs import nearest_of


class VerletList:
    """Neighbours within `cutoff`, from candidates within `cutoff + skin` that are searched when needed.

    While no atom has moved by more than skin/2 since the search, no pair can have come from beyond the
    candidates to within the cutoff. The result of `update` equals `neighbor_list` pair for pair, in
    order, at every step.

    Args:
        cutoff: Å.
        skin: Å, ≥ 0; a wider one means fewer searches and more candidates to filter.
        nearest: no more than so many neighbours of every atom, those nearest at this step (`nearest_of`).
    """

    def __init__(self, cutoff: float, skin: float = 0.5, nearest: int | None = None) -> None:
        if not (np.isfinite(cutoff) and cutoff > 0 and np.isfinite(skin) and skin >= 0):
            raise ValueError(f"cutoff must be positive and skin not negative: {cutoff}, {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self.nearest = nearest
        self.searches = 0
        self._last: _Search | None = None

    def update(
        self, positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, numbers: ArrayLike | None = None
    ) -> tuple[Edges, Array]:
        """Edges [2, E] and shifts [E, 3] of the structure as it is now (see `neighbor_list`).

        Searches if an atom moved by more than skin/2, or the cell, the periodicity, the number of atoms
        or their `numbers` (atomic numbers [N], where given) changed.

        Raises:
            DataError: as `neighbor_list`.
        """
        points, lattice, periodic = checked_structure(positions, cell, pbc)
        kinds = None if numbers is None else np.array(numbers)
        last = self._last
        if last is None or not last.still_holds(points, lattice, periodic, kinds, self.skin / 2):
            edges, shifts = candidate_pairs(points, lattice, periodic, self.cutoff + self.skin)
            last = self._last = _Search(points.copy(), lattice.copy(), periodic, kinds, edges, shifts)
            self.searches += 1
        found = within(points, lattice, last.edges, last.shifts, self.cutoff)
        return found if self.nearest is None else nearest_of(points, lattice, *found, self.nearest)


class _Search:
    """The structure at the last search, and the candidates found then."""

    __slots__ = ("cell", "edges", "kinds", "periodic", "points", "shifts")

    def __init__(
        self,
        points: Array,
        cell: Array,
        periodic: NDArray[np.bool_],
        kinds: NDArray[np.int64] | None,
        edges: Edges,
        shifts: Array,
    ) -> None:
        self.points, self.cell, self.periodic, self.kinds = points, cell, periodic, kinds
        self.edges, self.shifts = edges, shifts

    def still_holds(
        self,
        points: Array,
        cell: Array,
        periodic: NDArray[np.bool_],
        kinds: NDArray[np.int64] | None,
        allowed: float,
    ) -> bool:
        if points.shape != self.points.shape or not np.array_equal(periodic, self.periodic):
            return False
        # without periodicity the cell plays no part
        if periodic.any() and not np.array_equal(cell, self.cell):
            return False
        if (kinds is None) != (self.kinds is None) or not np.array_equal(kinds, self.kinds):  # type: ignore[arg-type]
            return False
        moved = points - self.points
        return bool(np.einsum("nk,nk->n", moved, moved).max(initial=0.0) <= allowed**2)
