"""Structures of atoms as plain arrays, and what the certificate does to them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A structure: species index [n], positions [n, 3] Å, cell [3, 3] Å (zeros if not periodic), pbc [3]."""

    species: NDArray[np.int64]
    positions: Array
    cell: Array
    pbc: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.species)

    @property
    def periodic(self) -> bool:
        """Some direction repeats."""
        return bool(self.pbc.any())

    @property
    def volume(self) -> float:
        """The cell's volume in Å^3; zero where there is no full cell, and then no stress."""
        return float(abs(np.linalg.det(self.cell)))

    def moved(self, displacement: Array) -> "Geometry":
        """Every atom displaced: positions + displacement [n, 3] or [3]."""
        return replace(self, positions=self.positions + displacement)

    def mapped(self, matrix: Array) -> "Geometry":
        """Positions and cell under x -> matrix x."""
        return replace(self, positions=self.positions @ matrix.T, cell=self.cell @ matrix.T)

    def permuted(self, order: NDArray[np.int64]) -> "Geometry":
        """Atom k of the result is atom order[k]."""
        return replace(self, species=self.species[order], positions=self.positions[order])

    def joined(self, other: "Geometry") -> "Geometry":
        """The atoms of two structures that are not periodic, or share a cell, in one."""
        return replace(
            self,
            species=np.concatenate([self.species, other.species]),
            positions=np.concatenate([self.positions, other.positions]),
        )

    def doubled(self, axis: int) -> "Geometry":
        """Two cells side by side along a periodic axis, as one."""
        cell = self.cell.copy()
        cell[axis] *= 2.0
        return replace(self.joined(self.moved(self.cell[axis])), cell=cell)


def as_geometries(frames: Iterable[Any], plan: Any) -> list[Geometry]:
    """ASE Atoms, data Frames or Geometries as Geometries, species by their index in the plan.

    Raises:
        EquicError: no frames, an element that the plan does not know, or atoms at the same place.
    """
    found = [_as_geometry(frame, number, plan) for number, frame in enumerate(frames)]
    if not found:
        raise EquicError(
            "there are no frames to measure on", help="leave `frames` out to have random ones made"
        )
    return found


def _as_geometry(frame: Any, number: int, plan: Any) -> Geometry:
    if isinstance(frame, Geometry):
        return frame
    names = list(plan.system["species"])
    try:
        symbols = list(frame.get_chemical_symbols())
    except AttributeError:  # a data Frame, whose species are indices already
        species = np.asarray(frame.species, dtype=np.int64)
    else:
        for symbol in symbols:
            if symbol not in names:
                raise EquicError(
                    f"frame {number} has the element {symbol}, which `{plan.name}` does not know",
                    help=f"its species are {', '.join(names)}",
                )
        species = np.array([names.index(symbol) for symbol in symbols], dtype=np.int64)
    pbc = np.broadcast_to(np.asarray(frame.pbc, dtype=bool), (3,)).copy()
    cell = np.asarray(frame.cell, dtype=float).reshape(3, 3)
    positions = np.asarray(frame.positions, dtype=float)
    return Geometry(species, positions, cell if pbc.any() else np.zeros((3, 3)), pbc)


@dataclass(frozen=True, slots=True)
class Batch:
    """The inputs of a model for several structures, and where each one's atoms start (with the end last)."""

    inputs: dict[str, torch.Tensor]
    offsets: NDArray[np.int64]


def collate(geometries: Sequence[Geometry], cutoff: float, device: torch.device) -> Batch:
    """Structures as one batch, each with a neighbour list of its own.

    Raises:
        EquicError: two atoms of one structure are at the same place.
    """
    from equic.runtime.neighbors import neighbor_list

    offsets = np.cumsum([0, *map(len, geometries)])
    edges, shifts = [], []
    for start, item in zip(offsets, geometries, strict=False):
        pairs, images = neighbor_list(item.positions, item.cell, item.pbc, cutoff)
        edges.append(pairs + start)
        shifts.append(images)
    arrays = {
        "positions": np.concatenate([item.positions for item in geometries]),
        "species": np.concatenate([item.species for item in geometries]),
        "cell": np.stack([item.cell for item in geometries]),
        "system": np.repeat(np.arange(len(geometries)), np.diff(offsets)),
        "edges": np.concatenate(edges, axis=1),
        "shifts": np.concatenate(shifts),
    }
    # cloned: torch takes over numpy's strides, which for an array without elements compiled code refuses
    tensors = {
        name: torch.from_numpy(array).to(device).clone(memory_format=torch.contiguous_format)
        for name, array in arrays.items()
    }
    return Batch(tensors, offsets)
