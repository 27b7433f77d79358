"""torch-sim: the batched layout against the ASE calculator; where torch-sim is installed, its own validation."""

import importlib.util
from functools import lru_cache

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.stress import voigt_6_to_full_3x3_stress
from equic.runtime.build import Model, build_module
from equic.runtime.calculators import EquicCalculator, torch_sim_model
from equic.runtime.calculators.torch_sim import BatchedForward
from equic.runtime.errors import EquicError
from equic.runtime.testing.plans import hnn_plan, mace_plan

HERE = importlib.util.find_spec("torch_sim") is not None
installed = pytest.mark.skipif(not HERE, reason="torch-sim is not installed (it needs Python 3.12)")
SPECIES = ("H", "C", "O", "Mg", "Si", "Fe")


@lru_cache
def built(stress: bool = True) -> Model:
    plan = mace_plan(
        channels=2, lmax=1, correlation=2, layers=1, widths=(8,), species=SPECIES, cutoff=3.5, stress=stress
    )
    model = build_module(plan, seed=1, dtype=torch.float64)
    energies = [-13.6, -1029.0, -2042.0, -5400.0, -7881.0, -34000.0]
    model.set_statistics({"average_neighbors": 9.0, "scale": 0.7, "atomic_energies": energies})
    return model


def solids() -> list[Atoms]:
    structures = [
        bulk("Si", "diamond", a=5.4, cubic=True),
        bulk("Fe", "bcc", a=2.87),
        bulk("Mg", "hcp", a=3.2, c=5.2),
    ]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=number)
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + 0.02 * np.arange(9).reshape(3, 3) / 9), scale_atoms=True
        )
    return structures


def packed(structures: list[Atoms]) -> dict[str, torch.Tensor]:
    return {
        "positions": torch.tensor(np.concatenate([atoms.positions for atoms in structures])),
        "cell": torch.tensor(np.stack([atoms.cell.array for atoms in structures])),
        "pbc": torch.tensor(structures[0].pbc),
        "numbers": torch.tensor(np.concatenate([atoms.numbers for atoms in structures])),
        "system": torch.repeat_interleave(
            torch.arange(len(structures)), torch.tensor([len(atoms) for atoms in structures])
        ),
    }


def check_against_ase(found: dict[str, torch.Tensor], structures: list[Atoms], tolerance: float) -> None:
    start = 0
    for number, atoms in enumerate(structures):
        atoms.calc = EquicCalculator(built(), device="cpu")
        end = start + len(atoms)
        assert float(found["energy"][number]) == pytest.approx(
            atoms.get_potential_energy(), rel=1e-12, abs=tolerance
        )
        np.testing.assert_allclose(found["forces"][start:end], atoms.get_forces(), atol=tolerance)
        np.testing.assert_allclose(found["energies"][start:end], atoms.get_potential_energies(), rtol=1e-7)
        if atoms.pbc.all():
            expected = voigt_6_to_full_3x3_stress(atoms.get_stress())
            np.testing.assert_allclose(found["stress"][number], expected, atol=tolerance)
        start = end


def test_a_batch_is_its_systems() -> None:
    check_against_ase(BatchedForward(built(), device="cpu")(**packed(solids())), solids(), 1e-10)
    molecules = [molecule("H2O"), molecule("CH3CH2OH"), molecule("O2")]
    found = BatchedForward(built(), device="cpu")(**packed(molecules))
    check_against_ase(found, molecules, 1e-10)
    assert not found["stress"].any()


def test_the_cell_of_what_does_not_repeat_plays_no_part() -> None:
    boxed = molecule("H2O")
    boxed.cell = [5.0, 5.0, 5.0]
    forward = BatchedForward(built(), device="cpu")
    a, b = forward(**packed([molecule("H2O")])), forward(**packed([boxed]))
    for name, value in a.items():
        torch.testing.assert_close(b[name], value)


def test_outputs_have_the_dtype_asked_for_and_no_gradients() -> None:
    inputs = packed(solids())
    inputs["positions"].requires_grad_()
    found = BatchedForward(built(), device="cpu", dtype=torch.float32)(**inputs)
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in found.values())


def test_what_torch_sim_cannot_run() -> None:
    with pytest.raises(EquicError, match="model of phase space"):
        BatchedForward(build_module(hnn_plan()))
    inputs = packed([Atoms("NH", positions=[[0, 0, 0], [0, 0, 1.0]])])
    with pytest.raises(EquicError, match="does not know N"):
        BatchedForward(built(), device="cpu")(**inputs)
    if not HERE:
        with pytest.raises(EquicError, match="pip install torch-sim-atomistic"):
            torch_sim_model(built())


@installed
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("stress", [True, False])
def test_its_own_validation_passes(dtype: torch.dtype, stress: bool) -> None:
    from torch_sim.models.interface import validate_model_outputs

    model = torch_sim_model(built(stress), device="cpu", dtype=dtype)
    assert model.compute_stress is stress
    validate_model_outputs(model, torch.device("cpu"), dtype)


@installed
def test_its_states_give_the_calculators_numbers() -> None:
    import torch_sim

    state = torch_sim.io.atoms_to_state(solids(), torch.device("cpu"), torch.float64)
    check_against_ase(torch_sim_model(built(), device="cpu")(state), solids(), 1e-10)


@installed
def test_it_moves_many_systems_at_constant_energy() -> None:
    """Total energies vary with the square of the time step, as velocity Verlet's do."""
    import torch_sim

    model, spreads = torch_sim_model(built(), device="cpu"), []
    for step in (2e-3, 1e-3):  # ps
        state = torch_sim.io.atoms_to_state(solids()[:1] * 2, torch.device("cpu"), torch.float64)
        state.rng = 0
        scale = torch.tensor(step * torch_sim.units.MetalUnits.time, dtype=torch.float64)
        state = torch_sim.nve_init(state, model, kT=torch.tensor(0.02, dtype=torch.float64))
        totals = []
        for _ in range(round(0.04 / step)):
            state = torch_sim.nve_step(state, model, dt=scale)
            moving = torch_sim.calc_kinetic_energy(
                masses=state.masses, momenta=state.momenta, system_idx=state.system_idx
            )
            totals.append(state.energy + moving)
        spreads.append(torch.stack(totals).std(dim=0))
    ratio = spreads[0] / spreads[1]
    assert bool(((ratio > 3.0) & (ratio < 5.5)).all()), ratio
