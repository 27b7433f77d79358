"""Ethanol at 500 K with GFN2-xTB: free, and in a uniform electric field.

Writes three files in extended XYZ (Å, eV, eV/Å, e·Å, V/Å):

- `ethanol.xyz`: 400 configurations with energy (total), forces, dipole.
- `ethanol_field.xyz`: 300 configurations, each turned by its own random rotation, labelled in the field F
  = 1 V/Å · (1, 2, 2)/3, which is stored as `electric_field`. The field is the same for all frames and
  along no axis, so only rotations about it are a symmetry of these labels; it changes the forces by about
  0.2 eV/Å (RMS).
- `isolated_atoms.xyz`: the free atoms H, C, O in their ground multiplicities (1, 2 and 2 unpaired
  electrons), marked `config_type=IsolatedAtom`.

Sampling: Langevin dynamics (0.5 fs, friction 0.02/fs), 0.5 ps to equilibrate, then a configuration every
20 fs. Between configurations the state is put back on a grid (1e-4 Å, and the like for velocities): far
below thermal motion, far above rounding errors, so that another machine or library follows the same
trajectory instead of one that chaos has driven away. Labels are computed at exactly the positions that
the file holds.

Method: GFN2-xTB (bannwarth2019gfn2) as implemented in tblite, accuracy 0.01; sampling by ASE
(larsen2017ase). Needs the extra `data` (`pip install equic[data]`).

Run: python examples/data/make_ethanol.py        (about a minute on one core)
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: nine atoms gain nothing from threads

from collections.abc import Iterator

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from files import labelled, options, write_frames

TEMPERATURE = 500.0  # K
STEP = 0.5  # fs
STRIDE = 40  # steps between configurations: 20 fs
EQUILIBRATION = 1000  # steps
FRAMES, FIELD_FRAMES = 400, 300
GRID = 1e-4  # Å, and Å per ASE time unit
FIELD = 1.0 * np.array([1.0, 2.0, 2.0]) / 3.0  # V/Å
UNPAIRED = {"H": 1, "C": 2, "O": 2}


def gfn2(
    numbers: np.ndarray, positions: np.ndarray, field: np.ndarray | None = None, unpaired: int | None = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/Å) and dipole (e·Å) with GFN2-xTB, from a fresh guess each time.

    `field` is a uniform electric field in V/Å: E(F) = E(0) − μ·F − ..., so μ = −dE/dF.
    """
    from tblite.interface import Calculator as TightBinding

    calc = TightBinding("GFN2-xTB", numbers, positions / units.Bohr, uhf=unpaired)
    calc.set("verbosity", 0)
    calc.set("accuracy", 0.01)
    if field is not None:
        # hartree/(e bohr); a list, tblite refuses arrays here
        calc.add("electric-field", (np.asarray(field) * units.Bohr / units.Hartree).tolist())
    result = calc.singlepoint()
    return (
        float(result.get("energy")) * units.Hartree,
        -np.array(result.get("gradient")) * units.Hartree / units.Bohr,
        np.array(result.get("dipole")) * units.Bohr,
    )


class _GFN2(Calculator):
    """`gfn2` for ASE's dynamics; unlike tblite's own calculator it keeps no wavefunction between calls."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        energy, forces, _ = gfn2(self.atoms.numbers, self.atoms.positions)
        self.results = {"energy": energy, "forces": forces}


def sample(seed: int) -> Iterator[Atoms]:
    """Configurations at 500 K without a field, every 20 fs, centred, on the grid."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = _GFN2()
    start, noise = np.random.default_rng(seed).spawn(2)
    thermalize_momenta(atoms, TEMPERATURE, rng=start)
    dynamics = Langevin(
        atoms, STEP * units.fs, temperature_K=TEMPERATURE, friction=0.02 / units.fs, fixcm=False, rng=noise
    )
    for _ in range(EQUILIBRATION // STRIDE):
        dynamics.run(STRIDE)
        _snap(atoms)
    while True:
        dynamics.run(STRIDE)
        _snap(atoms)
        yield Atoms(atoms.numbers, atoms.positions)


def _snap(atoms: Atoms) -> None:
    atoms.positions = _on_grid(atoms.positions - atoms.get_center_of_mass())
    atoms.set_velocities(_on_grid(atoms.get_velocities()))


def _on_grid(values: np.ndarray) -> np.ndarray:
    return np.round(np.round(values / GRID) * GRID, 6) + 0.0


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation matrix, uniform over SO(3), from a random unit quaternion."""
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def free_frame(atoms: Atoms) -> Atoms:
    energy, forces, dipole = gfn2(atoms.numbers, atoms.positions)
    return labelled(atoms, energy=energy, forces=forces, dipole=dipole)


def field_frame(atoms: Atoms, rotation: np.ndarray) -> Atoms:
    atoms.positions = _on_grid(atoms.positions @ rotation.T)
    atoms.info["electric_field"] = np.round(FIELD, 10)
    energy, forces, dipole = gfn2(atoms.numbers, atoms.positions, atoms.info["electric_field"])
    return labelled(atoms, energy=energy, forces=forces, dipole=dipole)


def isolated_atom(symbol: str) -> Atoms:
    atoms = Atoms(symbol, [[0.0, 0.0, 0.0]], info={"config_type": "IsolatedAtom"})
    energy, forces, _ = gfn2(atoms.numbers, atoms.positions, unpaired=UNPAIRED[symbol])
    return labelled(atoms, energy=energy, forces=forces)


def main() -> None:
    args = options(__doc__)
    write_frames(args.out / "isolated_atoms.xyz", [isolated_atom(symbol) for symbol in UNPAIRED])
    free = sample(seed=0)
    write_frames(args.out / "ethanol.xyz", [free_frame(next(free)) for _ in range(FRAMES)[: args.frames]])
    turned, rng = sample(seed=1), np.random.default_rng(2)
    frames = [field_frame(next(turned), random_rotation(rng)) for _ in range(FIELD_FRAMES)[: args.frames]]
    write_frames(args.out / "ethanol_field.xyz", frames)


if __name__ == "__main__":
    main()
