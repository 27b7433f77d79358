"""The ASE calculator: derivatives against differences, symmetry of the periodic picture, what it refuses."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from equic.runtime.build import build_module
from equic.runtime.calculators import EquicCalculator
from equic.runtime.errors import DataError, EquicError
from equic.runtime.testing.plans import hnn_plan, mace_plan
from hypothesis import given, settings
from hypothesis import strategies as st

MODEL = build_module(
    mace_plan(channels=4, lmax=2, correlation=2, layers=2, species=("H", "C", "O", "Si"), cutoff=3.5),
    seed=1,
    dtype=torch.float64,
)
MODEL.set_statistics({"average_neighbors": 8.0, "atomic_energies": [-13.6, -1029.0, -2042.0, -7881.0]})


def calculator(**settings) -> EquicCalculator:
    return EquicCalculator(MODEL, device="cpu", **settings)


def solid(seed: int = 0, repeat: tuple[int, int, int] = (1, 1, 1)) -> Atoms:
    """Silicon with random displacements, a random strain and an oxygen."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Si", "diamond", a=4.6, cubic=True)
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 0.08 * rng.normal(size=atoms.positions.shape)
    atoms.numbers[3] = 8
    return atoms.repeat(repeat)


def test_forces_are_differences_of_energies() -> None:
    for atoms in (molecule("CH3CH2OH"), solid(1)):
        atoms.calc = calculator()
        numeric = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 3, 5])
        np.testing.assert_allclose(atoms.get_forces()[[0, 3, 5]], numeric, atol=2e-6)


def test_stress_is_differences_of_energies() -> None:
    atoms = solid(2)
    atoms.calc = calculator()
    numeric = calculate_numerical_stress(atoms, eps=1e-5)
    analytic = atoms.get_stress()
    assert analytic.shape == (6,)
    np.testing.assert_allclose(analytic, numeric, atol=1e-7)
    assert np.abs(analytic).max() > 1e-3


def test_a_stretched_crystal_pulls_back() -> None:
    """The sign of the stress: where the energy rises with the volume, tension is positive."""
    atoms = solid(3)
    atoms.calc = calculator()
    energies = []
    for scale in (0.999, 1.001):
        strained = atoms.copy()
        strained.set_cell(atoms.cell * scale, scale_atoms=True)
        strained.calc = atoms.calc
        energies.append(strained.get_potential_energy())
    pressure_like = (energies[1] - energies[0]) / (3 * 0.002 * atoms.get_volume())
    assert atoms.get_stress()[:3].mean() == pytest.approx(pressure_like, rel=1e-3)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_atoms_may_be_moved_by_lattice_vectors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = solid(seed)
    atoms.calc = calculator()
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    moved = atoms.copy()
    moved.positions += rng.integers(-2, 3, size=(len(atoms), 3)) @ atoms.cell.array
    moved.translate(rng.normal(size=3))
    moved.calc = atoms.calc
    assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-8)
    np.testing.assert_allclose(moved.get_forces(), forces, atol=1e-9)
    np.testing.assert_allclose(moved.get_stress(), stress, atol=1e-11)


@pytest.mark.parametrize("repeat", [(2, 1, 1), (1, 2, 2)])
def test_supercells_are_extensive(repeat: tuple[int, int, int]) -> None:
    atoms, copies = solid(4), int(np.prod(repeat))
    atoms.calc = calculator()
    large = atoms.repeat(repeat)
    large.calc = calculator()
    assert large.get_potential_energy() == pytest.approx(copies * atoms.get_potential_energy(), rel=1e-13)
    np.testing.assert_allclose(large.get_forces(), np.tile(atoms.get_forces(), (copies, 1)), atol=1e-9)
    np.testing.assert_allclose(large.get_stress(), atoms.get_stress(), atol=1e-11)


def test_atomic_energies_sum_to_the_energy() -> None:
    atoms = solid(5)
    atoms.calc = calculator()
    energies = atoms.get_potential_energies()
    assert energies.shape == (len(atoms),)
    assert energies.sum() == pytest.approx(atoms.get_potential_energy(), rel=1e-14)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_the_skin_changes_nothing_and_saves_searches() -> None:
    rng = np.random.default_rng(0)
    atoms = solid(6)
    kept, fresh = calculator(skin=0.6), calculator(skin=0.0)
    for _ in range(15):
        atoms.positions += 0.03 * rng.normal(size=atoms.positions.shape)
        results = []
        for each in (kept, fresh):
            each.calculate(atoms, ["energy"])
            results.append(each.results)
        assert results[0]["energy"] == results[1]["energy"]
        np.testing.assert_array_equal(results[0]["forces"], results[1]["forces"])
    assert fresh.neighbors.searches == 15
    assert kept.neighbors.searches < 5


