"""Batches of a set, in an order that is a pure function of the seed and the step.

The training stream runs through shuffled passes of the set without a seam: step s takes samples s·b to
(s+1)·b of the endless sequence, so every batch is full and every sample is seen equally often. Since nothing
but the step number decides what comes next, a run resumed at any step continues exactly.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from equic.runtime.data import ArraySet, Frame, collate
from torch import Tensor

from .errors import TrainingError

# Evaluation holds no graph of second derivatives, so its batches may be larger than those of training.
EVALUATION_EDGES = 20_000
EVALUATION_ROWS = 4096
# Sets whose collated batches are smaller than this are collated once and kept on the device.
CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch on its device: inputs, labels, number of atoms of each system [S] (None for phase space),
    and the positions of its samples in the set."""

    inputs: dict[str, Tensor]
    labels: dict[str, Tensor]
    atoms: Tensor | None
    samples: tuple[int, ...]


class Samples(Protocol):
    """A set that batches can be cut from."""

    def __len__(self) -> int: ...

    def batch(self, samples: np.ndarray) -> Batch: ...

    def evaluation_size(self, batch: int) -> int: ...

    def describe(self, sample: int) -> str: ...

    def targets(self) -> tuple[str, ...]: ...

    def bytes(self) -> int: ...


class FrameSamples:
    """Frames of atoms; a batch is collated when it is asked for."""

    def __init__(self, frames: Sequence[Frame], device: torch.device) -> None:
        self.frames = frames
        self.device = device
        self.edges = sum(frame.edges.shape[1] for frame in frames)

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, samples: np.ndarray) -> Batch:
        inputs, labels = collate([self.frames[i] for i in samples])
        labels = _move(labels, self.device)
        atoms = labels.pop("n_atoms").to(torch.float64)
        return Batch(_move(inputs, self.device), labels, atoms, tuple(samples.tolist()))

    def evaluation_size(self, batch: int) -> int:
        mean_edges = max(1.0, self.edges / max(1, len(self)))
        return max(batch, min(256, int(EVALUATION_EDGES / mean_edges)))

    def describe(self, sample: int) -> str:
        return self.frames[sample].source

    def targets(self) -> tuple[str, ...]:
        return tuple(self.frames[0].labels)

    def bytes(self) -> int:
        return 40 * self.edges + sum(8 * (10 * len(frame.positions) + 20) for frame in self.frames)


class ArraySamples:
    """Rows of arrays, moved to the device once; a batch is a selection of rows."""

    def __init__(self, arrays: ArraySet, device: torch.device, name: str) -> None:
        self.state = torch.as_tensor(arrays.state).to(device)
        self.labels = {key: torch.as_tensor(value).to(device) for key, value in arrays.labels.items()}
        self.name = arrays.source or name

    def __len__(self) -> int:
        return len(self.state)

    def batch(self, samples: np.ndarray) -> Batch:
        index = torch.from_numpy(samples).to(self.state.device)
        labels = {key: value.index_select(0, index) for key, value in self.labels.items()}
        return Batch({"state": self.state.index_select(0, index)}, labels, None, tuple(samples.tolist()))

    def evaluation_size(self, batch: int) -> int:
        return max(batch, EVALUATION_ROWS)

    def describe(self, sample: int) -> str:
        return f"{self.name}:{sample}"

    def targets(self) -> tuple[str, ...]:
        return tuple(self.labels)

    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.state, *self.labels.values()))


def samples_of(data: Sequence[Frame] | ArraySet, device: torch.device, name: str) -> Samples:
    """Frames or arrays as something that batches can be cut from.

    Raises:
        TrainingError: the set is empty.
    """
    samples = ArraySamples(data, device, name) if isinstance(data, ArraySet) else FrameSamples(data, device)
    if len(samples) == 0:
        raise TrainingError(f"the set `{name}` is empty", help="check its path and its split under `data:`")
    return samples


class TrainingStream:
    """The endless sequence of training batches, from the step that `start()` gives when it is iterated.

    A batch that holds the whole set is made once and not shuffled.
    """

    def __init__(self, samples: Samples, batch: int, seed: int, start: Callable[[], int]) -> None:
        self.samples = samples
        self.batch = min(batch, len(samples))
        self.seed = seed
        self.start = start

    def __iter__(self) -> Iterator[Batch]:
        step = self.start()
        if self.batch == len(self.samples):
            whole = self.samples.batch(np.arange(self.batch))
            while True:
                yield whole
        while True:
            yield self.samples.batch(self.order(step))
            step += 1

    def order(self, step: int) -> np.ndarray:
        """Which samples step `step` takes."""
        count = len(self.samples)
        first = step * self.batch
        epoch, offset = divmod(first, count)
        taken = self._permutation(epoch)[offset : offset + self.batch]
        if len(taken) == self.batch:
            return taken
        return np.concatenate((taken, self._permutation(epoch + 1)[: self.batch - len(taken)]))

    def _permutation(self, epoch: int) -> np.ndarray:
        # drawn anew for each step: microseconds for a thousand samples, beside milliseconds for a batch
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.samples))

    def epochs(self, step: int) -> float:
        """How many times the set has been seen after `step` steps."""
        return step * self.batch / len(self.samples)

    def steps(self, epochs: float) -> int:
        """How many steps see the set `epochs` times, rounded up."""
        return max(1, -int(-epochs * len(self.samples) // self.batch))


def evaluation_batches(
    samples: Samples, batch: int, limit: int | None = None
) -> "tuple[Batch, ...] | LazyBatches":
    """The set in order, in large batches: collated once when small, else anew each time.

    With `limit`, that many samples, evenly spread over the set.
    """
    count = len(samples)
    chosen = np.arange(count) if limit is None or limit >= count else np.linspace(0, count - 1, limit).round()
    size = samples.evaluation_size(batch)
    parts = [chosen[i : i + size].astype(np.int64) for i in range(0, len(chosen), size)]
    lazy = LazyBatches(samples, parts)
    return tuple(lazy) if samples.bytes() * len(chosen) / count <= CACHE_BYTES else lazy


def evaluation_count(samples: Samples, batch: int) -> int:
    """How many batches `evaluation_batches` makes of the whole set."""
    return -(-len(samples) // samples.evaluation_size(batch))


class LazyBatches:
    """Batches that are made each time they are iterated."""

    def __init__(self, samples: Samples, parts: Sequence[np.ndarray]) -> None:
        self.samples = samples
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        return (self.samples.batch(part) for part in self.parts)


def _move(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    if device.type == "cpu":
        return dict(tensors)
    return {name: t.pin_memory().to(device, non_blocking=True) for name, t in tensors.items()}
