"""Batches of a set, in an order that is a pure function of the seed and the step.

Since nothing but the step number decides what comes next, a run resumed at any step continues exactly.
"""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np
import torch
from equic.runtime.data import ArraySet, Frame, FrameSet, collate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .errors import TrainingError
from .orders import order_of
from .ranks import ALONE, Ranks

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

    def sizes(self, what: str) -> np.ndarray: ...


class FrameSamples:
    """Frames of atoms, in memory or on disk; a batch is collated when it is asked for."""

    def __init__(self, frames: Sequence[Frame], device: torch.device) -> None:
        self.frames = frames if isinstance(frames, FrameSet) else FrameSet(frames)
        self.device = device
        self.edges = int(self.frames.sizes("edges").sum()) if len(frames) else 0

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, samples: np.ndarray) -> Batch:
        return self.moved(self.collated(samples))

    def collated(self, samples: np.ndarray) -> Batch:
        """The batch on the CPU: what another process may do."""
        inputs, labels = collate([self.frames[int(i)] for i in samples])
        atoms = labels.pop("n_atoms").to(torch.float64)
        return Batch(inputs, labels, atoms, tuple(samples.tolist()))

    def moved(self, batch: Batch) -> Batch:
        """The batch on its device."""
        if self.device.type == "cpu":
            return batch
        atoms = None if batch.atoms is None else batch.atoms.to(self.device)
        inputs, labels = _move(batch.inputs, self.device), _move(batch.labels, self.device)
        return Batch(inputs, labels, atoms, batch.samples)

    def evaluation_size(self, batch: int) -> int:
        mean_edges = max(1.0, self.edges / max(1, len(self)))
        return max(batch, min(256, int(EVALUATION_EDGES / mean_edges)))

    def describe(self, sample: int) -> str:
        return self.frames[sample].source

    def targets(self) -> tuple[str, ...]:
        return tuple(self.frames[0].labels)

    def sizes(self, what: str) -> np.ndarray:
        """Atoms or edges of every frame: [frames] int64."""
        return self.frames.sizes(what)

    def bytes(self) -> int:
        return 40 * self.edges + 8 * (10 * int(self.frames.sizes("atoms").sum()) + 20 * len(self))


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

    def sizes(self, what: str) -> np.ndarray:
        raise TrainingError(f"states have no {what}", help="write a number of states: `batch: 100`")

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

    Each batch comes in `parts` (those of `accumulate`), of which every process gets its share; a part without
    a sample for this process is left out. A batch that holds the whole set is made once and not shuffled.
    """

    def __init__(
        self,
        samples: Samples,
        batch: int | Mapping[str, int],
        seed: int,
        start: Callable[[], int],
        *,
        parts: int = 1,
        ranks: Ranks = ALONE,
        workers: int = 0,
    ) -> None:
        self.samples = samples
        self._order = order_of(batch, samples.sizes, len(samples), seed, samples.describe)
        self.batch = self._order.batch
        self.start = start
        self.parts = parts
        self.ranks = ranks
        self.workers = workers if isinstance(samples, FrameSamples) else 0  # arrays are in place already

    def __iter__(self) -> Iterator[tuple[Batch, ...]]:
        step = self.start()
        if self.batch == len(self.samples):
            whole = self._made(np.arange(self.batch))
            while True:
                yield whole
        if self.workers and isinstance(self.samples, FrameSamples):
            yield from self._from_workers(step, self.samples)
        while True:
            yield self._made(self.order(step))
            step += 1

    def _made(self, samples: np.ndarray) -> tuple[Batch, ...]:
        return tuple(self.samples.batch(part) for part in self._mine(samples))

    def _mine(self, samples: np.ndarray) -> list[np.ndarray]:
        shares = [self.ranks.share(part) for part in np.array_split(samples, self.parts)]
        return [share for share in shares if len(share)]

    def _from_workers(self, step: int, samples: FrameSamples) -> Iterator[tuple[Batch, ...]]:
        """The same batches, collated by other processes a few steps ahead."""
        loader = DataLoader(
            _Collated(samples),
            sampler=_Shares(self, step),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=4,
            worker_init_fn=_ignore_interrupts,
        )
        for parts in loader:
            yield tuple(samples.moved(part) for part in parts)

    def order(self, step: int) -> np.ndarray:
        """Which samples step `step` takes."""
        return self._order.take(step)

    def epochs(self, step: int) -> float:
        """How many times the set has been seen after `step` steps."""
        return self._order.epochs(step)

    def steps(self, epochs: float) -> int:
        """How many steps see the set `epochs` times."""
        return self._order.steps(epochs)


def _ignore_interrupts(worker: int) -> None:
    # a terminal sends Ctrl-C to all processes, and the one that trains decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Collated(Dataset[tuple[Batch, ...]]):
    """Shares of samples as batches on the CPU."""

    def __init__(self, samples: FrameSamples) -> None:
        self.samples = samples

    def __getitem__(self, shares: list[np.ndarray]) -> tuple[Batch, ...]:
        return tuple(self.samples.collated(share) for share in shares)


class _Shares(Sampler[list[np.ndarray]]):
    """Which samples each step takes, without an end."""

    def __init__(self, stream: TrainingStream, start: int) -> None:
        self.stream = stream
        self.start = start

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        return (self.stream._mine(self.stream.order(step)) for step in count(self.start))


def evaluation_batches(
    samples: Samples, batch: int, limit: int | None = None
) -> "tuple[Batch, ...] | LazyBatches":
    """The set in order, in large batches: collated once when small, else anew each time.

    With `limit`, that many samples, evenly spread over the set.
    """
    number = len(samples)
    chosen = (
        np.arange(number) if limit is None or limit >= number else np.linspace(0, number - 1, limit).round()
    )
    size = samples.evaluation_size(batch)
    parts = [chosen[i : i + size].astype(np.int64) for i in range(0, len(chosen), size)]
    lazy = LazyBatches(samples, parts)
    return tuple(lazy) if samples.bytes() * len(chosen) / number <= CACHE_BYTES else lazy


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
