"""The reader of plain extended XYZ gives what ASE gives, bit for bit and type for type, or leaves it to ASE."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from equic.runtime.data.extxyz import NotPlain, read_plain
from equic.runtime.data.structure import Structure, structure_of
from equic.runtime.data.structures import read_quickly, read_structures
from equic.runtime.errors import DataError
from equic.runtime.testing.data import displaced_molecules
from hypothesis import given, settings
from hypothesis import strategies as st

PLAIN = "Properties=species:S:1:pos:R:3"
ATOMS = ["H 0.1 0.2 0.3", "O  1. -.5  1e-3", "c\t+2.25 3 4.5E+00"]


def text(comment: str, rows: list[str] | None = None) -> str:
    rows = ATOMS if rows is None else rows
    return "\n".join([str(len(rows)), comment, *rows, ""])


def same(one: object, other: object) -> bool:
    """Equal in type, dtype, shape and bits (NaN equals itself)."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        alike = type(one) is type(other) and one.dtype == other.dtype
        return alike and np.array_equal(one, other, equal_nan=one.dtype != object)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def assert_same(one: Structure, other: Structure) -> None:
    for name in ("numbers", "positions", "cell", "pbc"):
        assert same(getattr(one, name), getattr(other, name)), name
    assert one.found.keys() == other.found.keys()
    for key in one.found:
        assert same(one.found[key], other.found[key]), key


def plain_frames(path) -> int:
    """How many structures are read without ASE."""
    count = 0
    try:
        for _ in read_plain(path):
            count += 1
    except NotPlain:
        pass
    return count


def assert_reads_as_ase(path) -> int:
    ours, theirs = list(read_quickly(path)), [structure_of(atoms) for atoms in read_structures(path)]
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert_same(one, other)
    return plain_frames(path)


TAKEN = {
    "bare": PLAIN,
    "energy": f"{PLAIN} energy=-1.25e3",
    "whole energy": f"{PLAIN} energy=-7 free_energy=+3 step=007",
    "lattice": f'Lattice="5 0 0 0.5 6 0 0 0 7" {PLAIN}',
    "lattice and pbc": f'Lattice="5.0 0 0 0.5 6 0 0.1 0 7" {PLAIN} pbc="T F T"',
    "pbc alone": f'{PLAIN} pbc="F F F"',
    "stress and virial": f'{PLAIN} stress="1 2 3 4 5 6 7 8 9.5" virial="1 2 3 4 5 6 7 8 9"',
    "dipole": f'{PLAIN} dipole="1 2 3"',
    "vectors": f'{PLAIN} field="0.0 0.1,0.2" counts="1 2 3" one="4"',
    "logicals": f'{PLAIN} done=T some="T F true" none=False',
    "words": f"{PLAIN} config_type=IsolatedAtom comment=\"a [b] {{c}} = d, 'e'\" name=x-1/2",
    "words with numbers": f"{PLAIN} config_type=300K_MD run=10b7",
    "JSON of numbers": f'{PLAIN} dihedrals="_JSON [209.44, 80.54]" tags="_JSON [[1, 2], [3, 4]]" on="_JSON [true]"',
    "twice": f"{PLAIN} energy=1.0 energy=2.0",
    "spaces": f"   {PLAIN}\tenergy=2.0   ",
}
LEFT = {
    "no properties": "a comment",
    "empty comment": "",
    "escape": f'{PLAIN} name="a\\"b"',
    "brackets": f"{PLAIN} field=[1 2 3]",
    "JSON of words": f"{PLAIN} tags='_JSON [\"a\"]'",
    "JSON with nothing": f'{PLAIN} tags="_JSON [1, null]"',
    "no value": f"{PLAIN} energy=1.0 relaxed",
    "uid": f"{PLAIN} uid=123",
    "infinite": f"{PLAIN} energy=inf gap=nan",
    "underscore": f"{PLAIN} run=1_000 name=_x",
    "spaces around =": f"{PLAIN} energy = 1.0",
    "empty value": f'{PLAIN} name=""',
    "pbc of numbers": f'{PLAIN} pbc="1 1 0"',
    "large number": f"{PLAIN} seed=1234567890123456789",
    "not ascii": f"{PLAIN} temperature=300° ",
    "key of a result": f"{PLAIN} magmoms=3",
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_plain_is_read_without_ase(tmp_path, name):
    (tmp_path / "a.xyz").write_text(text(TAKEN[name]) * 2)
    assert assert_reads_as_ase(tmp_path / "a.xyz") == 2


@pytest.mark.parametrize("name", LEFT)
def test_the_rest_is_read_by_ase_from_the_first_frame_that_needs_it(tmp_path, name):
    (tmp_path / "a.xyz").write_text(text(PLAIN) + text(LEFT[name]) + text(f"{PLAIN} energy=1.0"))
    assert assert_reads_as_ase(tmp_path / "a.xyz") == 1


@pytest.mark.parametrize(
    ("columns", "row", "taken"),
    [
        ("forces:R:3:charge_of:R:1", "1 2 3 0.5", True),
        ("magmoms:R:1:velo:R:3", "0.5 1 2 3", True),
        ("q:R:9", "1 2 3 4 5 6 7 8 9", True),
        ("forces:R:3", "nan inf -Infinity", True),
        ("forces:R:3", "1 2 3 behind", False),
        ("tag:I:1", "4", False),
        ("name:S:1", "a", False),
        ("charge:R:1", "0.5", False),
        ("initial_charges:R:1", "0.5", False),
        ("masses:R:1", "2.5", False),
        ("move_mask:L:3", "T F T", False),
    ],
)
def test_columns(tmp_path, columns, row, taken):
    (tmp_path / "a.xyz").write_text(text(f"{PLAIN}:{columns} energy=1", [f"{atom} {row}" for atom in ATOMS]))
    assert assert_reads_as_ase(tmp_path / "a.xyz") == int(taken)


def test_what_ase_writes(tmp_path):
    for stress in (True, False):
        frames = displaced_molecules(3, stress=stress)
        for atoms in frames:
            atoms.info |= {"config_type": "liquid", "field": np.array([0.1, 0.2, 0.3]), "step": 4}
            atoms.arrays["dft_forces"] = atoms.get_forces()
        ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
        assert assert_reads_as_ase(tmp_path / "a.xyz") == 3


WORD = st.sampled_from(
    [
        "1",
        "-2.5",
        "1e400",
        "T",
        "false",
        "abc",
        "x1",
        "nan",
        "Infinite",
        "0x1",
        "1.5f",
        "7.",
        "+.5e-3",
        "1d0",
        "300K_MD",
        "10b",
        "2e5f",
        "1_0",
        "٣",
    ]
)
VALUE = st.one_of(WORD, st.lists(WORD, min_size=1, max_size=9).map(lambda words: f'"{" ".join(words)}"'))
KEY = st.sampled_from(
    ["energy", "stress", "dipole", "pbc", "Lattice", "name", "free_energy", "forces", "a-b", "pos"]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEY, VALUE, max_size=4))
