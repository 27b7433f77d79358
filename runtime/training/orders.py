"""Which samples every step takes: a pure function of the seed and the step, so that a run resumes anywhere."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from .errors import TrainingError

# Structures are sorted by size within a stretch of the shuffled set that fills about so many batches.
BUCKET = 50
# Passes whose mean number of batches tells how many steps an epoch has.
PROBED = 4


class Order(Protocol):
    """The endless sequence of batches; `batch` is how many samples one has, on average and rounded up."""

    batch: int

    def take(self, step: int) -> np.ndarray: ...

    def epochs(self, step: int) -> float: ...

    def steps(self, epochs: float) -> int: ...


class FixedOrder:
    """So many samples a step, from shuffled passes without a seam: every batch is full."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self.count = count
        self.batch = min(batch, count)
        self.seed = seed

    def take(self, step: int) -> np.ndarray:
        """Samples step·b to (step+1)·b of the endless sequence."""
        epoch, offset = divmod(step * self.batch, self.count)
        taken = self._permutation(epoch)[offset : offset + self.batch]
        if len(taken) == self.batch:
            return taken
        return np.concatenate((taken, self._permutation(epoch + 1)[: self.batch - len(taken)]))

    def _permutation(self, epoch: int) -> np.ndarray:
        # drawn anew for each step: microseconds for a thousand samples, beside milliseconds for a batch
        return np.random.default_rng((self.seed, epoch)).permutation(self.count)

    def epochs(self, step: int) -> float:
        """How many times the set has been seen after `step` steps."""
        return step * self.batch / self.count

    def steps(self, epochs: float) -> int:
        """How many steps see the set `epochs` times, rounded up."""
        return max(1, -int(-epochs * self.count // self.batch))


class PackedOrder:
    """As many samples a step as stay within a limit on the sum of their sizes (atoms, or edges).

    Each pass is shuffled, cut into stretches, sorted by size within each, packed in this order, and its
    batches are shuffled: structures of similar size stand together, and no two passes are alike. Passes may
    differ by a batch, so that `epochs` and `steps` count passes of average length.
    """

    def __init__(self, sizes: Sequence[int] | np.ndarray, limit: int, seed: int) -> None:
        self.sizes = np.asarray(sizes, dtype=np.int64)
        self.limit = limit
        self.seed = seed
        self._starts = [0]  # the step that each pass begins with
        self._pass: tuple[int, list[np.ndarray]] | None = None
        self.per_epoch = sum(len(self._packed(epoch)) for epoch in range(PROBED)) / PROBED
        self.batch = -int(-len(self.sizes) // self.per_epoch)

    def take(self, step: int) -> np.ndarray:
        """The samples of batch `step` of the endless sequence."""
        while self._starts[-1] <= step:
            self._starts.append(self._starts[-1] + len(self._of(len(self._starts) - 1)))
        epoch = int(np.searchsorted(self._starts, step, side="right")) - 1
        return self._of(epoch)[step - self._starts[epoch]]

    def _of(self, epoch: int) -> list[np.ndarray]:
        if self._pass is None or self._pass[0] != epoch:
            self._pass = epoch, self._packed(epoch)
        return self._pass[1]

    def _packed(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.sizes))
        stretch = max(1, round(BUCKET * self.limit / max(1.0, float(self.sizes.mean()))))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), stretch):
            part = order[start : start + stretch]
            part = part[np.argsort(self.sizes[part], kind="stable")]
            batches += self._greedy(part)
        return [batches[place] for place in rng.permutation(len(batches))]

    def _greedy(self, samples: np.ndarray) -> list[np.ndarray]:
        cuts, filled = [], 0
        for place, size in enumerate(self.sizes[samples].tolist()):
            if place and filled + size > self.limit:
                cuts.append(place)
                filled = 0
            filled += size
        return np.split(samples, cuts)

    def epochs(self, step: int) -> float:
        """How many passes of average length `step` steps are."""
        return step / self.per_epoch

    def steps(self, epochs: float) -> int:
        """How many steps are `epochs` passes of average length."""
        return max(1, round(epochs * self.per_epoch))


def order_of(
    batch: int | Mapping[str, int],
    sizes: Callable[[str], np.ndarray],
    count: int,
    seed: int,
    describe: Callable[[int], str],
) -> Order:
    """The order that a plan asks for: `batch` is a number of samples, or {"atoms": n}, or {"edges": n}.

    `sizes(what)` gives the sizes of all samples, `describe(sample)` the name of one.

    Raises:
        TrainingError: a sample that is larger than the limit, or samples without sizes.
    """
    if isinstance(batch, int):
        return FixedOrder(count, batch, seed)
    (what, limit), *_ = batch.items()
    found = sizes(what)
    largest = int(np.argmax(found))
    if found[largest] > limit:
        raise TrainingError(
            f"{describe(largest)} has {found[largest]} {what}, and a batch at most {limit}",
            help=f"write `batch: {{{what}: {2 ** int(np.ceil(np.log2(found[largest])))}}}`, or leave it out",
        )
    return PackedOrder(found, int(limit), seed)
