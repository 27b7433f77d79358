"""Running means of the loss between two reports, and the alarm when it is no longer a number."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .errors import TrainingError

# On CUDA every look at a number waits for the device; there, losses are looked at this many steps at a time.
CUDA_INTERVAL = 25
SHOWN_SAMPLES = 8


class LossWatch:
    """Collects the losses of each step; sums them in Python floats, in step order.

    `names` label the columns of the tensors given to `add`; `describe` names a sample of the training set.
    """

    def __init__(self, names: Sequence[str], describe: Callable[[int], str], device: torch.device) -> None:
        self.names = tuple(names)
        self._describe = describe
        self._interval = CUDA_INTERVAL if device.type == "cuda" else 1
        self._pending: list[tuple[int, Tensor, tuple[int, ...]]] = []
        self._sums = [0.0] * len(self.names)
        self._steps = 0

    def add(self, step: int, losses: Tensor, samples: tuple[int, ...]) -> None:
        """Note the losses [columns] of `step`, and the samples of its batch.

        Raises:
            TrainingError: one of the losses collected so far is NaN or infinite; names the frames.
        """
        self._pending.append((step, losses, samples))
        if len(self._pending) >= self._interval:
            self.flush()

    def flush(self) -> None:
        """Look at everything that is pending.

        Raises:
            TrainingError: as `add`.
        """
        if not self._pending:
            return
        rows = torch.stack([losses for _, losses, _ in self._pending]).tolist()
        for (step, _, samples), row in zip(self._pending, rows, strict=True):
            if not all(map(math.isfinite, row)):
                self._pending.clear()
                raise self._alarm(step, row, samples)
            self._sums = [total + value for total, value in zip(self._sums, row, strict=True)]
            self._steps += 1
        self._pending.clear()

    def _alarm(self, step: int, row: Sequence[float], samples: Sequence[int]) -> TrainingError:
        # the total is the first column: a term that is to blame comes after it
        bad = [i for i, value in enumerate(row) if not math.isfinite(value)]
        name, value = self.names[bad[-1]], row[bad[-1]]
        shown = [self._describe(sample) for sample in samples[:SHOWN_SAMPLES]]
        more = len(samples) - len(shown)
        frames = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
        return TrainingError(
            f"training stopped at step {step + 1}: the loss of `{name}` is {value}; its batch is {frames}",
            help="look for wrong labels or overlapping atoms in this batch and the one before; "
            "if they are sound, lower `train.learning_rate` or set `train.clip`",
        )

    def means(self) -> dict[str, float]:
        """The mean of every column since the last call, which starts anew."""
        self.flush()
        steps = max(1, self._steps)
        means = {name: total / steps for name, total in zip(self.names, self._sums, strict=True)}
        self._sums, self._steps = [0.0] * len(self.names), 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """The sums so far; `flush` first."""
        return {"sums": list(self._sums), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._sums, self._steps = list(state["sums"]), state["steps"]
