"""Neighbour lists against brute force over images, against ASE, and under motion."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list as ase_neighbor_list
from equic.runtime.data import frame_from_atoms
from equic.runtime.errors import DataError
from equic.runtime.neighbors import VerletList, model_inputs, neighbor_list
from equic.runtime.testing.plans import hnn_plan, mace_plan
from hypothesis import given, settings
from hypothesis import strategies as st

PBC = list(itertools.product([False, True], repeat=3))


def brute_force(positions, cell, pbc, cutoff) -> list[tuple[int, ...]]:
    """Every pair with every image that could matter, in the promised order."""
    # |S_k| <= (cutoff + extent) times the k-th column's length of the inverse cell
    reach = (cutoff + np.linalg.norm(np.ptp(positions, axis=0))) * np.linalg.norm(np.linalg.inv(cell), axis=0)
    ranges = [
        np.arange(-n, n + 1) if periodic else [0] for n, periodic in zip(np.ceil(reach), pbc, strict=True)
    ]
    images = np.array(list(itertools.product(*ranges)), dtype=float)
    found = []
    for target, source in itertools.product(range(len(positions)), repeat=2):
        lengths = np.linalg.norm(positions[target] - positions[source] - images @ cell, axis=1)
        near = images[(lengths < cutoff) & ((target != source) | images.any(axis=1))]
        found += [(target, source, *map(int, image)) for image in near]
    return found


def as_tuples(edges, shifts) -> list[tuple[int, ...]]:
    return [(int(i), int(j), *map(int, s)) for j, i, s in zip(edges[0], edges[1], shifts, strict=True)]


@st.composite
def structures(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = int(rng.integers(1, 9))
    cell = np.diag(rng.uniform(1.5, 5.0, size=3)) + rng.uniform(-0.7, 0.7, size=(3, 3))
    cell[0] *= rng.choice([-1, 1])  # left-handed cells too
    pbc = np.array(draw(st.sampled_from(PBC[::-1])))
    # unwrapped: up to two cells outside
    positions = rng.uniform(-2, 3, size=(count, 3)) @ cell
    return positions, cell, pbc, rng.uniform(1.5, 7.0)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(structures())
def test_all_pairs_in_order_as_brute_force_finds_them(structure):
    positions, cell, pbc, cutoff = structure
    edges, shifts = neighbor_list(positions, cell, pbc, cutoff)
    assert edges.dtype == np.int64
    assert shifts.dtype == np.float64
    assert edges.shape == (2, len(shifts))
    assert as_tuples(edges, shifts) == brute_force(positions, cell, pbc, cutoff)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(structures())
def test_the_same_pairs_as_ase(structure):
    positions, cell, pbc, cutoff = structure
    atoms = Atoms("X" * len(positions), positions, cell=cell, pbc=pbc)
    i, j, s = ase_neighbor_list("ijS", atoms, cutoff)
    expected = sorted((int(a), int(b), *map(int, image)) for a, b, image in zip(i, j, s, strict=True))
    assert as_tuples(*neighbor_list(positions, cell, pbc, cutoff)) == expected


def test_silicon_in_a_cell_narrower_than_the_cutoff():
    """The primitive cell (2 atoms, 2.7 Å wide) has the shells of the crystal: 4, 12 and 12 within 5 Å."""
    atoms = bulk("Si", "diamond", a=5.43)
    edges, shifts = neighbor_list(atoms.positions, atoms.cell, True, 5.0)
    assert np.bincount(edges[1]).tolist() == [28, 28]
    vectors = atoms.positions[edges[1]] - atoms.positions[edges[0]] - shifts @ atoms.cell
    lengths = np.sort(np.linalg.norm(vectors, axis=1))
    a = 5.43
    expected = [np.sqrt(3) / 4 * a] * 8 + [np.sqrt(2) / 2 * a] * 24 + [np.sqrt(11) / 4 * a] * 24
    np.testing.assert_allclose(lengths, expected, rtol=1e-12)
    # the vectors of the two directions of each pair cancel
    assert abs(vectors.sum(axis=0)).max() < 1e-12


@pytest.mark.parametrize("pbc", PBC)
def test_rows_of_directions_that_do_not_repeat_play_no_part(pbc):
    rng = np.random.default_rng(0)
    positions = rng.uniform(-4, 4, size=(6, 3))
    cell = np.diag([3.0, 3.5, 4.0])
    expected = as_tuples(*neighbor_list(positions, cell, pbc, 3.0))
    for other in (np.zeros(3), np.array([1e3, 0, 0]), rng.normal(size=3)):
        changed = np.where(np.array(pbc)[:, None], cell, other)
        assert as_tuples(*neighbor_list(positions, changed, pbc, 3.0)) == expected


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_see(count):
    edges, shifts = neighbor_list(np.zeros((count, 3)), np.zeros((3, 3)), False, 5.0)
    assert edges.shape == (2, 0)
    assert shifts.shape == (0, 3)


def test_pairs_at_exactly_the_cutoff_do_not_count():
    positions = [[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]
    assert neighbor_list(positions, np.zeros((3, 3)), False, 3.0)[0].shape == (2, 0)
    assert neighbor_list(positions, np.zeros((3, 3)), False, np.nextafter(3.0, 4))[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("positions", "cell", "pbc", "message"),
    [
        ([[0, 0, 0], [1, 0, 0], [0, 0, 0]], np.zeros((3, 3)), False, "atoms 0 and 2 are in the same place"),
        (
            [[0, 0, 0], [4, 0, 0]],
            4 * np.eye(3),
            True,
            "atoms 0 and 1 are in the same place .one of them in a periodic",
        ),
        ([[0, 0, 0], [np.nan, 0, 0]], np.zeros((3, 3)), False, "the position of atom 1 is not finite"),
        (np.full((9, 3), np.inf), np.zeros((3, 3)), False, "atoms 0, 1, 2, 3, 4 and 4 more is not finite"),
        ([[0, 0, 0]], np.zeros((3, 3)), True, "lattice vectors are not independent"),
        ([[0, 0, 0]], [[1, 0, 0], [2, 0, 0], [0, 0, 1]], [True, True, False], "lattice vectors are not"),
        ([[0, 0, 0]], np.full((3, 3), np.nan), True, "the cell is not finite"),
        ([[0, 0]], np.zeros((3, 3)), False, r"positions have shape \[1, 2\]"),
        ([[0, 0, 0]], np.zeros(3), False, r"the cell has shape \[3\]"),
    ],
)
def test_what_cannot_be_searched_is_refused(positions, cell, pbc, message):
    with pytest.raises(DataError, match=f"^a.xyz:frame 4: .*{message}"):
        neighbor_list(positions, cell, pbc, 3.0, where="a.xyz:frame 4")


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf])
def test_a_cutoff_is_a_positive_length(cutoff):
    with pytest.raises(DataError, match="cutoff must be a positive length"):
        neighbor_list([[0, 0, 0]], np.zeros((3, 3)), False, cutoff)


@pytest.mark.parametrize("pbc", [False, True, (True, True, False)])
@pytest.mark.parametrize("skin", [0.0, 0.4, 2.0])
def test_a_verlet_list_is_the_list_at_every_step(pbc, skin):
    rng = np.random.default_rng(1)
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.set_cell(atoms.cell.array + rng.uniform(-0.2, 0.2, size=(3, 3)), scale_atoms=True)
    neighbours = VerletList(4.0, skin)
    positions = atoms.positions + rng.normal(scale=0.1, size=(len(atoms), 3))
    for _ in range(40):
        positions = positions + rng.normal(scale=0.03, size=positions.shape)
        edges, shifts = neighbours.update(positions, atoms.cell, pbc, atoms.numbers)
        fresh_edges, fresh_shifts = neighbor_list(positions, atoms.cell, pbc, 4.0)
        assert np.array_equal(edges, fresh_edges)
        assert np.array_equal(shifts, fresh_shifts)
    assert neighbours.searches == 40 if skin == 0 else 0 < neighbours.searches < (30 if skin < 1 else 6)


def test_a_verlet_list_searches_anew_when_the_structure_is_another():
    positions, cell, numbers = np.array([[0.0, 0, 0], [1, 0, 0]]), 8 * np.eye(3), np.array([1, 8])
    neighbours = VerletList(3.0, 1.0)
    steps = [
        (positions, cell, True, numbers, 1),
        (positions + [0.49, 0, 0], cell, True, numbers, 1),  # less than half the skin
        (positions + [0.51, 0, 0], cell, True, numbers, 2),
        (positions + [0.51, 0, 0], cell * 1.001, True, numbers, 3),
        (positions + [0.51, 0, 0], cell * 1.001, [True, True, False], numbers, 4),
        (positions + [0.51, 0, 0], cell * 1.001, [True, True, False], numbers[::-1], 5),
        (positions[:1], cell * 1.001, [True, True, False], numbers[:1], 6),
        (positions[:1], cell * 1.001, False, numbers[:1], 7),
        (positions[:1], cell, False, numbers[:1], 7),  # a cell that nothing repeats by plays no part
    ]
    for points, box, pbc, kinds, searches in steps:
        edges, shifts = neighbours.update(points, box, pbc, kinds)
        assert as_tuples(edges, shifts) == as_tuples(*neighbor_list(points, box, pbc, 3.0))
        assert neighbours.searches == searches


def test_a_verlet_list_keeps_no_hold_on_the_callers_arrays():
    """Simulations move atoms in place."""
    positions = np.array([[0.0, 0, 0], [3.2, 0, 0]])
    neighbours = VerletList(3.0, 0.3)
    assert neighbours.update(positions, np.zeros((3, 3)), False)[0].shape == (2, 0)
    positions[1, 0] = 2.0
    assert neighbours.update(positions, np.zeros((3, 3)), False)[0].shape == (2, 2)


def test_model_inputs_of_a_mixed_batch():
    plan = mace_plan(species=("H", "C", "O", "Cu"), cutoff=3.0)
    water = molecule("CH3OH")
    water.set_cell([9.0, 9.0, 9.0])  # a cell that nothing repeats by
    copper = bulk("Cu")
    slab = bulk("Cu", cubic=True)
    slab.pbc = [True, True, False]
    single = Atoms("H")
    empty = Atoms()
    batch = [water, copper, slab, single, empty, frame_from_atoms(copper, plan, source="here")]
    inputs = model_inputs(batch, plan)
    assert {name: value.dtype for name, value in inputs.items()} == {
        "positions": torch.float64,
        "species": torch.int64,
        "cell": torch.float64,
        "system": torch.int64,
        "edges": torch.int64,
        "shifts": torch.float64,
    }
    assert inputs["system"].tolist() == [0] * 6 + [1] + [2] * 4 + [3] + [5]
    assert inputs["species"].tolist() == [1, 2, 0, 0, 0, 0] + [3] * 5 + [0, 3]
    assert inputs["cell"].shape == (6, 3, 3)
    for k in (0, 3, 4):
        assert not inputs["cell"][k].any()
    np.testing.assert_array_equal(inputs["cell"][2], slab.cell.array)
    source, target = inputs["edges"]
    assert torch.equal(inputs["system"][source], inputs["system"][target])
    assert (target.diff() >= 0).all()
    v = inputs["positions"][target] - inputs["positions"][source]
    v = v - torch.einsum("ek,ekl->el", inputs["shifts"], inputs["cell"][inputs["system"][target]])
    d = ase_neighbor_list("d", slab, 3.0)
    np.testing.assert_allclose(
        np.sort(v.norm(dim=1)[inputs["system"][target] == 2].numpy()), np.sort(d), rtol=1e-12
    )
    assert torch.bincount(target, minlength=13)[[6, 11, 12]].tolist() == [12, 0, 12]


def test_model_inputs_names_the_structure_at_fault():
    plan = mace_plan(species=("H", "O"))
    with pytest.raises(DataError, match=r"structure 1 contains C, N; `.*` knows only H, O"):
        model_inputs([molecule("H2O"), molecule("HCN")], plan)
    with pytest.raises(DataError, match="structure 0: atoms 0 and 1 are in the same place"):
        model_inputs([Atoms("H2")], plan)
    with pytest.raises(DataError, match="at least one structure"):
        model_inputs([], plan)
    with pytest.raises(DataError, match="takes no atoms"):
        model_inputs([molecule("H2O")], hnn_plan())
