"""Structures of atoms as plain arrays, and what the certificate does to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from equic.runtime.plan import Output
from numpy.typing import NDArray

from .motion import turned_back

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """An input of a structure: its value as irreps `rep`, [n, dim] per atom or [1, dim] for the whole."""

    value: Array
    rep: str
    per_node: bool

    def turned(self, matrix: Array) -> "Given":
        """As the group element acts on it."""
        output = Output("", "", self.rep, "1", "irreps", extensive=False)
        inverse = matrix.T[None]  # bringing back by the inverse is going forth
        return replace(self, value=turned_back(output, inverse, self.value[None])[0])

    def rows(self, order: NDArray[np.int64]) -> "Given":
        """Of these atoms, in this order."""
        return replace(self, value=self.value[order]) if self.per_node else self


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A structure: species index [n], positions [n, 3] Å, cell [3, 3] Å (zeros if not periodic), pbc [3].

    `inputs` are what else is known of it, by name.
    """

    species: NDArray[np.int64]
    positions: Array
    cell: Array
    pbc: NDArray[np.bool_]
    inputs: Mapping[str, Given] = field(default_factory=dict)

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
        """Positions and cell under x -> matrix x, such as a strain; inputs stay."""
        return replace(self, positions=self.positions @ matrix.T, cell=self.cell @ matrix.T)

    def turned(self, matrix: Array) -> "Geometry":
        """Everything as an orthogonal matrix acts on it: positions, cell and inputs."""
        inputs = {name: one.turned(matrix) for name, one in self.inputs.items()}
        return replace(self.mapped(matrix), inputs=inputs)

    def permuted(self, order: NDArray[np.int64]) -> "Geometry":
        """Atom k of the result is atom order[k]."""
        return replace(
            self,
            species=self.species[order],
            positions=self.positions[order],
            inputs={name: one.rows(order) for name, one in self.inputs.items()},
        )

    def joined(self, other: "Geometry") -> "Geometry":
        """The atoms of two structures that are not periodic, or share a cell, in one; the first one's fields."""
        return replace(
            self,
            species=np.concatenate([self.species, other.species]),
            positions=np.concatenate([self.positions, other.positions]),
            inputs={
                name: replace(one, value=np.concatenate([one.value, other.inputs[name].value]))
                if one.per_node
                else one
                for name, one in self.inputs.items()
            },
        )

    def with_fields_of(self, other: "Geometry") -> "Geometry":
        """The same atoms, with the inputs of another structure as a whole."""
        fields = {name: one for name, one in other.inputs.items() if not one.per_node}
        return replace(self, inputs={**self.inputs, **fields})

    def with_input(self, name: str, value: Array) -> "Geometry":
        """The same atoms with another value of one input."""
        return replace(self, inputs={**self.inputs, name: replace(self.inputs[name], value=value)})

    def with_guest(self, species: int, place: Array) -> "Geometry":
        """One more atom, with the inputs of the last one."""
        last = np.arange(len(self)).take([*range(len(self)), len(self) - 1])
        grown = self.permuted(last)
        kinds, places = grown.species.copy(), grown.positions.copy()
        kinds[-1], places[-1] = species, place
        return replace(grown, species=kinds, positions=places)

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
    cell = cell if pbc.any() else np.zeros((3, 3))
    return Geometry(species, positions, cell, pbc, given_inputs(_known(frame, number, plan), plan))


def given_inputs(values: Mapping[str, Array], plan: Any) -> dict[str, Given]:
    """Inputs as a certificate transforms them."""
    return {
        entry["name"]: Given(values[entry["name"]], entry["rep"], entry["index"] == "node")
        for entry in plan.system["inputs"]
    }


def _known(frame: Any, number: int, plan: Any) -> Mapping[str, Array]:
    """The inputs that a data Frame brings, or that ASE Atoms carry."""
    from equic.runtime.data.frame import Frame
    from equic.runtime.data.known import read_known
    from equic.runtime.data.labels import properties

    if isinstance(frame, Frame):
        return frame.inputs
    alone = len(frame) == 1
    return read_known(properties(frame), plan, len(frame), f"frame {number}", optional=alone)


@dataclass(frozen=True, slots=True)
class Batch:
    """The inputs of a model for several structures, and where each one's atoms start (with the end last)."""

    inputs: dict[str, torch.Tensor]
    offsets: NDArray[np.int64]


def collate(geometries: Sequence[Geometry], system: Mapping[str, Any], device: torch.device) -> Batch:
    """Structures as one batch, each with a neighbour list of its own.

    Raises:
        EquicError: two atoms of one structure are at the same place.
    """
    from equic.runtime.neighbors.pairs import edges_of

    offsets = np.cumsum([0, *map(len, geometries)])
    edges, shifts = [], []
    for start, item in zip(offsets, geometries, strict=False):
        pairs, images = edges_of(system, item.positions, item.cell, item.pbc)
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
    for name in geometries[0].inputs:
        arrays[name] = np.concatenate([item.inputs[name].value for item in geometries])
    # cloned: torch takes over numpy's strides, which for an array without elements compiled code refuses
    tensors = {
        name: torch.from_numpy(array).to(device).clone(memory_format=torch.contiguous_format)
        for name, array in arrays.items()
    }
    return Batch(tensors, offsets)
