"""Arrays in HDF5 files: what npz files of the same arrays give, read when it is asked for."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from equic.runtime.data import load_sets
from equic.runtime.data.arrays import load_arrays, save_arrays
from equic.runtime.errors import DataError
from equic.runtime.testing.data import with_data
from equic.runtime.testing.plans import hnn_plan

from equic.commands_init import starting_text


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {"z": rng.normal(size=(10, 2)), "dz": rng.normal(size=(10, 2)), "t": np.arange(10.0)}


def plan_of(path):
    labels = {"derivatives": {"key": "dz", "factor": 2.0}}
    return with_data(hnn_plan(), {"train": {"path": str(path), "state": "z", "labels": labels}})


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch, arrays):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(b"")
    for work in (lambda path: load_sets(plan_of(path)), lambda path: save_arrays(path, arrays)):
        with pytest.raises(DataError, match=r'need the package h5py[\s\S]*pip install "equic\[data\]"'):
            work(tmp_path / "a.h5")


class TestWithH5py:
    @pytest.fixture(autouse=True)
    def h5py(self):
        return pytest.importorskip("h5py")

    @pytest.mark.parametrize("ending", ["h5", "hdf5"])
    def test_states_are_those_of_npz(self, tmp_path, arrays, ending):
        sets = []
        for name in ("a.npz", f"a.{ending}"):
            save_arrays(tmp_path / name, arrays)
            sets.append(load_sets(plan_of(tmp_path / name))["train"])
        np.testing.assert_array_equal(sets[0].state, sets[1].state)
        np.testing.assert_array_equal(sets[0].labels["derivatives"], sets[1].labels["derivatives"])
        np.testing.assert_array_equal(sets[0].time, sets[1].time)

    def test_only_what_is_asked_for_is_read(self, tmp_path, arrays, h5py):
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file["run/z"] = arrays["z"]
            file["note"] = "made by hand"
            file.create_dataset(
                "huge", shape=(10**9, 10**3), dtype="f8", chunks=(1000, 1000)
            )  # 8 TB of zeros
        found = load_arrays(path)
        assert sorted(found) == ["huge", "note", "run/z"]
        np.testing.assert_array_equal(found["run/z"], arrays["z"])
        assert found["run/z"] is found["run/z"]
        with pytest.raises(KeyError):
            found["z"]

    def test_what_is_wrong_is_named(self, tmp_path, arrays, h5py):
        (tmp_path / "b.h5").write_text("not HDF5")
        with pytest.raises(DataError, match=r"b\.h5 cannot be read"):
            load_sets(plan_of(tmp_path / "b.h5"))
        save_arrays(tmp_path / "c.h5", {"z": arrays["z"], "dz_dt": arrays["dz"]})
        with pytest.raises(DataError, match=r"c\.h5 has no array `dz`\nhelp: did you mean `dz_dt`?"):
            load_sets(plan_of(tmp_path / "c.h5"))
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file["z"], file["dz"] = arrays["z"], ["a"] * 10
        with pytest.raises(DataError, match=r"d\.h5: `dz` holds object, expected real numbers"):
            load_sets(plan_of(tmp_path / "d.h5"))

    def test_init_writes_a_spec_for_either(self, tmp_path):
        rng = np.random.default_rng(0)
        states = {"z": rng.normal(size=(10, 2)), "dz": rng.normal(size=(10, 2))}
        points = {"positions": rng.normal(size=(4, 5, 3)), "charge": rng.normal(size=(4, 5))}
        for name, arrays in (("states", states), ("points", points)):
            texts = []
            for ending in ("npz", "h5"):
                save_arrays(tmp_path / f"{name}.{ending}", arrays)
                texts.append(starting_text(str(tmp_path / f"{name}.{ending}"), tmp_path))
            assert texts[0].replace(".npz", ".h5") == texts[1]
