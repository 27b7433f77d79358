"""Copper with aluminium under strain: periodic frames with stress, from effective medium theory.

Writes `periodic.xyz` in extended XYZ (Å, eV, eV/Å, eV/Å³): two isolated atoms
(`config_type=IsolatedAtom`, energy and forces only), then 120 periodic frames of 8, 12, 16, 24 or 32
atoms with energy, forces and stress (ASE's sign: stress = (1/V) dE/dε, negative under compression).

Each frame is an fcc supercell with every site Cu (70 %) or Al (30 %), the lattice constant that of the
mean composition, a random strain of up to ±6 % in each of the six components, and atoms displaced by 0.02
to 0.15 Å (normal). Cells are narrower than usual cutoffs, so that atoms see their own images. Labels are
computed at exactly the cells and positions that the file holds.

Method: effective medium theory (jacobsen1996semi) as implemented in ASE (larsen2017ase); energies count
from bulk metal, so isolated atoms have positive energies.

Run: python examples/data/make_copper.py
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from files import DECIMALS, labelled, options, write_frames

FRAMES = 120
SEED = 3
REPEATS = ((2, 1, 1), (3, 1, 1), (2, 2, 1), (3, 2, 1), (2, 2, 2))  # of the cubic cell of four atoms
LATTICE = {"Cu": 3.61, "Al": 4.05}  # Å
ALUMINIUM = 0.3


def periodic_frame(index: int) -> Atoms:
    rng = np.random.default_rng([SEED, index])
    atoms = bulk("Cu", "fcc", a=1.0, cubic=True).repeat(REPEATS[index % len(REPEATS)])
    atoms.symbols = np.where(rng.random(len(atoms)) < ALUMINIUM, "Al", "Cu")
    lattice = np.mean([LATTICE[symbol] for symbol in atoms.symbols])
    strain = rng.uniform(-0.06, 0.06, size=(3, 3))
    deformation = np.eye(3) + (strain + strain.T) / 2
    atoms.set_cell(np.round(lattice * atoms.cell.array @ deformation, DECIMALS), scale_atoms=True)
    atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.15), size=(len(atoms), 3))
    atoms.positions = np.round(atoms.positions, DECIMALS) + 0.0
    atoms.calc = EMT()
    return labelled(
        atoms,
        energy=atoms.get_potential_energy(),
        forces=atoms.get_forces(),
        stress=atoms.get_stress(voigt=False),
    )


def isolated_atom(symbol: str) -> Atoms:
    atoms = Atoms(symbol, [[0.0, 0.0, 0.0]], info={"config_type": "IsolatedAtom"})
    atoms.calc = EMT()
    return labelled(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())


def main() -> None:
    args = options(__doc__)
    frames = [periodic_frame(index) for index in range(FRAMES)[: args.frames]]
    write_frames(args.out / "periodic.xyz", [*(isolated_atom(symbol) for symbol in LATTICE), *frames])


if __name__ == "__main__":
    main()
