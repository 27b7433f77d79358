"""Structures from files in any format that ASE reads, and from folders in DeePMD's layout."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from equic.runtime.errors import DataError

from .deepmd import read_deepmd
from .paths import existing_file

if TYPE_CHECKING:
    from ase import Atoms


def read_structures(path: Path) -> Iterator[Atoms]:
    """The structures of a file, or of a folder in DeePMD's layout, one by one.

    Raises:
        DataError: the file is damaged, or in a format that ASE does not know; the message counts frames
            from 0.
    """
    if path.is_dir():
        yield from read_deepmd(path)
        return
    import ase.io

    number = 0
    structures = ase.io.iread(path, index=":")
    while True:
        try:
            atoms = next(structures)
        except StopIteration:
            return
        except Exception as error:  # every format of ASE fails in its own way
            where = f"{path}:frame {number}" if number else str(path)
            raise DataError(
                f"{where} cannot be read: {error or type(error).__name__}",
                help="data files are extended XYZ, or another format that ASE reads by its file name",
            ) from error
        yield atoms
        number += 1


def structures_of(path: str | Path, most: int | None = None) -> list[Atoms]:
    """The structures of a file (the first `most` of them), which must exist and hold at least one.

    Raises:
        DataError: no such file, an empty one, or one that cannot be read.
    """
    file = existing_file(Path(path))
    found = list(islice(read_structures(file), most))
    if not found:
        raise DataError(f"{file} holds no structures")
    return found
