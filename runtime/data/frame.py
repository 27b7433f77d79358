"""One structure with its neighbours and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from equic.runtime.errors import DataError
from equic.runtime.neighbors.lists import Array, Edges
from equic.runtime.neighbors.pairs import edges_of
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .known import read_known
from .structure import Structure, structure_of

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A structure as a model sees it, in eV and Å.

    Attributes:
        numbers: atomic numbers [N] int64.
        species: place of each atom's element in the plan's list [N] int64.
        positions: [N, 3] Å.
        cell: [3, 3] Å, lattice vectors as rows; zeros where no direction is periodic.
        pbc: [3] booleans.
        edges, shifts: neighbours within the plan's cutoff, [2, E] and [E, 3] (see `neighbor_list`).
        labels: target → value, already in internal units: energy [], forces [N, 3], stress [3, 3], ...
        per_atom: those of the targets that have one value per atom, such as forces.
        source: where the frame comes from, `train.xyz:frame 17`, counted from 0.
        inputs: what else is known, as the plan declares it: [1, dim] of the structure, [N, dim] of its atoms.
        config_type: the file's word for what kind of configuration this is, or nothing.
        group: the value under the key that frames are split by, or nothing.
    """

    numbers: NDArray[np.int64]
    species: NDArray[np.int64]
    positions: Array
    cell: Array
    pbc: NDArray[np.bool_]
    edges: Edges
    shifts: Array
    labels: Mapping[str, Array]
    source: str
    config_type: str = ""
    per_atom: frozenset[str] = frozenset()
    group: str = ""
    inputs: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.species)

    @property
    def is_isolated_atom(self) -> bool:
        """A single atom that its file calls an isolated one."""
        return len(self) == 1 and means_isolated_atom(self.config_type)

    def fingerprint(self) -> bytes:
        """Equal for frames with the same elements, positions, cell and inputs (to 1e-6) in the same order."""
        return structure_print(self.numbers, self.pbc, self.positions, self.cell, self.inputs)

    def to_atoms(self) -> Atoms:
        """The structure as ASE Atoms, without labels."""
        from ase import Atoms

        return Atoms(self.numbers, self.positions.copy(), cell=self.cell.copy(), pbc=self.pbc.copy())


def structure_print(
    numbers: NDArray[np.int64],
    pbc: NDArray[np.bool_],
    positions: Array,
    cell: Array,
    inputs: Mapping[str, Array],
) -> bytes:
    """The sha256 of a structure, its numbers rounded to 1e-6; the cell is zero where nothing is periodic."""
    digest = hashlib.sha256(numbers.tobytes())
    digest.update(pbc.tobytes())
    for lengths in (positions, cell, *inputs.values()):
        digest.update(np.round(lengths * 1e6).astype(np.int64).tobytes())
    return digest.digest()


def means_isolated_atom(config_type: str) -> bool:
    """Spellings in use: IsolatedAtom, isolated_atom, isolated atom."""
    return "".join(filter(str.isalpha, config_type.lower())) == "isolatedatom"


def frame_from_atoms(
    atoms: Atoms,
    plan: Plan,
    *,
    source: str,
    labels: Mapping[str, Array] | None = None,
    config_type: str = "",
    group: str = "",
) -> Frame:
    """A frame of ASE Atoms, as `frame_of` makes it.

    Raises:
        DataError: as `frame_of`.
    """
    structure = structure_of(atoms)
    return frame_of(structure, plan, source=source, labels=labels, config_type=config_type, group=group)


def frame_of(
    structure: Structure,
    plan: Plan,
    *,
    source: str,
    labels: Mapping[str, Array] | None = None,
    config_type: str = "",
    group: str = "",
) -> Frame:
    """A frame of a structure, with its neighbours within the plan's cutoff; it holds the structure's arrays.

    Raises:
        DataError: an element that the plan does not know, or a structure that `neighbor_list` refuses.
    """
    labels = {} if labels is None else dict(labels)
    cell = structure.cell if structure.pbc.any() else np.zeros((3, 3))
    species = species_indices(structure.numbers, plan, source)
    edges, shifts = edges_of(plan.system, structure.positions, cell, structure.pbc, where=source)
    alone = len(structure) == 1 and means_isolated_atom(config_type)
    return Frame(
        numbers=structure.numbers,
        species=species,
        positions=structure.positions,
        cell=cell,
        pbc=structure.pbc,
        edges=edges,
        shifts=shifts,
        labels=labels,
        source=source,
        config_type=config_type,
        per_atom=frozenset(target for target in labels if plan.outputs[target].index == "node"),
        group=group,
        inputs=read_known(structure.found, plan, len(structure), source, optional=alone),
    )


def species_indices(numbers: NDArray[np.int64], plan: Plan, source: str) -> NDArray[np.int64]:
    """The place of each atom's element in the plan's list: [N] int64.

    Raises:
        DataError: an element that is not in the list.
    """
    species = plan.system["species"]
    table = np.full(len(chemical_symbols), -1, dtype=np.int64)
    table[[atomic_numbers[symbol] for symbol in species]] = np.arange(len(species))
    found = table[numbers]
    if (found < 0).any():
        unknown = sorted({chemical_symbols[number] for number in numbers[found < 0]})
        raise DataError(
            f"{source} contains {', '.join(unknown)}; `{plan.name}` knows only {', '.join(species)}",
            help="add the element to `species` and train again, or leave the structure out",
        )
    return found
