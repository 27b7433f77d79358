"""The learning rate along a run.

    rate(step) = base · factor(step),  progress(step) = p0 + (1 − p0) (step − s0) / (total − s0)

During the warm-up the factor is also multiplied by (step + 1) / warmup.
constant: 1 · cosine: (1 + cos(π progress)) / 2 · plateau: halved after ten validations without a better one.
`(s0, p0)` is where the run was last planned: a run with a wall-clock budget changes `total` on its way, and
the cosine bends to end there without a jump. Reference: loshchilov2017sgdr (cosine).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 10
PLATEAU_FLOOR = 1e-3


@dataclass(slots=True)
class Schedule:
    """The rate's factor at every step of a run of `total` steps; its state is plain data."""

    kind: str
    total: int
    anchor_step: int = 0
    anchor_progress: float = 0.0
    plateau: float = 1.0
    best: float = math.inf
    waited: int = 0
    warmup: int = 0

    def progress(self, step: int) -> float:
        """The part of the run that lies before `step`, in [0, 1]."""
        left = self.total - self.anchor_step
        if left <= 0:
            return 1.0
        return min(1.0, self.anchor_progress + (1 - self.anchor_progress) * (step - self.anchor_step) / left)

    def factor(self, step: int) -> float:
        """What the base learning rate is multiplied by at `step` (counted from 0)."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return rising * self._falling(step)

    def _falling(self, step: int) -> float:
        match self.kind:
            case "constant":
                return 1.0
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * self.progress(step)))
            case "plateau":
                return self.plateau
        raise ValueError(f"unknown schedule {self.kind!r}")

    def replan(self, step: int, total: int) -> None:
        """From `step` on, head for an end at `total`."""
        self.anchor_progress, self.anchor_step = self.progress(step), step
        self.total = total

    def forget(self) -> None:
        """Losses from now on are not comparable to those before."""
        self.best, self.waited = math.inf, 0

    def observe(self, loss: float) -> None:
        """One validation loss; the plateau schedule halves the rate when they stop falling."""
        if loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > PLATEAU_PATIENCE:
            self.plateau, self.waited = max(PLATEAU_FLOOR, self.plateau * PLATEAU_FACTOR), 0

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for name in self.__dataclass_fields__:
            setattr(self, name, state.get(name, getattr(self, name)))
