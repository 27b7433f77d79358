"""Batches as tensors, and loaders that go on where a run stopped."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write
from equic.runtime.build import build_module
from equic.runtime.data import (
    ArraySet,
    EpochSampler,
    collate,
    make_loader,
    read_frames,
)
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from equic.runtime.testing.data import displaced_molecules
from equic.runtime.testing.plans import mace_plan, pairwise_plan

ENERGY = {"energy": {"key": "energy", "factor": 1.0}}
FORCES = {"forces": {"key": "forces", "factor": 1.0}}
STRESS = {"stress": {"key": "stress", "factor": 1.0}}


@pytest.fixture
def plan() -> Plan:
    return mace_plan(species=("H", "C", "O"), cutoff=3.0)


@pytest.fixture
def saved(tmp_path):
    """Write structures to a file of this name, and give its path."""

    def save(name: str, frames: list[Atoms]) -> str:
        write(tmp_path / name, frames, format="extxyz")
        return str(tmp_path / name)

    return save


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
            "stress": ((3, 3, 3), torch.float32),
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


class TestLoader:
    def rows(self, loader) -> list[list[float]]:
        return [inputs["state"][:, 0].tolist() for inputs, _ in loader]

    def states(self, count: int) -> ArraySet:
        return ArraySet(np.stack([np.arange(float(count)), np.zeros(count)], axis=1), {})

    def test_every_state_once_in_an_order_of_seed_and_epoch(self):
        def order(seed, epoch, **options):
            loader = make_loader(self.states(11), 4, seed=seed, **options)
            loader.set_epoch(epoch)
            return self.rows(loader)

        first = order(1, 0)
        assert [len(batch) for batch in first] == [4, 4, 3]
        assert sorted(itertools.chain.from_iterable(first)) == list(range(11))
        assert order(1, 0) == first
        assert order(1, 1) != first
        assert order(2, 0) != first
        assert list(itertools.chain.from_iterable(order(1, 5, shuffle=False))) == list(range(11))

    @pytest.mark.parametrize("workers", [0, 1])
    def test_taken_up_after_any_batch_it_goes_on_as_if_never_stopped(self, workers):
        def run(epochs, stop=None, state=None, start=0):
            loader = make_loader(self.states(11), 3, seed=7, workers=workers)
            if state is not None:
                loader.load_state_dict(state)
            seen = []
            for epoch in range(start, epochs):
                loader.set_epoch(epoch)
                for inputs, _ in loader:
                    seen.append(inputs["state"][:, 0].tolist())
                    if len(seen) == stop:
                        return seen, loader.state_dict(), epoch
            return seen, None, None

        whole, _, _ = run(3)
        assert len(whole) == 12
        for stop in (1, 3, 4, 6, 8) if workers == 0 else (2,):
            before, state, epoch = run(3, stop=stop)
            # at the last batch of an epoch, the trainer has moved on to the next
            after, _, _ = run(3, state=state, start=epoch + (stop % 4 == 0))
            assert before + after == whole

    def test_the_global_random_state_is_left_alone(self):
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        list(make_loader(self.states(5), 2))
        assert torch.equal(torch.rand(3), expected)

    @pytest.mark.parametrize("count", [1, 7, 12])
    def test_processes_share_an_epoch(self, count):
        samplers = [EpochSampler(count, 3, rank=rank, world=3) for rank in range(3)]
        for sampler in samplers:
            sampler.set_epoch(2)
        shares = [list(sampler) for sampler in samplers]
        assert {len(share) for share in shares} == {-(-count // 3)} == {len(samplers[0])}
        assert set(itertools.chain.from_iterable(shares)) == set(range(count))

    def test_frames(self, plan, saved):
        read = read_frames(plan, {"path": saved("a.xyz", displaced_molecules(5)), "labels": ENERGY})
        loader = make_loader(read, 2, shuffle=False)
        energies = torch.cat([labels["energy"] for _, labels in loader])
        assert energies.tolist() == [float(frame.labels["energy"]) for frame in read]
        assert len(loader) == 3

    def test_nonsense_is_refused(self):
        for items, batch in ((self.states(0), 1), (self.states(3), 0)):
            with pytest.raises(ValueError, match="items in batches of"):
                make_loader(items, batch)
        with pytest.raises(ValueError, match="rank 2 of 2"):
            EpochSampler(3, 0, rank=2, world=2)
