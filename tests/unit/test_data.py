"""Reading frames: where labels are found, how they are checked, and what is said when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from equic.runtime.data import (
    read_frames,
)
from equic.runtime.data.words import did_you_mean
from equic.runtime.errors import DataError
from equic.runtime.testing.data import displaced_molecules

ENERGY = {"energy": {"key": "energy", "factor": 1.0}}
FORCES = {"forces": {"key": "forces", "factor": 1.0}}
STRESS = {"stress": {"key": "stress", "factor": 1.0}}


class TestReading:
    def test_labels_are_found_wherever_ase_puts_them(self, plan, saved):
        frames = displaced_molecules(4, stress=True)
        path = saved("plain.xyz", frames)
        for atoms in frames:  # names that ASE does not know stay in info and arrays
            results, atoms.calc = atoms.calc.results, None
            atoms.info["dft_energy"] = results["energy"]
            atoms.arrays["dft_forces"] = results["forces"]
            xx, yy, zz, yz, xz, xy = results["stress"]
            atoms.info["dft_stress"] = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        renamed = saved("renamed.xyz", frames)
        labels = ENERGY | FORCES | STRESS
        ours = {key: {"key": f"dft_{key}", "factor": 1.0} for key in labels}
        a = read_frames(plan, {"path": path, "labels": labels})
        b = read_frames(plan, {"path": renamed, "labels": ours})
        assert len(a) == len(b) == 4
        for one, other, atoms in zip(a, b, frames, strict=True):
            assert one.labels["energy"] == other.labels["energy"] == pytest.approx(atoms.info["dft_energy"])
            np.testing.assert_allclose(one.labels["forces"], atoms.arrays["dft_forces"], atol=1e-7)
            np.testing.assert_allclose(one.labels["stress"], atoms.info["dft_stress"], rtol=1e-12)
            for target in labels:
                np.testing.assert_allclose(one.labels[target], other.labels[target], rtol=1e-12)
                assert one.labels[target].dtype == np.float64
            assert one.per_atom == {"forces"}
        assert a[2].source == "plain.xyz:frame 2"

    def test_labels_are_converted_by_their_factors(self, plan, saved):
        frames = displaced_molecules(2)
        labels = {"energy": {"key": "energy", "factor": 27.2}, "forces": {"key": "forces", "factor": -0.5}}
        read = read_frames(plan, {"path": saved("a.xyz", frames), "labels": labels})
        for frame, atoms in zip(read, frames, strict=True):
            assert frame.labels["energy"] == pytest.approx(27.2 * atoms.get_potential_energy(), rel=1e-12)
            np.testing.assert_allclose(frame.labels["forces"], -0.5 * atoms.get_forces(), atol=1e-7)

    def test_a_frame_is_the_structure_of_the_file(self, plan, saved):
        atoms = displaced_molecules(1, stress=True)[0]
        atoms.info["config_type"] = "liquid"
        frame = read_frames(plan, {"path": saved("a.xyz", [atoms]), "labels": ENERGY})[0]
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-8)
        np.testing.assert_allclose(frame.cell, atoms.cell.array, atol=1e-12)
        assert frame.pbc.all()
        assert frame.config_type == "liquid"
        assert [plan.system["species"][k] for k in frame.species] == atoms.get_chemical_symbols()
        again = frame.to_atoms()
        assert again.get_chemical_formula() == atoms.get_chemical_formula()
        np.testing.assert_array_equal(again.positions, frame.positions)
        vacuum = displaced_molecules(1)[0]
        vacuum.set_cell([50.0] * 3)  # as many files have it for molecules
        frame = read_frames(plan, {"path": saved("b.xyz", [vacuum]), "labels": ENERGY})[0]
        assert not frame.cell.any()

    @pytest.mark.parametrize("shape", ["matrix", "nine", "voigt"])
    def test_stress_in_the_shapes_of_the_field(self, plan, saved, shape):
        atoms = displaced_molecules(1, stress=True)[0]
        atoms.calc = None
        full = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
        atoms.info["s"] = {"matrix": full, "nine": full.reshape(9), "voigt": np.array([1.0, 4, 6, 5, 3, 2])}[
            shape
        ]
        labels = {"stress": {"key": "s", "factor": 0.5}}
        frame = read_frames(plan, {"path": saved("a.xyz", [atoms]), "labels": labels})[0]
        np.testing.assert_array_equal(frame.labels["stress"], full / 2)

    def test_progress_is_told_frame_by_frame(self, plan, saved):
        told = []
        spec = {"path": saved("a.xyz", displaced_molecules(3)), "labels": ENERGY}
        read_frames(plan, spec, progress=lambda *news: told.append(news))
        assert told == [("a.xyz", 1), ("a.xyz", 2), ("a.xyz", 3)]

    def test_isolated_atoms_are_kept_apart(self, plan, saved):
        frames = displaced_molecules(3)
        for symbol, word in (
            ("H", "IsolatedAtom"),
            ("C", "isolated_atom"),
            ("O", "bulk"),
            ("N", "IsolatedAtom"),
        ):
            atoms = Atoms(symbol, info={"config_type": word})
            atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)))
            frames.insert(1, atoms)
        read = read_frames(plan, {"path": saved("a.xyz", frames), "labels": ENERGY | FORCES})
        assert [frame.source for frame in read.isolated] == ["a.xyz:frame 3", "a.xyz:frame 4"]
        assert [len(frame) for frame in read] == [6, 1, 3, 5]


def test_a_partly_periodic_structure_keeps_its_cell(plan, saved):
    slab = bulk("C", "diamond", a=3.57, cubic=True)
    slab.pbc = [True, True, False]
    slab.info["e"] = 1.0
    labels = {"energy": {"key": "e", "factor": 1.0}}
    frame = read_frames(plan, {"path": saved("a.xyz", [slab]), "labels": labels})[0]
    np.testing.assert_allclose(frame.cell, slab.cell.array)
    assert not frame.shifts[:, 2].any()
    assert frame.shifts[:, :2].any()


def spoil(frames: list[Atoms], change) -> list[Atoms]:
    change(frames[1])
    return frames


class TestWhatIsWrongIsNamed:
    @pytest.mark.parametrize(
        ("change", "labels", "message", "help"),
        [
            (
                lambda atoms: atoms.calc.results.pop("energy"),
                ENERGY,
                "a.xyz:frame 1 has no `energy`",
                "did you mean `ref_energy`? its keys are: forces, ref_energy",
            ),
            (
                lambda atoms: atoms.calc.results.pop("forces"),
                FORCES,
                "a.xyz:frame 1 has no `forces`",
                "its keys are: energy, ref_energy",
            ),
            (
                lambda atoms: atoms.calc.results["forces"].__setitem__((0, 1), np.nan),
                FORCES,
                "a.xyz:frame 1: `forces` is not finite",
                "remove the frame",
            ),
            (
                lambda atoms: atoms.calc.results.update(energy=np.inf),
                ENERGY,
                "a.xyz:frame 1: `energy` is not finite",
                "",
            ),
            (
                lambda atoms: atoms.info.update(ref_energy="low"),
                {"energy": {"key": "ref_energy", "factor": 1.0}},
                "a.xyz:frame 1: `ref_energy` is not made of numbers: 'low'",
                "",
            ),
            (
                lambda atoms: atoms.info.update(ref_energy=np.ones(3)),
                {"energy": {"key": "ref_energy", "factor": 1.0}},
                "a.xyz:frame 1: `ref_energy` has shape [3], expected one number",
                "",
            ),
            (
                lambda atoms: atoms.arrays.update(f=np.ones((len(atoms), 2))),
                {"forces": {"key": "f", "factor": 1.0}},
                "a.xyz:frame 1: `f` has shape [3, 2], expected [3, 3]",
                "",
            ),
            (
                lambda atoms: atoms.info.update(s=np.ones(5)),
                {"stress": {"key": "s", "factor": 1.0}},
                "a.xyz:frame 1: `s` has shape [5], expected [3, 3] or [9] or [6]",
                "",
            ),
            (
                lambda atoms: atoms.info.update(s=np.arange(9.0).reshape(3, 3)),
                {"stress": {"key": "s", "factor": 1.0}},
                "a.xyz:frame 1: `s` is not symmetric",
                "symmetric part",
            ),
            (
                lambda atoms: atoms.symbols.__setitem__(0, "N"),
                ENERGY,
                "a.xyz:frame 1 contains N; `mace example` knows only H, C, O",
                "add the element to `species`",
            ),
            (
                lambda atoms: atoms.positions.__setitem__(0, atoms.positions[2]),
                ENERGY,
                "a.xyz:frame 1: atoms 0 and 2 are in the same place",
                "",
            ),
            (
                lambda atoms: atoms.positions.__setitem__(0, np.nan),
                ENERGY,
                "a.xyz:frame 1: the position of atom 0 is not finite",
                "",
            ),
        ],
    )
    def test_in_a_frame(self, plan, saved, change, labels, message, help):
        frames = displaced_molecules(3)
        for atoms in frames:
            atoms.info |= {"ref_energy": 1.0}
            atoms.info |= {"s": np.zeros(6)} if "stress" in labels else {}
            if labels.get("forces", {}).get("key") == "f":
                atoms.arrays["f"] = atoms.calc.results["forces"]
        path = saved("a.xyz", spoil(frames, change))
        with pytest.raises(DataError) as error:
            read_frames(plan, {"path": path, "labels": labels})
        assert error.value.message == message
        assert help in (error.value.help or "")

    def test_a_file_that_is_not_there(self, plan, saved, tmp_path):
        saved("train.xyz", displaced_molecules(1))
        with pytest.raises(DataError, match="does not exist") as error:
            read_frames(plan, {"path": str(tmp_path / "trian.xyz"), "labels": ENERGY})
        assert error.value.help == "did you mean `train.xyz`? beside it lie: train.xyz"
        with pytest.raises(DataError, match="is a folder"):
            read_frames(plan, {"path": str(tmp_path), "labels": ENERGY})
        with pytest.raises(DataError, match="does not exist") as error:
            read_frames(plan, {"path": str(tmp_path / "no" / "a.xyz"), "labels": ENERGY})
        assert "nor does its folder" in error.value.help

    def test_a_file_that_is_damaged(self, plan, saved, tmp_path):
        path = saved("a.xyz", displaced_molecules(3))
        lines = (tmp_path / "a.xyz").read_text().splitlines()
        for name, text in (
            ("cut.xyz", "\n".join(lines[:-2])),
            ("words.xyz", "this is no structure\n"),
            ("empty.xyz", ""),
        ):
            (tmp_path / name).write_text(text)
            with pytest.raises(DataError, match=rf"{name}.*(cannot be read|holds no frames)"):
                read_frames(plan, {"path": str(tmp_path / name), "labels": ENERGY})
        assert len(read_frames(plan, {"path": path, "labels": ENERGY})) == 3

    def test_labels_of_something_that_the_model_does_not_predict(self, plan, saved):
        labels = {"dipole": {"key": "dipole", "factor": 1.0}}
        with pytest.raises(DataError, match="labels for `dipole`") as error:
            read_frames(plan, {"path": saved("a.xyz", displaced_molecules(1)), "labels": labels})
        assert error.value.help == "its targets are: energy, forces, stress"

    def test_suggestions(self):
        assert did_you_mean("forces", ["REF_forces", "energy"], "keys").startswith(
            "did you mean `REF_forces`?"
        )
        assert did_you_mean("Energy", ["energy", "free_energy"], "keys").startswith("did you mean `energy`?")
        assert did_you_mean("frces", ["forces", "energy"], "keys").startswith("did you mean `forces`?")
        assert did_you_mean("stress", ["energy"], "keys") == "keys: energy"
        assert did_you_mean("stress", [], "keys") == "keys: none"
