"""Which units numbers probably have: from all-electron totals, from sizes, from distances."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

# Energies of free atoms from Hartree-Fock theory, in Ha, H to Ar: what all-electron totals add up to within 2 %.
_ALL_ELECTRON = (
    (-0.50, -2.86, -7.43, -14.57, -24.53, -37.69, -54.40, -74.81, -99.41, -128.55)  # H to Ne
    + (-161.86, -199.61, -241.88, -288.85, -340.72, -397.51, -459.48, -526.82)  # Na to Ar
)
_PER_HARTREE = {"Ha": 1.0, "eV": 27.2114, "kcal/mol": 627.509, "kJ/mol": 2625.50}
FORCE_UNITS = {"Ha": "Ha/bohr", "eV": "eV/Å", "kcal/mol": "kcal/mol/Å", "kJ/mol": "kJ/mol/Å"}
_PER_FORCE = {"eV/Å": 1.0, "kcal/mol/Å": 23.0605, "kJ/mol/Å": 96.4853, "Ha/bohr": 1 / 51.4221}
_NAMED = {"kcal/mol": ("kcal",), "kJ/mol": ("kj",), "Ha": ("hartree",)}

# eV/Å: the RMS of forces of ordinary sets (molecules and crystals up to some thousand K) lies below
_LARGEST_FORCES = 15.0
_ORDINARY_FORCES = (0.05, 8.0)
# 1 eV/Å^3 is 160 GPa: no ordinary structure is under that much stress
LARGEST_STRESS = 1.0
# eV an atom, of the energy of a structure less that of its free atoms
ORDINARY_BINDING = (-15.0, 3.0)
# nearest neighbours over sums of covalent radii: 0.9 to 1.3 in Å, 1.89 times that in bohr
_AS_BOHR = (1.75, 2.5)
_AS_NM = 0.25


def unit_by_name(key: str) -> str | None:
    """The unit of energy that the name of a key tells, such as `energy_kcal`."""
    for unit, spellings in _NAMED.items():
        if any(re.search(rf"(?<![a-z]){word}", key.lower()) for word in spellings):
            return unit
    return None


def all_electron_total(numbers: NDArray[np.int64]) -> float | None:
    """What free atoms of these elements have together, in Ha; None beyond argon."""
    if not len(numbers) or int(numbers.max()) > len(_ALL_ELECTRON) or int(numbers.min()) < 1:
        return None
    return sum(_ALL_ELECTRON[z - 1] for z in numbers)


def unit_of_totals(ratio: float) -> str | None:
    """The unit of energies that are `ratio` times the all-electron total in Ha; None where no unit fits.

    Example:
        >>> unit_of_totals(27.3), unit_of_totals(3.0)
        ('eV', None)
    """
    for unit, size in _PER_HARTREE.items():
        if abs(ratio / size - 1) < 0.04:
            return unit
    return None


def unit_of_forces(rms: float) -> str | None:
    """The unit that forces of this RMS have if they are too large for eV/Å; None where eV/Å may be right."""
    if rms <= _LARGEST_FORCES:
        return None
    low, high = _ORDINARY_FORCES
    return next((unit for unit, size in _PER_FORCE.items() if low < rms / size < high), "another unit")


def unit_of_binding(energy: float, free: float) -> str | None:
    """The unit in which a total `energy` (an atom) lies an ordinary binding below `free` eV; None where none does."""
    low, high = ORDINARY_BINDING
    for unit, size in _PER_HARTREE.items():
        if unit != "eV" and low < energy * _PER_HARTREE["eV"] / size - free < high:
            return unit
    return None


def length_unit(ratio: float | None) -> str | None:
    """`bohr` or `nm` where nearest neighbours, over sums of covalent radii, are too far or too near for Å."""
    if ratio is None:
        return None
    if _AS_BOHR[0] <= ratio <= _AS_BOHR[1]:
        return "bohr"
    return "nm" if ratio <= _AS_NM else None


def nearest_over_radii(frames: Sequence[Atoms], atoms: int = 60) -> float | None:
    """The median, over up to so many atoms a frame, of min_j |r_ij| / (R_i + R_j) with covalent radii R.

    None where there are no pairs, or only noble gases, which do not bond.
    """
    from ase.data import covalent_radii

    found: list[float] = []
    for one in frames:
        radii = covalent_radii[one.numbers]
        chosen = [k for k in range(len(one)) if int(one.numbers[k]) not in (2, 10, 18, 36, 54, 86)][:atoms]
        images = _images(one)
        for k in chosen:
            apart = one.positions[None] + images[:, None] - one.positions[k]
            scaled = np.linalg.norm(apart, axis=2) / (radii + radii[k])
            scaled = scaled[scaled > 1e-9]
            if len(scaled):
                found.append(float(scaled.min()))
    return float(np.median(found)) if found else None


def _images(atoms: Atoms) -> NDArray[np.float64]:
    """Shifts to the neighbouring periodic images, [M, 3]; of the reduced cell, so that none is missed."""
    if not atoms.pbc.any():
        return np.zeros((1, 3))
    from ase.geometry import minkowski_reduce

    cell, _ = minkowski_reduce(atoms.cell.complete(), atoms.pbc)
    steps = [(-1, 0, 1) if periodic else (0,) for periodic in atoms.pbc]
    return np.array([(a, b, c) for a in steps[0] for b in steps[1] for c in steps[2]]) @ np.asarray(cell)
