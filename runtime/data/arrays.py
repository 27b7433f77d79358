"""States of a mechanical system with their labels, read from npz or HDF5 files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .hdf5 import Hdf5Arrays, write_hdf5
from .labels import LabelError, output_of
from .paths import HDF5, existing_file
from .words import did_you_mean

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ArraySet:
    """M states of a mechanical system.

    Attributes:
        state: [M, D], coordinates in declared order, then momenta in the same order.
        labels: target → [M, dim] in the plan's units.
        time: [M] when each state was taken, where known.
        trajectory: [M] int64, which run each state belongs to, where known.
        source: the file.
    """

    state: Array
    labels: Mapping[str, Array]
    time: Array | None = None
    trajectory: NDArray[np.int64] | None = None
    source: str = ""

    def __len__(self) -> int:
        return len(self.state)

    def subset(self, rows: NDArray[np.int64]) -> ArraySet:
        """The states of these rows, in this order."""
        return ArraySet(
            self.state[rows],
            {target: value[rows] for target, value in self.labels.items()},
            None if self.time is None else self.time[rows],
            None if self.trajectory is None else self.trajectory[rows],
            self.source,
        )


def read_arrays(plan: Plan, spec: Mapping[str, Any]) -> ArraySet:
    """The states and labels of the file that `spec` names.

    `spec` is {path, state: key, labels: {target: {key, factor}}}. Times and trajectories are optional:
    keys `time` and `trajectory` name their arrays, else they are looked for as `t` and `trajectory`.

    Raises:
        DataError: no such file or array, pickled objects (refused: they can run code), wrong shapes,
            values that are not finite, or labels of something that the model does not predict.
    """
    path = existing_file(spec["path"])
    arrays = load_arrays(path)
    key = spec.get("state", "z")
    state = _numbers(arrays, key, path)
    dim = int(plan.system["dim"])
    if state.ndim != 2 or state.shape[1] != dim or len(state) == 0:
        raise LabelError(
            "shape",
            f"{path.name}: `{key}` has shape {list(state.shape)}, expected [states, {dim}]",
            help="a state is all coordinates in the order of the spec, then all momenta in the same order",
        )
    labels = {}
    for target, label in spec["labels"].items():
        value = _numbers(arrays, label["key"], path)
        width = plan.step(output_of(target, plan).step).dim
        shape = (len(state),) if width == 1 else (len(state), width)
        if value.shape != shape and not (width == 1 and value.shape == (len(state), 1)):
            message = f"{path.name}: `{label['key']}` has shape {list(value.shape)}, expected {list(shape)}"
            raise LabelError("shape", message)
        labels[target] = value.reshape(shape) * float(label["factor"])
    time = _column(arrays, spec.get("time"), "t", len(state), path)
    trajectory = _column(arrays, spec.get("trajectory"), "trajectory", len(state), path)
    runs = None if trajectory is None else trajectory.astype(np.int64)
    return ArraySet(state, labels, time, runs, path.name)


def load_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """Every array of an npz file; those of an HDF5 file (.h5, .hdf5) are read when they are asked for.

    Raises:
        DataError: the file is damaged or of another format, or h5py is missing.
    """
    if path.suffix in HDF5:
        return Hdf5Arrays(path)
    try:
        # np.load leaves a file that it opened itself open when it is damaged
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path.name} is a single array, not an npz file", help="use numpy.savez")
            return {name: _array(file, name) for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path.name} cannot be read: {error}",
            help="data files are npz or HDF5 files of plain arrays of numbers",
        ) from error


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, compressed: as HDF5 where the name ends in .h5 or .hdf5, else as npz.

    Raises:
        DataError: h5py is missing.
    """
    if path.suffix in HDF5:
        write_hdf5(path, arrays)
    else:
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _array(file: np.lib.npyio.NpzFile, name: str) -> NDArray[Any]:
    """One array; pickled objects are not opened, and refused when somebody asks for them."""
    try:
        return np.asarray(file[name])
    except ValueError:
        return np.empty(0, dtype=object)


def _numbers(arrays: Mapping[str, NDArray[Any]], key: str, path: Path) -> Array:
    if key not in arrays:
        help = did_you_mean(key, arrays, "its arrays are")
        raise LabelError("missing", f"{path.name} has no array `{key}`", help=help)
    if arrays[key].dtype.kind not in "fiu":
        message = f"{path.name}: `{key}` holds {arrays[key].dtype}, expected real numbers"
        raise LabelError("numbers", message)
    value = arrays[key].astype(np.float64)
    if not np.isfinite(value).all():
        row = int(np.argwhere(~np.isfinite(value))[0][0]) if value.ndim else 0
        raise LabelError("finite", f"{path.name}: `{key}` is not finite in row {row}")
    return value


def _column(
    arrays: Mapping[str, NDArray[Any]], key: str | None, default: str, rows: int, path: Path
) -> Array | None:
    """An optional [M] array; one under the default name may be another thing, and is passed over then."""
    if key is None:
        usable = (
            default in arrays and arrays[default].dtype.kind in "fiu" and arrays[default].shape == (rows,)
        )
        return _numbers(arrays, default, path) if usable else None
    value = _numbers(arrays, key, path)
    if value.shape != (rows,):
        message = f"{path.name}: `{key}` has shape {list(value.shape)}, expected [{rows}]"
        raise LabelError("shape", message)
    return value