def test_every_change_of_the_atoms_is_seen() -> None:
    atoms = solid(7)
    atoms.calc = calculator()

    def fresh() -> float:
        copy = atoms.copy()
        copy.calc = calculator()
        return copy.get_potential_energy()

    seen = [atoms.get_potential_energy()]
    changes = (
        lambda: atoms.positions.__setitem__((0, 0), atoms.positions[0, 0] + 0.01),
        lambda: atoms.numbers.__setitem__(1, 8),
        lambda: atoms.set_cell(atoms.cell * 1.01, scale_atoms=False),
        lambda: setattr(atoms, "pbc", [True, True, False]),
        lambda: setattr(atoms, "pbc", False),
        lambda: atoms.append("C"),
    )
    for change in changes:
        change()
        if len(atoms) > 8:
            atoms.positions[-1] = [1.3, 1.3, 8.0]
        seen.append(atoms.get_potential_energy())
        assert seen[-1] == pytest.approx(fresh(), abs=1e-9)
    assert len({round(energy, 6) for energy in seen}) == len(seen)


def test_what_the_model_does_not_see_costs_nothing() -> None:
    atoms = molecule("CH3OH")
    atoms.calc = calculator()
    atoms.get_forces()
    atoms.calc.calculate = None  # a second call would fail
    atoms.set_initial_charges([0.1] * 6)
    atoms.set_initial_magnetic_moments([1.0] * 6)
    atoms.get_potential_energy()


def test_results_are_copies() -> None:
    atoms = molecule("CH3OH")
    atoms.calc = calculator()
    forces = atoms.get_forces()
    expected = forces.copy()
    forces[:] = 0.0
    np.testing.assert_array_equal(atoms.get_forces(), expected)


def test_stress_wants_three_periodic_directions() -> None:
    atoms = solid(8)
    atoms.calc = calculator()
    for pbc in (False, [True, True, False]):
        atoms.pbc = pbc
        atoms.get_forces()
        assert "stress" not in atoms.calc.results
        with pytest.raises(PropertyNotImplementedError, match="three directions"):
            atoms.get_stress()
    without = build_module(mace_plan(channels=2, lmax=1, layers=1, stress=False))
    bare = EquicCalculator(without, device="cpu")
    assert "stress" not in bare.implemented_properties
    water = molecule("H2O", vacuum=3.0, pbc=True)
    water.calc = bare
    with pytest.raises(PropertyNotImplementedError):
        water.get_stress()


def test_unknown_elements_are_named() -> None:
    atoms = molecule("CH3Cl")
    atoms[0].symbol = "N"
    atoms.calc = calculator()
    with pytest.raises(EquicError, match="does not know Cl, N") as caught:
        atoms.get_potential_energy()
    assert "H, C, O, Si" in str(caught.value)


def test_impossible_structures_are_refused() -> None:
    empty = Atoms()
    empty.calc = calculator()
    with pytest.raises(EquicError, match="no atoms"):
        empty.get_potential_energy()
    twice = Atoms("H2", positions=np.zeros((2, 3)))
    twice.calc = calculator()
    with pytest.raises(DataError, match="same place"):
        twice.get_potential_energy()
    lost = Atoms("H2", positions=[[0, 0, 0], [np.nan, 0, 0]])
    lost.calc = calculator()
    with pytest.raises(DataError, match="not finite"):
        lost.get_potential_energy()


def test_only_models_of_atoms_and_known_dtypes() -> None:
    with pytest.raises(EquicError, match="phase space"):
        EquicCalculator(build_module(hnn_plan()))
    with pytest.raises(EquicError, match="float32 or float64"):
        calculator(dtype="float16")


def test_a_lower_precision_leaves_the_model_alone() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = calculator()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    single = calculator(dtype="float32")
    assert single.model.dtype is torch.float32
    assert MODEL.dtype is torch.float64
    atoms.calc = single
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-4)
    assert atoms.get_forces().dtype == np.float64


def test_one_atom_alone_has_its_own_energy() -> None:
    atoms = Atoms("O", positions=[[1.0, 2.0, 3.0]])
    atoms.calc = calculator()
    far = Atoms("OO", positions=[[0.0, 0, 0], [0, 0, 50.0]])
    far.calc = calculator()
    assert 2 * atoms.get_potential_energy() == pytest.approx(far.get_potential_energy(), rel=1e-14)
    np.testing.assert_allclose(atoms.get_forces(), 0.0, atol=1e-12)
