"""Systems in DeePMD's layout: a folder of arrays, as structures.

    type.raw        one whole number per atom, a place in type_map.raw
    type_map.raw    the chemical symbols
    nopbc           (a file, maybe empty) nothing is periodic
    set.*/          coord.npy [F, 3N] Å, box.npy [F, 9] Å, energy.npy [F] eV, force.npy [F, 3N] eV/Å,
                    virial.npy [F, 9] eV (−V times the stress), and any others

Labels carry the names of their files. `force`, `spin`, `atomic_*` and the like have a row per atom.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from equic.runtime.errors import DataError
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

_PER_ATOM = ("force", "force_mag", "spin", "atom_ener", "atom_pref")
_GEOMETRY = ("coord", "box")


def is_deepmd(path: Path) -> bool:
    """Whether a folder is such a system, or holds some (at any depth)."""
    return path.is_dir() and next(path.rglob("type.raw"), None) is not None


def read_deepmd(path: Path) -> Iterator[Atoms]:
    """The frames of every system in a folder, systems and sets in the order of their names.

    Raises:
        DataError: a file that is missing or damaged, or arrays that do not fit each other; names the file.
    """
    for marker in sorted(path.rglob("type.raw")):
        yield from _system(marker.parent)


def _system(folder: Path) -> Iterator[Atoms]:
    from ase import Atoms

    symbols = _symbols(folder)
    periodic = not (folder / "nopbc").exists()
    sets = sorted(part for part in folder.glob("set.*") if part.is_dir())
    if not sets:
        raise DataError(f"{folder} has no folders set.*", help="they hold coord.npy and the labels")
    for part in sets:
        arrays = {file.stem: _array(file) for file in sorted(part.glob("*.npy"))}
        frames = _checked(part, arrays, len(symbols), periodic)
        for k in range(frames):
            cell = np.array(arrays["box"][k], dtype=np.float64).reshape(3, 3) if periodic else None
            positions = np.array(arrays["coord"][k], dtype=np.float64).reshape(-1, 3)
            atoms = Atoms(symbols, positions, cell=cell, pbc=periodic)
            for name, values in arrays.items():
                if name not in _GEOMETRY:
                    _attach(atoms, name, np.array(values[k], dtype=np.float64))
            yield atoms


def _symbols(folder: Path) -> list[str]:
    names = folder / "type_map.raw"
    if not names.is_file():
        raise DataError(
            f"{folder} has no type_map.raw", help="write the chemical symbols into it, one a line"
        )
    known = names.read_text(encoding="utf-8").split()
    try:
        types = [int(word) for word in (folder / "type.raw").read_text(encoding="utf-8").split()]
        return [known[k] for k in types]
    except (ValueError, IndexError):
        raise DataError(
            f"{folder / 'type.raw'} must hold numbers from 0 to {len(known) - 1}",
            help=f"type_map.raw has {len(known)} symbols: {', '.join(known)}",
        ) from None


def _array(file: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}", help="it must be an array of numbers") from error


def _checked(part: Path, arrays: dict[str, NDArray[Any]], atoms: int, periodic: bool) -> int:
    """The number of frames, which every array must have."""
    for name, width in (("coord", 3 * atoms), *((("box", 9),) if periodic else ())):
        if name not in arrays:
            raise DataError(f"{part} has no {name}.npy", help="a system without a cell has a file `nopbc`")
        if arrays[name].ndim != 2 or arrays[name].shape[1] != width:
            shape = list(arrays[name].shape)
            raise DataError(f"{part / name}.npy has shape {shape}, expected [frames, {width}]")
    frames = len(arrays["coord"])
    for name, values in arrays.items():
        if len(values) != frames:
            raise DataError(f"{part / name}.npy has {len(values)} rows, coord.npy {frames}")
        if _is_per_atom(name) and values[0].size % atoms:
            raise DataError(
                f"{part / name}.npy has {values[0].size} numbers a frame, and {atoms} atoms",
                help="values of some atoms only cannot be assigned: give one row for every atom",
            )
    return frames


def _is_per_atom(name: str) -> bool:
    return name in _PER_ATOM or name.startswith("atomic_")


def _attach(atoms: Atoms, name: str, values: NDArray[np.float64]) -> None:
    if _is_per_atom(name):
        atoms.arrays[name] = values.reshape(len(atoms), -1)
    else:
        atoms.info[name] = float(values.reshape(())) if values.size == 1 else values
