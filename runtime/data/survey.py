"""What a file of structures holds, for writing a first spec: elements, labels, likely units, neighbours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from equic.runtime.errors import DataError
from equic.runtime.neighbors.lists import neighbor_list

from .frame import means_isolated_atom
from .labels import properties
from .paths import existing_file
from .plausible import FORCE_UNITS, LARGEST_STRESS, all_electron_total, unit_by_name, unit_of_totals
from .structures import read_structures

if TYPE_CHECKING:
    from ase import Atoms

_NAMES = {
    "energy": ("energy", "total_energy", "potential_energy"),
    "forces": ("forces", "force"),
    "stress": ("stress",),
}
_WORDS = {"energy": "energy", "forces": "force", "stress": "stress"}
# parts and corrections of an energy, which are not what a model should learn
_NOT_TOTAL = re.compile(r"free|kinetic|per_?atom|interaction|formation|dispersion|nuclear|atomi[cz]|isolated")
_SAMPLE = 20  # frames whose neighbours are counted
_CROWD = 60  # neighbours an atom beyond which a cutoff costs more than it tells


@dataclass(frozen=True, slots=True)
class FoundLabel:
    """A label: its key in the file, the unit that it probably has and why, and how many frames lack it."""

    key: str
    unit: str
    why: str
    missing: int = 0


@dataclass(frozen=True, slots=True)
class StructureSurvey:
    """What a file of structures holds.

    Attributes:
        frames: structures that are not isolated atoms.
        atoms: the fewest and the most atoms of a structure.
        species: every element, by atomic number.
        periodic: how many of the frames are periodic.
        labels: target → where its values are.
        isolated: energies of isolated atoms, as in the file.
        cutoff: suggested, in Å.
        neighbors: atoms within it, on average; `nearest`: the median distance of the nearest neighbour, in Å.
        virials: the key of virials, which are not a stress.
        others: further keys that hold numbers.
    """

    path: Path
    frames: int
    atoms: tuple[int, int]
    species: tuple[str, ...]
    periodic: int
    labels: Mapping[str, FoundLabel]
    isolated: Mapping[str, float]
    cutoff: float
    neighbors: float
    nearest: float | None
    virials: str | None = None
    others: tuple[str, ...] = ()


@dataclass(slots=True)
class _Counts:
    """Gathered frame by frame, so that large files are read once and not kept."""

    frames: int = 0
    sizes: list[int] = field(default_factory=list)
    species: dict[int, str] = field(default_factory=dict)
    periodic: int = 0
    keys: dict[str, dict[str, int]] = field(default_factory=lambda: {target: {} for target in _NAMES})
    others: set[str] = field(default_factory=set)
    sample: list[tuple[str, Atoms]] = field(default_factory=list)  # with where each comes from


def survey_structures(path: str | Path) -> StructureSurvey:
    """Read every structure of a file, in any format of ASE, and say what is there.

    Labels are found by name and shape: one number for the energy, [N, 3] for forces, 6 or 9 numbers for the
    stress. Units are guesses: all-electron total energies give theirs away, because they nearly add up from
    those of free atoms; what says nothing is taken for eV and Å, as in extended XYZ.

    Raises:
        DataError: no such file, one that cannot be read, no structures, or atoms that are no element.
    """
    path = existing_file(path)
    counts = _Counts()
    isolated: list[tuple[str, Atoms]] = []
    for number, atoms in enumerate(read_structures(path)):
        source = f"{path.name}:frame {number}"
        if 0 in atoms.numbers:
            raise DataError(f"{source} has atoms that are no chemical element")
        counts.species |= dict(zip(atoms.numbers.tolist(), atoms.get_chemical_symbols(), strict=True))
        if len(atoms) == 1 and means_isolated_atom(str(atoms.info.get("config_type", ""))):
            isolated.append((source, atoms))
        else:
            _count(counts, atoms, source)
    if not counts.species:
        raise DataError(f"{path} holds no structures")
    frames = counts.frames
    if not frames:
        for source, atoms in isolated:
            _count(counts, atoms, source)
    cutoff, neighbors, nearest = _cutoff(_spread(counts.sample, _SAMPLE))
    labels = _labels(counts)
    energy = labels.get("energy")
    return StructureSurvey(
        path=path,
        frames=frames,
        atoms=(min(counts.sizes), max(counts.sizes)),
        species=tuple(counts.species[z] for z in sorted(counts.species)),
        periodic=counts.periodic,
        labels=labels,
        isolated=_isolated([atoms for _, atoms in isolated], energy.key) if energy is not None else {},
        cutoff=cutoff,
        neighbors=neighbors,
        nearest=nearest,
        virials=next((key for key in sorted(counts.others) if "virial" in key.lower()), None),
        others=tuple(sorted(counts.others)),
    )


def _count(counts: _Counts, atoms: Atoms, source: str) -> None:
    counts.frames += 1
    counts.sizes.append(len(atoms))
    counts.periodic += bool(atoms.pbc.any())
    # doubling strides keep a spread-out sample without knowing how many frames come
    if (counts.frames - 1) % max(1, 2 ** max(0, (counts.frames // _SAMPLE).bit_length() - 1)) == 0:
        counts.sample.append((source, atoms))
    for key, value in properties(atoms).items():
        target = _target_of(key, value, len(atoms))
        if target is not None:
            counts.keys[target][key] = counts.keys[target].get(key, 0) + 1
        elif isinstance(value, (int, float, np.ndarray)) and np.asarray(value).dtype.kind in "fiu":
            counts.others.add(key)


def _target_of(key: str, value: Any, atoms: int) -> str | None:
    """The target that a key of a file may hold, by its name and shape."""
    try:
        shape = np.array(value, dtype=np.float64).shape
    except (TypeError, ValueError):
        return None
    shapes = {
        "energy": ((), (1,)),
        "forces": ((atoms, 3),),
        "stress": ((6,), (9,), (3, 3)),
    }
    for target, word in _WORDS.items():
        if word in key.lower() and shape in shapes[target]:
            return target
    return None


def _labels(counts: _Counts) -> dict[str, FoundLabel]:
    """The best key for each target: in most frames, of the usual name, without further words."""
    found: dict[str, FoundLabel] = {}
    for target, keys in counts.keys.items():
        if not keys or (target == "stress" and not counts.periodic):
            continue

        def rank(key: str, keys: Mapping[str, int] = keys, target: str = target) -> tuple[Any, ...]:
            usual = key.lower() in _NAMES[target]
            odd = bool(_NOT_TOTAL.search(key.lower()))
            return odd, -keys[key], not usual, len(key), key

        key = min(keys, key=rank)
        sample = [atoms for _, atoms in counts.sample if key in properties(atoms)]
        values = [properties(atoms)[key] for atoms in sample]
        energy_unit = found["energy"].unit if "energy" in found else "eV"
        unit, why = _unit(target, key, values, sample, energy_unit)
        found[target] = FoundLabel(key, unit, why, counts.frames - keys[key])
    return found


def _unit(
    target: str, key: str, values: Sequence[Any], sample: Sequence[Atoms], energy_unit: str
) -> tuple[str, str]:
    """The unit that values probably have, and the reason."""
    if target == "energy":
        return _energy_unit(key, values, sample)
    if target == "forces":
        return FORCE_UNITS[energy_unit], "to go with the energy"
    largest = max((float(np.abs(np.asarray(value, dtype=np.float64)).max()) for value in values), default=0.0)
    if largest > LARGEST_STRESS:
        return "GPa", "numbers this large are not eV/Å^3"
    return "eV/Å^3", "ASE's convention, positive under tension"


def _energy_unit(key: str, values: Sequence[Any], sample: Sequence[Atoms]) -> tuple[str, str]:
    named = unit_by_name(key)
    if named is not None:
        return named, "after its name"
    ratios = []
    for atoms, value in zip(sample, values, strict=True):
        total = all_electron_total(atoms.numbers)
        if total is not None:
            ratios.append(float(np.asarray(value, dtype=np.float64).reshape(())) / total)
    unit = unit_of_totals(float(np.median(ratios))) if ratios else None
    if unit is not None:
        return unit, "all-electron energies of the atoms add up to this"
    return "eV", "the convention of extended XYZ"


def _isolated(frames: Iterable[Atoms], key: str) -> dict[str, float]:
    found = {}
    for atoms in frames:
        values = properties(atoms)
        if key in values:
            found[atoms.get_chemical_symbols()[0]] = float(np.asarray(values[key]).reshape(()))
    return found


def _cutoff(sample: Sequence[tuple[str, Atoms]]) -> tuple[float, float, float | None]:
    """A cutoff (Å), the neighbours an atom has within it, and the median distance of the nearest one.

    5 Å is usual; sparse structures get the second shell, crowded ones no more than `_CROWD` neighbours (but
    4 Å at least).
    """
    widest = 8.0
    lengths, nearest, atoms = [], [], 0
    for source, one in sample:
        pbc = np.asarray(one.pbc, dtype=bool)
        cell = np.asarray(one.cell, dtype=np.float64) if pbc.any() else np.zeros((3, 3))
        edges, shifts = neighbor_list(one.positions, cell, pbc, widest, where=source)
        apart = np.linalg.norm(one.positions[edges[1]] - one.positions[edges[0]] - shifts @ cell, axis=1)
        lengths.append(apart)
        first = np.full(len(one), np.inf)
        np.minimum.at(first, edges[1], apart)
        nearest.append(first[np.isfinite(first)])
        atoms += len(one)
    every, closest = np.concatenate(lengths), np.concatenate(nearest)
    if not len(closest):
        return 5.0, 0.0, None
    typical = float(np.median(closest))
    cutoff = min(max(5.0, np.ceil(4.2 * typical) / 2), widest)
    while cutoff > 4.0 and np.count_nonzero(every < cutoff) > _CROWD * atoms and cutoff - 0.5 > 1.5 * typical:
        cutoff -= 0.5
    return float(cutoff), np.count_nonzero(every < cutoff) / atoms, typical


def _spread(items: Sequence[tuple[str, Atoms]], count: int) -> list[tuple[str, Atoms]]:
    step = max(1, len(items) // count)
    return list(items[::step][:count])