def test_values_of_every_kind(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("odd") / "a.xyz"
    path.write_text(
        text(" ".join([PLAIN, *(f"{key}={value}" for key, value in pairs.items())])), encoding="utf-8"
    )
    try:
        theirs = [structure_of(atoms) for atoms in read_structures(path)]
    except DataError:
        with pytest.raises(DataError):
            list(read_quickly(path))
        return
    ours = list(read_quickly(path))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert_same(one, other)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_to_the_last_bit(number):
    from equic.runtime.data.extxyz import _value

    assert same(_value("x", repr(number)), np.array([repr(number)], dtype=float)[0])


def test_lattice_vectors_behind_the_atoms_are_for_ase(tmp_path):
    first = text(PLAIN) + "VEC1 5 0 0\nVEC2 0 5 0\nVEC3 0 0 5\n"
    (tmp_path / "a.xyz").write_text(text(PLAIN) + first)
    assert assert_reads_as_ase(tmp_path / "a.xyz") == 1


def test_a_damaged_frame_is_named(tmp_path):
    (tmp_path / "a.xyz").write_text(text(PLAIN) * 2 + text(PLAIN, ["H 0 0"]))
    with pytest.raises(DataError, match="frame 2 cannot be read"):
        list(read_quickly(tmp_path / "a.xyz"))


def test_frames_behind_an_empty_line_are_not_lost(tmp_path):
    (tmp_path / "a.xyz").write_text(text(PLAIN) + "\n \n" + text(PLAIN))
    assert len(list(read_structures(tmp_path / "a.xyz"))) == 1
    with pytest.raises(DataError, match="an empty line ends the frames"):
        list(read_quickly(tmp_path / "a.xyz"))
    (tmp_path / "a.xyz").write_text(text(PLAIN) + "\n \n\n")
    assert assert_reads_as_ase(tmp_path / "a.xyz") == 1
