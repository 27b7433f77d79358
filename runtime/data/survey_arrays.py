"""What a file of states holds, for writing a first spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from equic.runtime.errors import DataError
from numpy.typing import NDArray

from .arrays import load_arrays
from .paths import existing_file

_STATES = ("z", "state", "states", "x", "y", "coords")
_RATES = ("dz", "dzdt", "dz_dt", "derivatives", "dstate", "dstates", "dx", "dxdt", "dy", "dcoords", "zdot")
_MOLECULES = frozenset(
    {"R", "E", "F", "nuclear_charges", "coords", "positions", "forces", "energies", "numbers"}
)


@dataclass(frozen=True, slots=True)
class ArraySurvey:
    """A file of states: the keys of states [M, D] and of their time derivatives (None if there are none)."""

    path: Path
    state: str
    derivatives: str | None
    rows: int
    dim: int


def survey_arrays(path: str | Path) -> ArraySurvey:
    """Find states [M, D], D even, and derivatives of the same shape, by the usual names, then by shape.

    Raises:
        DataError: no such file, not a file of arrays of numbers, or no states in it.
    """
    path = existing_file(path)
    arrays = load_arrays(path)
    tables = {key: one for key, one in arrays.items() if _is_table(one)}
    rates = [key for key in _RATES if key in tables]
    named = [key for key in _STATES if key in tables]
    others = [key for key in tables if key not in _RATES]
    if not named and not others:
        raise DataError(
            f"{path.name} has no array of states [states, coordinates and momenta]", help=_help(arrays)
        )
    state = (named or others)[0]
    shape = tables[state].shape
    fitting = [key for key in rates if tables[key].shape == shape]
    return ArraySurvey(path, state, fitting[0] if fitting else None, shape[0], shape[1])


def _is_table(array: NDArray[np.generic]) -> bool:
    return array.ndim == 2 and array.dtype.kind in "fiu" and array.shape[1] % 2 == 0 and array.size > 0


def _help(arrays: dict[str, NDArray[np.generic]]) -> str:
    shapes = ", ".join(f"{key} {list(one.shape)}" for key, one in sorted(arrays.items()))
    if len(_MOLECULES & arrays.keys()) >= 2:
        return f"it looks like molecules: write them as extended XYZ (ase.io.write); its arrays are: {shapes}"
    if {"q", "p"} <= arrays.keys():
        return "join `q` and `p` into one array: z = numpy.concatenate([q, p], axis=1)"
    return f"its arrays are: {shapes or 'none'}"
