"""What a file says of one structure, before a plan makes a frame of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .labels import properties

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Elements, positions, cell, and all else by key.

    Attributes:
        numbers: atomic numbers [N] int64.
        positions: [N, 3] Å.
        cell: [3, 3] Å, lattice vectors as rows.
        pbc: [3] booleans.
        found: everything else that the file has of it, by the names that ASE gives (see `properties`).
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    found: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.numbers)


def structure_of(atoms: Atoms) -> Structure:
    """ASE Atoms as a structure; the arrays are copies."""
    return Structure(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell, dtype=np.float64),
        pbc=np.array(atoms.pbc, dtype=bool),
        found=properties(atoms),
    )
