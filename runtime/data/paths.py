"""Files, and folders of data, that must exist."""

from __future__ import annotations

from pathlib import Path

from equic.runtime.errors import DataError

from .deepmd import is_deepmd
from .words import did_you_mean

# files of arrays; all others hold structures
HDF5 = (".h5", ".hdf5")
ARRAYS = (".npz", *HDF5)


def existing_file(path: str | Path) -> Path:
    """`path` as a Path: a file, or a folder of DeePMD systems.

    Raises:
        DataError: there is no such file; the message names what lies beside it.
    """
    path = Path(path)
    if path.is_file():
        return path
    if is_deepmd(path):
        return path
    if path.is_dir():
        raise DataError(
            f"{path} is a folder without data", help="folders of data are DeePMD systems, with a type.raw"
        )
    if not path.parent.is_dir():
        raise DataError(f"{path} does not exist", help=f"nor does its folder {path.parent}")
    beside = [item.name for item in path.parent.iterdir() if item.suffix == path.suffix]
    help = did_you_mean(path.name, beside, "beside it lie") if beside else None
    raise DataError(f"{path} does not exist", help=help)
