"""Batches as tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.data import (
    ArraySet,
    collate,
    read_frames,
)
from equic.runtime.errors import DataError
from equic.runtime.testing.data import displaced_molecules
from equic.runtime.testing.plans import pairwise_plan

ENERGY = {"energy": {"key": "energy", "factor": 1.0}}
FORCES = {"forces": {"key": "forces", "factor": 1.0}}
STRESS = {"stress": {"key": "stress", "factor": 1.0}}


class TestBatches:
    def test_atoms(self, plan, saved):
        read = read_frames(
            plan,
            {"path": saved("a.xyz", displaced_molecules(3, stress=True)), "labels": ENERGY | FORCES | STRESS},
        )
        inputs, labels = collate(read, torch.float32)
        sizes = [len(frame) for frame in read]
        assert labels["n_atoms"].tolist() == sizes
        assert {name: (tuple(value.shape), value.dtype) for name, value in labels.items()} == {
            "n_atoms": ((3,), torch.int64),
            "energy": ((3,), torch.float64),
            "forces": ((sum(sizes), 3), torch.float32),
            "stress": ((3, 3, 3), torch.float64),
        }
        start = 0
        for k, frame in enumerate(read):
            rows = slice(start, start + len(frame))
            assert labels["energy"][k].item() == frame.labels["energy"]
            np.testing.assert_allclose(labels["forces"][rows], frame.labels["forces"], rtol=1e-6)
            np.testing.assert_array_equal(inputs["positions"][rows], frame.positions)
            here = inputs["system"][inputs["edges"][1]] == k
            np.testing.assert_array_equal(inputs["edges"][:, here] - start, frame.edges)
            np.testing.assert_array_equal(inputs["shifts"][here], frame.shifts)
            start += len(frame)

    def test_frames_with_different_labels_do_not_mix(self, plan, saved):
        path = saved("a.xyz", displaced_molecules(2))
        one = read_frames(plan, {"path": path, "labels": ENERGY})
        other = read_frames(plan, {"path": path, "labels": ENERGY | FORCES})
        with pytest.raises(
            DataError, match=r"a.xyz:frame 1 has labels for energy, forces, a.xyz:frame 0 for energy"
        ):
            collate([one[0], other[1]])

    def test_states(self):
        states = ArraySet(np.ones((4, 2)), {"derivatives": np.zeros((4, 2))})
        inputs, labels = collate(states, torch.float32)
        assert inputs["state"].dtype == labels["derivatives"].dtype == torch.float32
        assert inputs["state"].shape == (4, 2)

    def test_the_model_takes_what_collate_makes(self, plan, saved):
        spec = {
            "path": saved("a.xyz", displaced_molecules(3, stress=True)),
            "labels": ENERGY | FORCES | STRESS,
        }
        inputs, labels = collate(read_frames(plan, spec))
        outputs = build_module(plan, dtype=torch.float64)(inputs)
        for target in ("energy", "forces", "stress"):
            assert outputs[target].shape == labels[target].shape
        pair = pairwise_plan()
        state = ArraySet(np.arange(16.0).reshape(2, 8) ** 0.5, {})
        outputs = build_module(pair, dtype=torch.float64)(collate(state)[0])
        assert outputs["derivatives"].shape == (2, 8)
