"""Extended XYZ in its common layout, read several times as fast as ASE does, and to the same bits.

    N
    Lattice="ax ay az bx ..." Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 pbc="T T T" key=value ...
    H  x y z  fx fy fz

Taken are files whose every part has one meaning: a symbol and columns of reals, values that are numbers, T and F,
or words that are neither. Anything else (other columns, escapes, brackets, objects, VEC lines, comments without
Properties) is left to ASE from that frame on: `readable` says how far this reader came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase.calculators.calculator import all_properties
from ase.data import atomic_numbers
from equic.runtime.errors import DataError

from .structure import Structure

_PAIR = re.compile(r'([A-Za-z0-9_-]+)=(?:"([^"\\]+)"|([^\s"\'{}\[\]\\=]+))(?:\s+|$)')
_WORD = re.compile(r"[^\s,]+")
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_REAL = re.compile(r"[+-]?(?:\d{1,18}|\d*\.\d+|\d+\.)(?:[eE][+-]?\d{1,3})?")
# no number begins like this, in any spelling; nan and inf may
_TEXT = re.compile(r"(?i)(?!nan|inf)[a-z]|\d+[b-dghj-mo-su-wz]")
_LOGICAL = {"T": True, "F": False, "true": True, "false": False} | {
    "True": True,
    "False": False,
    "TRUE": True,
    "FALSE": False,
}
_MATRICES = ("virial", "stress")
# what ASE keeps as results of a calculation, not as information, and what of it stays as it is written
_RESULTS = frozenset(all_properties)
_AS_WRITTEN = ("energy", "free_energy", "magmom")
# columns that ASE gives other names or another meaning
_SPECIAL = frozenset(
    (
        "Z",
        "numbers",
        "symbols",
        "positions",
        "charge",
        "charges",
        "initial_charges",
        "move_mask",
        "masses",
        "mass",
    )
)


class NotPlain(Exception):
    """This part of the file is for ASE to read."""


def read_plain(path: Path) -> Iterator[Structure]:
    """The structures of a file, one by one, up to the first that is not plain.

    Raises:
        NotPlain: the next structure, and all after it, are for ASE.
        DataError: frames after an empty line, which ASE would leave out without a word.
    """
    try:
        with path.open() as file:
            header = file.readline()
            while header.strip():
                count = _count(header)
                comment = file.readline()
                lines = [file.readline() for _ in range(count)]
                header = file.readline()
                if header.strip():
                    _count(
                        header
                    )  # lattice vectors may follow the atoms: then this frame is not plain either
                yield _structure(comment, lines)
            if header and (number := _text_after(file)):
                raise DataError(
                    f"{path}: an empty line ends the frames, but there is text {number} lines further on",
                    help="remove the empty line",
                )
    except UnicodeDecodeError:
        raise NotPlain from None


def _count(header: str) -> int:
    if not header.strip().isdecimal() or not header.isascii() or int(header) == 0:
        raise NotPlain
    return int(header)


def _text_after(file: TextIO) -> int:
    """How many lines further on the first line stands that is not empty; 0 where there is none."""
    return next((number for number, line in enumerate(file, 1) if line.strip()), 0)


def _structure(comment: str, lines: list[str]) -> Structure:
    found = _comment(comment)
    if "Properties" not in found:
        raise NotPlain
    names, widths = _columns(found.pop("Properties"))
    rows = [line.split() for line in lines]
    if {len(row) for row in rows} != {1 + sum(widths)}:
        raise NotPlain
    try:
        numbers = np.array([_atomic_number(row[0]) for row in rows], dtype=np.int64)
        table = np.array([list(map(float, row[1:])) for row in rows])
    except ValueError:
        raise NotPlain from None
    lattice, pbc = found.pop("Lattice", None), found.pop("pbc", None)
    if pbc is None:
        pbc = [lattice is not None] * 3
    if found.keys() & {*names, "numbers", "positions"}:
        raise NotPlain  # a key of the comment and a column by one name: which of them counts is ASE's matter
    start = 0
    for name, width in zip(names, widths, strict=True):
        column = table[:, start : start + width]
        found[name] = column[:, 0].copy() if width == 1 else column.copy()
        start += width
    positions = found.pop("pos")
    cell = np.zeros((3, 3)) if lattice is None else lattice
    return Structure(numbers, positions, cell, np.array(pbc, dtype=bool), found)


@lru_cache(maxsize=256)
def _atomic_number(symbol: str) -> int:
    if symbol.capitalize() not in atomic_numbers:
        raise NotPlain
    return int(atomic_numbers[symbol.capitalize()])


@lru_cache(maxsize=64)
def _columns(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and widths of the columns of reals behind the symbol."""
    fields = text.split(":")
    names, kinds, widths = fields[::3], fields[1::3], fields[2::3]
    plain = (
        len(fields) % 3 == 0
        and fields[:3] == ["species", "S", "1"]
        and set(kinds[1:]) == {"R"}
        and all(re.fullmatch("[1-9][0-9]?", width) for width in widths)
        and len(set(names)) == len(names)
        and not set(names) & _SPECIAL
        and dict(zip(names, widths, strict=True)).get("pos") == "3"
    )
    if not plain:
        raise NotPlain
    return tuple(names[1:]), tuple(int(width) for width in widths[1:])


