"""Structures from files in any format that ASE reads, and from folders in DeePMD's layout."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from equic.runtime.errors import DataError

from .deepmd import read_deepmd
from .paths import existing_file
from .structure import Structure, structure_of

if TYPE_CHECKING:
    from ase import Atoms


def read_quickly(path: Path) -> Iterator[Structure]:
    """The structures of a file or folder, as `structure_of` those of `read_structures`, to the same bits.

    Extended XYZ in its common layout is read without ASE, in less than half the time.

    Raises:
        DataError: as `read_structures`.
    """
    from ase.io.formats import UnknownFileTypeError, filetype

    from .extxyz import NotPlain, read_plain

    number = 0
    try:
        # an `@` in a name is a choice of frames to ASE
        if path.is_file() and "@" not in path.name and filetype(str(path)) == "extxyz":
            for structure in read_plain(path):
                yield structure
                number += 1
            return
    except (NotPlain, UnknownFileTypeError):
        pass
    for atoms in read_structures(path, start=number):
        yield structure_of(atoms)


def read_structures(path: Path, start: int = 0) -> Iterator[Atoms]:
    """The structures of a file, or of a folder in DeePMD's layout, from number `start` on, one by one.

    Raises:
        DataError: the file is damaged, or in a format that ASE does not know; the message counts frames
            from 0.
    """
    if path.is_dir():
        yield from islice(read_deepmd(path), start, None)
        return
    import ase.io

    number = start
    structures = ase.io.iread(path, index=f"{start}:")
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
