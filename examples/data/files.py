"""What the scripts of this folder share: their two options, and files whose every digit is chosen."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

HERE = Path(__file__).resolve().parent
DECIMALS = 6  # of positions, cells and forces in extended XYZ
ENERGY_DECIMALS = 8


def options(description: str | None) -> argparse.Namespace:
    """Parse `--frames N` (only the first N of each file) and `--out DIR` (default: this folder)."""
    title = (description or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--frames", type=int, metavar="N", help="make only the first N of each file")
    parser.add_argument("--out", type=Path, default=HERE, metavar="DIR", help="where to write (this folder)")
    return parser.parse_args()


def labelled(
    atoms: Atoms,
    *,
    energy: float,
    forces: np.ndarray | None = None,
    dipole: np.ndarray | None = None,
    stress: np.ndarray | None = None,
) -> Atoms:
    """`atoms` with its labels, rounded to the decimals that the file will hold."""
    from ase.calculators.singlepoint import SinglePointCalculator

    labels: dict[str, object] = {"energy": round(float(energy), ENERGY_DECIMALS)}
    for name, value in (("forces", forces), ("dipole", dipole), ("stress", stress)):
        if value is not None:
            # + 0.0 turns -0.0 into 0.0, which would otherwise depend on the last bit of the machine
            labels[name] = np.round(value, ENERGY_DECIMALS if name == "stress" else DECIMALS) + 0.0
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write extended XYZ; positions must be rounded already, so that labels belong to what the file says."""
    from ase.io import write

    for atoms in frames:
        assert np.array_equal(atoms.positions, np.round(atoms.positions, DECIMALS))
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, list(frames), format="extxyz")  # eight decimals, which holds six exactly
    print(f"{path.name}: {len(frames)} frames, {path.stat().st_size / 1e3:.0f} kB")


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write a compressed npz; numpy puts no date in it, so equal arrays give equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in arrays.items())
    print(f"{path.name}: {shapes}, {path.stat().st_size / 1e3:.0f} kB")
