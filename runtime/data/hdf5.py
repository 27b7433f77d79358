"""Arrays in HDF5 files, by the names that their datasets have. Needs h5py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from numpy.typing import NDArray


class Hdf5Arrays(Mapping[str, NDArray[Any]]):
    """The datasets of a file by name (`group/name` within groups); each is read when it is first asked for.

    Raises:
        DataError: h5py is not installed, or the file is damaged or in another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        names: list[str] = []

        def note(name: str, item: Any) -> None:
            if isinstance(item, _h5py().Dataset):
                names.append(name)

        with _opened(path) as file:
            file.visititems(note)
        self._names = tuple(names)
        self._read: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            with _opened(self.path) as file:
                try:
                    self._read[name] = np.asarray(file[name][()])
                except OSError as error:
                    raise DataError(f"{self.path.name}: `{name}` cannot be read: {error}") from error
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def write_hdf5(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as compressed datasets of these names.

    Raises:
        DataError: h5py is not installed.
    """
    with _h5py().File(path, "w") as file:
        for name, value in arrays.items():
            file.create_dataset(name, data=value, compression="gzip" if value.ndim else None)


def _opened(path: Path) -> Any:
    try:
        return _h5py().File(path, "r")
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error}", help="it must be an HDF5 file") from error


def _h5py() -> Any:
    try:
        return import_module("h5py")
    except ModuleNotFoundError:
        raise DataError(
            "HDF5 files need the package h5py, which is not installed",
            help='pip install "equic[data]", or save the arrays as npz',
        ) from None
