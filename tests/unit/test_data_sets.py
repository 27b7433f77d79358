"""All data of a plan: files, splits, structures that occur twice, arrays of states."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from equic.runtime.data import (
    compute_statistics,
    load_sets,
)
from equic.runtime.errors import DataError
from equic.runtime.testing.data import displaced_molecules, with_data
from equic.runtime.testing.plans import hnn_plan

ENERGY = {"energy": {"key": "energy", "factor": 1.0}}
FORCES = {"forces": {"key": "forces", "factor": 1.0}}


class TestSets:
    def test_parts_are_cut_from_one_permutation(self, plan, saved):
        path = saved("a.xyz", displaced_molecules(20))
        sets = {
            "train": {"path": path, "labels": ENERGY},
            "validation": {"fraction": 0.2},
            "test": {"count": 3},
        }
        loaded = load_sets(with_data(plan, sets, seed=4))
        assert {name: len(frames) for name, frames in loaded.items()} == {
            "train": 13,
            "validation": 4,
            "test": 3,
        }
        sources = [frame.source for frames in loaded.values() for frame in frames]
        assert len(set(sources)) == 20
        again = load_sets(with_data(plan, sets, seed=4))
        other = load_sets(with_data(plan, sets, seed=5))
        names = lambda frames: [frame.source for frame in frames]  # noqa: E731
        assert names(again["validation"]) == names(loaded["validation"])
        assert names(other["validation"]) != names(loaded["validation"])

    def test_other_sets_inherit_labels(self, plan, saved):
        sets = {
            "train": {"path": saved("a.xyz", displaced_molecules(4)), "labels": ENERGY | FORCES},
            "validation": {"count": 1},
            "test": {"path": saved("b.xyz", displaced_molecules(2, seed=1))},
            "hot": {"path": saved("c.xyz", displaced_molecules(2, seed=2)), "labels": ENERGY},
        }
        loaded = load_sets(with_data(plan, sets))
        assert list(loaded) == ["train", "validation", "test", "hot"]
        assert loaded["test"][0].labels.keys() == {"energy", "forces"}
        assert loaded["hot"][0].labels.keys() == {"energy"}

    def test_nothing_left_to_train_on(self, plan, saved):
        path = saved("a.xyz", displaced_molecules(3))
        for part in ({"count": 3}, {"fraction": 0.99}):
            with pytest.raises(DataError, match="would leave none to train on"):
                load_sets(with_data(plan, {"train": {"path": path, "labels": ENERGY}, "validation": part}))

    def test_a_structure_in_two_files_is_an_error(self, plan, saved):
        frames = displaced_molecules(5)
        labels = ENERGY
        train = {"path": saved("train.xyz", frames), "labels": labels}
        test = {"path": saved("test.xyz", [*displaced_molecules(2, seed=1), frames[3]])}
        with pytest.raises(DataError, match="1 of the 3 structures of `test` is also in `train`: "):
            load_sets(with_data(plan, {"train": train, "test": test}))
        # the same file, on purpose
        notes: list[str] = []
        load_sets(with_data(plan, {"train": train, "again": dict(train)}), notes=notes)
        assert notes == [
            "5 of the 5 structures of `again` are also in `train` "
            "(for instance, train.xyz:frame 0 is train.xyz:frame 0)"
        ]
        # two test sets may share structures
        notes = []
        load_sets(
            with_data(
                plan,
                {
                    "train": {**train, "path": saved("x.xyz", displaced_molecules(2, 9))},
                    "test": test,
                    "few": train,
                },
            ),
            notes=notes,
        )
        assert notes == [
            "1 of the 5 structures of `few` is also in `test` (for instance, train.xyz:frame 3 is test.xyz:frame 2)"
        ]

    def test_repeats_within_the_training_file_are_noted(self, plan, saved):
        path = saved("a.xyz", displaced_molecules(3) * 4)
        notes: list[str] = []
        load_sets(
            with_data(plan, {"train": {"path": path, "labels": ENERGY}, "validation": {"count": 4}}),
            notes=notes,
        )
        assert len(notes) == 1
        assert "structures of `validation` " in notes[0]

    def test_isolated_atoms_from_a_file_of_their_own(self, plan, saved):
        atoms = [Atoms(symbol) for symbol in "HCON"]  # N is not needed
        for energy, item in enumerate(atoms):
            item.calc = SinglePointCalculator(item, energy=-1.0 - energy)
        path = saved("free.xyz", atoms)
        train = {"path": saved("a.xyz", displaced_molecules(4)), "labels": ENERGY}
        given = with_data(plan, {"train": train}, isolated_atoms={"path": path})
        notes: list[str] = []
        train_set = load_sets(given, notes=notes)["train"]
        assert len(train_set) == 4
        assert notes == [
            "3 isolated atoms (free.xyz:frame 0, free.xyz:frame 1, free.xyz:frame 2) not trained on"
        ]
        assert compute_statistics(given, train_set)["atomic_energies"] == [-1.0, -2.0, -3.0]
        for name, message in (("H2O", "has 3 atoms, expected an isolated one"), ("H", "has no `energy`")):
            wrong = saved("b.xyz", [molecule(name) if len(name) > 1 else Atoms(name)])
            with pytest.raises(DataError, match=f"b.xyz:frame 0 {message}"):
                load_sets(with_data(plan, {"train": train}, isolated_atoms={"path": wrong}))

    def test_plans_without_data(self, plan):
        with pytest.raises(DataError, match="comes without data"):
            load_sets(plan)
        with pytest.raises(DataError, match="has no training set"):
            load_sets(with_data(plan, {}))


class TestStates:
    @pytest.fixture
    def file(self, tmp_path):
        rng = np.random.default_rng(0)
        arrays = {
            "z": rng.normal(size=(10, 2)),
            "dz": rng.normal(size=(10, 2)),
            "t": np.arange(10.0),
            "trajectory": np.arange(10) // 5,
        }

        def save(name="a.npz", **changes):
            np.savez(tmp_path / name, **{k: v for k, v in (arrays | changes).items() if v is not None})
            return {
                "path": str(tmp_path / name),
                "state": "z",
                "labels": {"derivatives": {"key": "dz", "factor": 2.0}},
            }

        return save

    def test_states_with_labels_times_and_trajectories(self, file):
        spec = file()
        plan = with_data(hnn_plan(), {"train": spec, "validation": {"count": 3}, "test": file("b.npz")})
        sets = load_sets(plan)
        assert {name: len(states) for name, states in sets.items()} == {
            "train": 7,
            "validation": 3,
            "test": 10,
        }
        with np.load(spec["path"]) as raw:
            np.testing.assert_array_equal(sets["test"].state, raw["z"])
            np.testing.assert_array_equal(sets["test"].labels["derivatives"], 2 * raw["dz"])
            rows = np.concatenate([sets["train"].time, sets["validation"].time]).astype(int)
            assert sorted(rows) == list(range(10))
            for name in ("train", "validation"):
                rows = sets[name].time.astype(int)
                assert (np.diff(rows) > 0).all()
                np.testing.assert_array_equal(sets[name].state, raw["z"][rows])
                np.testing.assert_array_equal(sets[name].labels["derivatives"], 2 * raw["dz"][rows])
                np.testing.assert_array_equal(sets[name].trajectory, rows // 5)
        assert compute_statistics(plan, sets["train"]) == {}

    def test_times_and_trajectories_may_be_missing_or_another_thing(self, file):
        for changes in ({"t": None, "trajectory": None}, {"t": 3.0, "trajectory": np.array(["a"] * 10)}):
            states = load_sets(with_data(hnn_plan(), {"train": file(**changes)}))["train"]
            assert states.time is None
            assert states.trajectory is None

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"dz": None, "dz_dt": np.zeros((10, 2))}, "has no array `dz`\nhelp: did you mean `dz_dt`?"),
            ({"z": np.zeros((10, 3))}, r"`z` has shape \[10, 3\], expected \[states, 2\]"),
            ({"z": np.zeros((0, 2))}, r"`z` has shape \[0, 2\]"),
            ({"dz": np.zeros((9, 2))}, r"`dz` has shape \[9, 2\], expected \[10, 2\]"),
            ({"dz": np.full((10, 2), np.nan)}, "`dz` is not finite in row 0"),
            ({"dz": np.zeros((10, 2), dtype=complex)}, "`dz` holds complex128"),
            ({"dz": np.array([{}] * 10)}, "`dz` holds object"),
        ],
    )
    def test_what_is_wrong_is_named(self, file, changes, message):
        with pytest.raises(DataError, match=f"a.npz.*{message}"):
            load_sets(with_data(hnn_plan(), {"train": file(**changes)}))

    def test_files_that_are_no_npz(self, file, tmp_path):
        spec = file()
        np.save(tmp_path / "b.npy", np.zeros(3))
        (tmp_path / "c.npz").write_text("not a zip")
        (tmp_path / "d.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
        for name, message in (
            ("b.npy", "single array"),
            ("c.npz", "cannot be read"),
            ("d.npz", "cannot be read"),
        ):
            with pytest.raises(DataError, match=f"{name}.*{message}"):
                load_sets(with_data(hnn_plan(), {"train": {**spec, "path": str(tmp_path / name)}}))
