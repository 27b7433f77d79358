"""Predictions: one by one or in batches, cut to structures, and as ASE keeps them."""

import io
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from equic.runtime import predict as module
from equic.runtime.build import Model, build_module
from equic.runtime.data import frame_from_atoms
from equic.runtime.errors import DataError
from equic.runtime.neighbors import model_inputs
from equic.runtime.predict import annotate, predict, predict_states, write_structures
from equic.runtime.testing.plans import hnn_plan, mace_plan


@pytest.fixture(scope="module")
def model() -> Model:
    plan = mace_plan(channels=4, lmax=1, correlation=2, layers=1, widths=(8,))
    model = build_module(plan, seed=2, dtype=torch.float64)
    model.set_statistics({"atomic_energies": [-1.0, -2.0, -3.0], "scale": 2.0})
    return model


@pytest.fixture(scope="module")
def structures() -> list[Atoms]:
    crystal = bulk("C", "diamond", a=3.6, cubic=True)
    crystal.rattle(0.05, seed=1)
    return [molecule("H2O"), crystal, molecule("CH3CH2OH"), Atoms("H")]


def test_batches_do_not_change_predictions(
    model: Model, structures: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = predict(model, structures, device="cpu")
    alone = [predict(model, [atoms], device="cpu")[0] for atoms in structures]
    pairs = predict(model, structures, batch=2, device="cpu")
    monkeypatch.setattr(module, "EDGES_PER_BATCH", 1)
    by_edges = predict(model, structures, device="cpu")
    for results in (together, pairs, by_edges):
        assert len(results) == len(structures)
        for found, expected in zip(results, alone, strict=True):
            assert found.keys() == expected.keys()
            for name in found:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-10)


def test_shapes_and_direct_evaluation(model: Model, structures: list[Atoms]) -> None:
    for atoms, found in zip(structures, predict(model, structures, device="cpu"), strict=True):
        outputs = model(model_inputs([atoms], model.plan))
        assert found["energy"].shape == ()
        assert found["forces"].shape == (len(atoms), 3)
        assert float(found["energy"]) == pytest.approx(float(outputs["energy"][0]), rel=1e-10)
        assert float(found["node_energy"].sum()) == pytest.approx(float(found["energy"]), rel=1e-10)
        assert ("stress" in found) == bool(atoms.pbc.all())
        if "stress" in found:
            np.testing.assert_allclose(found["stress"], outputs["stress"][0].numpy(), rtol=1e-9, atol=1e-12)


def test_frames_are_taken_as_they_are(model: Model, structures: list[Atoms]) -> None:
    frames = [frame_from_atoms(atoms, model.plan, source="x") for atoms in structures]
    for a, b in zip(
        predict(model, frames, device="cpu"), predict(model, structures, device="cpu"), strict=True
    ):
        assert np.array_equal(a["forces"], b["forces"])


def test_annotated_structures_survive_a_file(model: Model, structures: list[Atoms]) -> None:
    for atoms, found in zip(structures, predict(model, structures, device="cpu"), strict=True):
        annotated = annotate(atoms, found, model.plan)
        assert atoms.calc is None
        assert annotated.get_potential_energy() == float(found["energy"])
        file = io.StringIO()
        ase.io.write(file, annotated, format="extxyz")
        file.seek(0)
        again = ase.io.read(file, format="extxyz")
        assert isinstance(again, Atoms)
        np.testing.assert_allclose(again.get_forces(), found["forces"], atol=1e-7)
        if "stress" in found:
            np.testing.assert_allclose(annotated.get_stress(voigt=False), found["stress"], atol=1e-12)


def test_the_model_is_left_as_it_was(model: Model, structures: list[Atoms]) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict(model, structures[:1], device="cpu")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_states() -> None:
    model = build_module(hnn_plan(), seed=0, dtype=torch.float64)
    states = np.random.default_rng(0).normal(size=(11, 2))
    found = predict_states(model, states, batch=4, device="cpu")
    assert found["derivatives"].shape == (11, 2)
    assert found["hamiltonian"].shape == (11,)
    h = 1e-6
    for k in range(2):  # z' = (dH/dp, −dH/dq), by differences
        shift = np.eye(2)[k] * h
        up, down = (predict_states(model, states + s, device="cpu")["hamiltonian"] for s in (shift, -shift))
        slope = (up - down) / (2 * h)
        expected = found["derivatives"][:, 1 - k] * (-1.0 if k == 0 else 1.0)
        np.testing.assert_allclose(slope, expected, atol=1e-7)
    assert predict_states(model, np.zeros((0, 2)), device="cpu")["derivatives"].shape == (0, 2)


def test_an_exported_model_runs_where_it_was_compiled_for(model: Model, structures: list[Atoms]) -> None:
    class Compiled:
        """What predictions use of an export."""

        plan = model.plan
        device = torch.device("cpu")

        def __call__(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            assert all(value.device == self.device for value in inputs.values())
            return model(inputs)

    for a, b in zip(predict(Compiled(), structures), predict(model, structures, device="cpu"), strict=True):  # type: ignore[arg-type]
        assert np.array_equal(a["energy"], b["energy"])


def test_wrong_use_is_said(model: Model) -> None:
    states = build_module(hnn_plan())
    with pytest.raises(DataError, match="predict_states"):
        predict(states, [Atoms("H")])
    with pytest.raises(DataError, match="call predict with"):
        predict_states(model, np.zeros((1, 2)))
    with pytest.raises(DataError, match=r"expected \[states, 2\]"):
        predict_states(states, np.zeros((1, 4)))
    with pytest.raises(DataError, match="Au"):
        predict(model, [Atoms("Au")])
    assert predict(model, []) == []


class Held:
    """What `equic.load` gives, as far as files are predicted."""

    def __init__(self, model: Model) -> None:
        self.model, self.plan = model, model.plan

    def predict(self, frames: Any, *, batch: int) -> Any:
        return predict(self.model, frames, batch=batch, device="cpu")


def test_files_are_predicted_in_parts(
    model: Model, structures: list[Atoms], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLAB", 3)
    ase.io.write(tmp_path / "in.traj", structures)
    seen: list[int] = []
    count = write_structures(Held(model), tmp_path / "in.traj", tmp_path / "out.xyz", 2, progress=seen.append)
    assert (count, seen) == (4, [3, 4])
    written = ase.io.read(tmp_path / "out.xyz", index=":")
    for atoms, one in zip(written, predict(model, structures, device="cpu"), strict=True):
        assert atoms.get_potential_energy() == pytest.approx(float(one["energy"]), abs=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), one["forces"], atol=1e-7)


def test_a_structure_of_a_file_that_does_not_fit_is_named_and_nothing_is_left(
    model: Model, structures: list[Atoms], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLAB", 3)
    ase.io.write(tmp_path / "in.traj", [*structures, Atoms("Xe")])
    with pytest.raises(DataError, match=r"in\.traj:frame 4 contains Xe"):
        write_structures(Held(model), tmp_path / "in.traj", tmp_path / "out.xyz", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["in.traj"]
