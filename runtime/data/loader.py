"""Batches in an order that a run can take up again in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from .arrays import ArraySet
from .batches import Batch, collate
from .frame import Frame


class AtomsDataset(Dataset[Frame]):
    """Frames, one by one."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]


class StateDataset(Dataset[ArraySet]):
    """States of a mechanical system, taken from their arrays a whole batch at a time."""

    def __init__(self, states: ArraySet) -> None:
        self.states = states

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: int) -> ArraySet:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> ArraySet:  # torch's loaders look for this method
        return self.states.subset(np.array(indices, dtype=np.int64))


class EpochSampler(Sampler[int]):
    """An order that is a function of (seed, epoch) alone, shared out over `world` processes.

    Each process gets every world-th entry, starting at `rank`; the first entries fill up the last round,
    so that all have equally many.
    """

    def __init__(self, count: int, seed: int, *, shuffle: bool = True, rank: int = 0, world: int = 1) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes")
        self.count, self.seed, self.shuffle, self.rank, self.world = count, seed, shuffle, rank, world
        self.epoch = 0
        self.skip = 0  # entries of this process that the next iteration leaves out

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch; lightning calls it before each one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.world)

    def order(self) -> np.ndarray:
        """The entries of this process in this epoch: [len(self)] int64."""
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        else:
            order = np.arange(self.count)
        return np.resize(order, len(self) * self.world)[self.rank :: self.world]

    def __iter__(self) -> Iterator[int]:
        skip, self.skip = self.skip, 0
        return iter(self.order()[skip:].tolist())


class ResumableLoader(DataLoader[Any]):
    """A loader that knows how many batches of the epoch it has handed out, and can start after them.

    `state_dict` and `load_state_dict` are what lightning saves and restores. It counts batches yielded,
    not fetched, so workers that fetch ahead do no harm. Its generator is its own: iterating leaves
    torch's global random state as it was.
    """

    def __init__(self, dataset: Dataset[Any], sampler: EpochSampler, batch: int, **options: Any) -> None:
        super().__init__(
            dataset,
            batch_size=batch,
            sampler=sampler,
            generator=torch.Generator().manual_seed(sampler.seed),
            **options,
        )
        self._order = sampler
        self._batch = batch
        self._position = 0
        self._resume_at = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self._order.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """How many batches of the current epoch were handed out."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out, at the next iteration, the batches that were handed out before."""
        # a state saved at the very end of an epoch belongs to the start of the next
        self._resume_at = state["position"] % max(len(self), 1)
        self._position = self._resume_at

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._position, self._resume_at = self._resume_at, 0
        self._order.skip = self._position * self._batch
        for batch in super().__iter__():
            self._position += 1
            yield batch


def make_loader(
    items: Sequence[Frame] | ArraySet,
    batch: int,
    *,
    seed: int = 0,
    shuffle: bool = True,
    dtype: torch.dtype = torch.float64,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
) -> ResumableLoader:
    """A loader of (inputs, labels) as `collate` makes them; the last batch of an epoch may be smaller.

    Args:
        items: frames, or states of a mechanical system.
        batch: structures or states in a batch.
        seed: with the epoch (`set_epoch`), decides the order.
        shuffle: False keeps the order of `items`.
        dtype: of labels other than energies, and of states.
        workers: processes that collate ahead; 0 does it in this one, which is right for small structures.
        rank, world: this process among those that train together (then tell lightning
            `use_distributed_sampler=False`).
    """
    if len(items) == 0 or batch < 1:
        raise ValueError(f"{len(items)} items in batches of {batch}")
    dataset = StateDataset(items) if isinstance(items, ArraySet) else AtomsDataset(items)
    sampler = EpochSampler(len(items), seed, shuffle=shuffle, rank=rank, world=world)
    return ResumableLoader(
        dataset, sampler, batch, collate_fn=partial(collate, dtype=dtype), num_workers=workers
    )
