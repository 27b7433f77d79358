"""The exponential moving average of the weights, used for validation and as the final model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Average:
    """An exponential moving average of parameters.

        a ← d a + (1 − d) w,   d = min(decay, (1 + n) / (10 + n)) after n updates

    The smaller decay at the start keeps the untrained weights from lingering. The tensors of `weights` are
    updated in place by the optimiser; this class reads them, and swaps them while `applied`.

    Reference: polyak1992acceleration
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._weights = list(weights)  # the parameters themselves: they may move to another device
        self._average = [w.detach().clone() for w in weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the weights as they are now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self._average, self._weights, 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the parameters hold the average; afterwards the very bits they had before."""
        raw = [w.detach().clone() for w in self._weights]
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(raw)

    def install(self) -> None:
        """Leave the average in the parameters."""
        self._copy(self._average)

    @torch.no_grad()
    def _copy(self, values: Sequence[Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The averaged tensors and how many updates they saw."""
        return {"average": [a.cpu().clone() for a in self._average], "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.updates = state["updates"]
        for own, value in zip(self._average, state["average"], strict=True):
            own.copy_(value)