def _comment(text: str) -> dict[str, Any]:
    """The keys of a comment line with their values."""
    text = text.strip()
    found: dict[str, Any] = {}
    place = 0
    while place < len(text):
        match = _PAIR.match(text, place)
        if match is None or not text.isascii():
            raise NotPlain
        key, place = match[1], match.end()
        value = match[2] or match[3]
        found[key] = value if key == "Properties" else _value(key, value)
    return found


def _value(key: str, text: str) -> Any:
    words = _WORD.findall(text)
    if not words or key.lower() == "uid":
        raise NotPlain
    if all(map(_REAL.fullmatch, words)):
        value = np.array([float(word) for word in words])
        if all(map(_WHOLE.fullmatch, words)):
            value = np.array([int(word) for word in words])
        return _number(key, value)
    if key in (*_MATRICES, "Lattice") or (key in _RESULTS and key not in _AS_WRITTEN):
        raise NotPlain
    logical = [_LOGICAL.get(word) for word in words]
    if None not in logical:
        if key == "pbc" and len(logical) != 3:
            raise NotPlain
        return logical[0] if len(logical) == 1 else logical
    if text.startswith("_JSON ") and key not in (*_RESULTS, "pbc"):
        return _json(text.removeprefix("_JSON "))
    # one word that is no number makes the whole a text
    if key == "pbc" or not _TEXT.match(words[0]):
        raise NotPlain
    return text


def _json(text: str) -> np.ndarray:
    """Numbers or logicals written as JSON, as ASE writes lists."""
    try:
        value = np.array(json.loads(text))
    except ValueError:
        raise NotPlain from None
    if value.dtype.kind not in "ifb":
        raise NotPlain
    return value


def _number(key: str, value: np.ndarray) -> Any:
    """Numbers in the shape that ASE gives them under this key."""
    if key in (*_MATRICES, "Lattice"):
        if value.shape != (9,):
            raise NotPlain
        matrix = value.reshape(3, 3)  # rows are lattice vectors
        if key == "Lattice":
            return matrix.astype(np.float64)
        matrix = matrix.T
        if key == "virial":
            return matrix
        return np.array([*matrix.diagonal(), matrix[1, 2], matrix[0, 2], matrix[0, 1]], dtype=np.float64)
    if key == "pbc":
        raise NotPlain
    if key in _RESULTS and key not in _AS_WRITTEN:
        if key != "dipole":
            raise NotPlain
        return value.astype(np.float64) if len(value) > 1 else np.array(value[0], dtype=np.float64)
    return value[0] if len(value) == 1 else value
