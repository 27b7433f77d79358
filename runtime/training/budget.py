"""How many steps fit into a wall-clock budget, before a run and again after each of its rounds."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

# Of the budget: kept free for what cannot be foreseen; at most spent on validating; at most on the final
# errors.
MARGIN = 0.02
VALIDATION_SHARE = 0.15
TRAIN_ERRORS_SHARE = 0.10
# A round is what lies between two validations.
MIN_ROUNDS, MAX_ROUNDS = 10, 500
# Rounds that are this part of a budget are believed; shorter ones are averaged over.
MEMORY = 0.1
# A first call that takes up to so many times as long as there is for measuring is followed by another one.
PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured seconds: one training step, one validation, the evaluation and writing at the end."""

    step: float
    validation: float
    final: float


@dataclass(slots=True)
class Budget:
    """`seconds` from `started` (time.monotonic) until the run must be over, its final errors included.

    `train_limit` is on how many training samples they can be measured in time (None: on all).
    """

    seconds: float
    started: float
    costs: Costs
    train_limit: int | None

    def left(self) -> float:
        """Seconds that are left for steps and validations."""
        spent = time.monotonic() - self.started
        return self.seconds * (1 - MARGIN) - spent - self.costs.final

    def unspent(self) -> float:
        """Seconds of the whole budget that lie ahead: what a resumed run may use."""
        return max(0.0, self.seconds - (time.monotonic() - self.started))

    def steps_left(self, rounds_left: int) -> int:
        """How many more steps fit beside that many validations, at least 0."""
        return max(0, int((self.left() - rounds_left * self.costs.validation) / self.costs.step))

    def observe(self, seconds: float, steps: int, validation: float) -> None:
        """What a round took. The longer it was, the more it says about the pace of the machine at present."""
        weight = min(0.5, (seconds + validation) / (MEMORY * self.seconds))
        self.costs = Costs(
            step=(1 - weight) * self.costs.step + weight * seconds / steps,
            validation=(1 - weight) * self.costs.validation + weight * validation,
            final=self.costs.final,
        )

    def rounds(self, wanted: float, steps: int) -> int:
        """Into how many rounds the rest of a run is cut, when validations may not take more than their share."""
        count = min(wanted, steps)
        if self.costs.validation > 0:
            count = min(count, VALIDATION_SHARE * self.left() / self.costs.validation)
        return max(1, int(count))


def measured(work: Callable[[Any], object], batches: Sequence[Any], limit: float) -> float:
    """Seconds that `work` takes on one of `batches`: the fastest of up to five, within about `limit` seconds.

    0 where there are no batches. The first call is not counted, since it compiles and allocates, unless it alone takes
    `PATIENCE` times that long.
    """
    if not batches:
        return 0.0
    begun = time.monotonic()
    best = math.inf
    for i in range(6):
        start = time.monotonic()
        work(batches[i % len(batches)])
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.monotonic()
        if i > 0 or now - begun > PATIENCE * limit:
            best = min(best, now - start)
        if now - begun > limit and best < math.inf:
            break
    return best
