"""Small data for tests: labelled molecules, and plans that name data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plan import Plan

if TYPE_CHECKING:
    from ase import Atoms


def with_data(
    plan: Plan, sets: Mapping[str, Any], isolated_atoms: Any = "least_squares", seed: int = 0
) -> Plan:
    """The plan with these sets, as the compiler would have written it."""
    data = {"sets": dict(sets), "isolated_atoms": isolated_atoms, "seed": seed}
    return Plan.from_json({**plan.to_json(), "data": data})


def displaced_molecules(
    count: int,
    seed: int = 0,
    names: Sequence[str] = ("CH3OH", "H2O", "CH4"),
    stress: bool = False,
) -> list[Atoms]:
    """Molecules displaced by 0.1 Å, with random energies and forces (and stress, in periodic boxes of 8 Å).

    The labels are in the calculator, as a calculation would have left them.
    """
    from ase.build import molecule
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        atoms = molecule(names[k % len(names)])
        if stress:
            atoms.set_cell(8 * np.eye(3) + rng.normal(scale=0.1, size=(3, 3)))
            atoms.pbc = True
        atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))
        labels = {"energy": rng.normal() - 10 * len(atoms), "forces": rng.normal(size=(len(atoms), 3))}
        if stress:
            labels["stress"] = rng.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    return found
