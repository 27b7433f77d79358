"""Reference energies and scales, against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from equic.runtime.build import build_module
from equic.runtime.data import (
    FrameSet,
    compute_statistics,
    load_sets,
    read_frames,
)
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from equic.runtime.testing.data import displaced_molecules, with_data

from ..small_specs import compiled, preset_text

ENERGY = {"energy": {"key": "energy", "factor": 1.0}}
FORCES = {"forces": {"key": "forces", "factor": 1.0}}


class TestStatistics:
    def frames(self, plan, saved, reference, noise: float = 0.0, **options) -> FrameSet:
        """Energies that are sums over atoms, but for noise."""
        rng = np.random.default_rng(3)
        molecules = displaced_molecules(12, **options)
        for atoms in molecules:
            energy = sum(reference[symbol] for symbol in atoms.get_chemical_symbols())
            atoms.calc.results["energy"] = energy + noise * rng.normal() * len(atoms)
        return read_frames(plan, {"path": saved("a.xyz", molecules), "labels": ENERGY | FORCES})

    def test_least_squares_finds_energies_per_atom(self, plan, saved):
        reference = {"H": -13.6, "C": -1030.0, "O": -2042.5}
        given, notes = with_data(plan, {}), []
        found = compute_statistics(given, frames := self.frames(plan, saved, reference), notes=notes)
        np.testing.assert_allclose(found["atomic_energies"], [-13.6, -1030.0, -2042.5], rtol=1e-12)
        assert abs(found["shift"]) < 1e-10
        assert notes == [
            "isolated-atom energies are a least-squares fit to the training energies, not energies of free atoms"
        ]
        # by hand
        pairs = sum(
            (np.linalg.norm(f.positions[:, None] - f.positions[None], axis=-1) < 3.0).sum() - len(f)
            for f in frames
        )
        forces = np.concatenate([f.labels["forces"] for f in frames])
        assert found["average_neighbors"] == pytest.approx(pairs / sum(map(len, frames)), rel=1e-14)
        assert found["scale"] == pytest.approx(np.linalg.norm(forces) / np.sqrt(forces.size), rel=1e-14)

    def test_one_composition_gives_the_smallest_solution(self, plan, saved):
        reference = {"H": -10.0, "C": -20.0, "O": -30.0}
        notes: list[str] = []
        frames = self.frames(plan, saved, reference, names=("CH3OH",))
        found = compute_statistics(with_data(plan, {}), frames, notes=notes)
        # e = c (c·c)^-1 E with counts c = (4, 1, 1), E = -90
        np.testing.assert_allclose(found["atomic_energies"], np.array([4, 1, 1]) / 18 * -90, rtol=1e-12)
        assert "the compositions fix only 1 of the 3 (H, C, O), the smallest solution is used" in notes[0]

    def test_given_energies_leave_a_shift(self, plan, saved):
        reference = {"H": -13.0, "C": -1030.0, "O": -2042.0}
        given = {"H": -12.0, "C": -1025.0, "O": -2040.0, "N": 0.0}
        frames = self.frames(plan, saved, reference, noise=0.1)
        found = compute_statistics(with_data(plan, {}, isolated_atoms=given), frames)
        assert found["atomic_energies"] == [-12.0, -1025.0, -2040.0]
        residual = [
            float(f.labels["energy"]) - sum(found["atomic_energies"][z] for z in f.species) for f in frames
        ]
        assert found["shift"] == pytest.approx(sum(residual) / sum(map(len, frames)), rel=1e-12)
        with pytest.raises(DataError, match="`isolated_atoms` has no energy for C, O"):
            compute_statistics(with_data(plan, {}, isolated_atoms={"H": 1.0}), frames)

    def test_one_scale_and_shift_for_each_species(self, saved):
        """Where a head says so: the forces' RMS by species, and the shifts that the energies were made of."""
        plan = Plan.from_json(compiled(preset_text("nequip", scale="species")).plan)
        reference, moved = {"H": -13.0, "C": -1030.0, "O": -2042.0}, {"H": -12.5, "C": -1031.5, "O": -2042.0}
        frames, notes = self.frames(plan, saved, reference), []
        found = compute_statistics(with_data(plan, {}, isolated_atoms=moved), frames, notes=notes)
        np.testing.assert_allclose(found["shift"], [-0.5, 1.5, 0.0], atol=1e-9)
        forces = np.concatenate([f.labels["forces"] for f in frames])
        kind = np.concatenate([f.species for f in frames])
        for z in range(3):
            assert found["scale"][z] == pytest.approx(np.sqrt(np.mean(forces[kind == z] ** 2)), rel=1e-12)
        build_module(plan).set_statistics(found)
        # no oxygen among them: the smallest shift, the common scale
        frames = self.frames(plan, saved, reference, names=("CH4", "C2H6"))
        found = compute_statistics(with_data(plan, {}, isolated_atoms=moved), frames, notes=notes)
        np.testing.assert_allclose(found["shift"], [-0.5, 1.5, 0.0], atol=1e-9)
        forces = np.concatenate([f.labels["forces"] for f in frames])
        assert found["scale"][2] == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-12)
        assert notes[-1] == "no forces on O in the training set: its energies have the common scale"

    def test_isolated_atoms_of_the_file(self, plan, saved):
        frames = displaced_molecules(3)
        for symbol, energy in (("O", -3.0), ("C", -2.0), ("H", -1.0)):
            atoms = Atoms(symbol, info={"config_type": "IsolatedAtom"})
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            frames.append(atoms)
        path = saved("a.xyz", frames)
        given = with_data(plan, {"train": {"path": path, "labels": ENERGY | FORCES}}, isolated_atoms="frames")
        train = load_sets(given)["train"]
        found = compute_statistics(given, train)
        assert found["atomic_energies"] == [-1.0, -2.0, -3.0]
        # as a plain list too
        assert compute_statistics(given, [*train, *train.isolated]) == found
        with pytest.raises(DataError, match="no isolated atom for H"):
            compute_statistics(given, FrameSet(train.frames, train.isolated[:2]))
        atoms.calc.results["energy"] = -1.5
        both = [*frames[:-1], atoms, frames[-1].copy()]
        both[-1].calc = SinglePointCalculator(both[-1], energy=-1.0)
        saved("a.xyz", both)
        with pytest.raises(
            DataError, match=r"frame 5 and a.xyz:frame 6 are both isolated H, with energies -1.5 and"
        ):
            compute_statistics(given, load_sets(given)["train"])

    def test_without_forces_and_without_energies(self, plan, saved):
        path = saved("a.xyz", displaced_molecules(6))
        given, notes = with_data(plan, {}), []
        energies = read_frames(plan, {"path": path, "labels": ENERGY})
        found = compute_statistics(given, energies)
        per_atom = [
            (f.labels["energy"] - sum(found["atomic_energies"][z] for z in f.species)) / len(f)
            for f in energies
        ]
        assert found["scale"] == pytest.approx(np.std(per_atom), rel=1e-12)
        forces = read_frames(plan, {"path": path, "labels": FORCES})
        found = compute_statistics(given, forces, notes=notes)
        assert (found["atomic_energies"], found["shift"]) == ([0.0, 0.0, 0.0], 0.0)
        assert notes == ["the training set has no energies: isolated-atom energies are taken as zero"]

    def test_no_neighbours_and_no_forces_leave_the_model_usable(self, plan, saved):
        atoms = Atoms("H")
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)))
        notes: list[str] = []
        frames = read_frames(plan, {"path": saved("a.xyz", [atoms]), "labels": ENERGY | FORCES})
        found = compute_statistics(with_data(plan, {}), frames, notes=notes)
        assert (found["average_neighbors"], found["scale"]) == (1.0, 1.0)
        assert len(notes) == 3

    def test_only_what_the_plan_asks_for_and_the_model_takes_it(self, plan, saved):
        frames = self.frames(plan, saved, {"H": -1.0, "C": -2.0, "O": -3.0})
        found = compute_statistics(with_data(plan, {}), frames)
        assert set(found) == set(plan.statistics)
        build_module(plan).set_statistics(found)
        fewer = Plan.from_json({**with_data(plan, {}).to_json(), "statistics": ["average_neighbors"]})
        assert set(compute_statistics(fewer, frames)) == {"average_neighbors"}
