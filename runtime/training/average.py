"""Averages of the weights, used for validation and as the final model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor


class Averaging(Protocol):
    """What the loop asks of an average of the weights."""

    def update(self) -> None: ...

    def applied(self) -> AbstractContextManager[None]: ...

    def install(self) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


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


class ScheduleFree:
    """The average that schedule-free optimisers keep.

        y = (1 − β) z + β x

    Gradients are taken at y, which the parameters hold during training; z is the optimiser's state, and x, the
    average, is the model. `optimizers` gives the optimisers, which are built after this is.

    Reference: defazio2024road
    """

    def __init__(self, weights: Sequence[Tensor], optimizers: Callable[[], Sequence[Any]]) -> None:
        self._weights = list(weights)
        self._optimizers = optimizers

    def update(self) -> None:
        """Nothing: the optimiser has done it."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the parameters hold x; afterwards the very bits of y that they had before."""
        raw = [w.detach().clone() for w in self._weights]
        self.install()
        try:
            yield
        finally:
            for optimizer in self._optimizers():
                optimizer.train()
            # there and back is not the same to the last bit, and a resumed run has not been there
            with torch.no_grad():
                for weight, value in zip(self._weights, raw, strict=True):
                    weight.copy_(value)

    def install(self) -> None:
        """Leave x in the parameters."""
        for optimizer in self._optimizers():
            optimizer.eval()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: z is in the state of the optimiser."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing: see `state_dict`."""
