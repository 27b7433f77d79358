"""What passes between a search and its objective: the context of a trial, and its outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What one trial measured.

    `objective` is what the search minimizes (or maximizes); `metrics` are further numbers to keep beside it,
    such as a test error or an equivariance error; `artifact` is the model that was trained.
    """

    objective: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifact: Path | str | None = None


@dataclass(frozen=True, slots=True)
class TrialContext:
    """What an objective may know and say while it runs.

    `repeat` is 0 in the search and counts the repetitions of one point after it: add it to the training seed,
    so that repetitions differ and everything else stays paired. `retry_of` is the number of a trial whose
    worker was killed; its checkpoints may be continued. `seconds_left` and `seconds_per_trial` are None
    without a wall-clock budget; the second is the share of this trial, equal for all of them as far as the
    budget lasts.
    """

    number: int
    repeat: int
    retry_of: int | None
    seconds_left: float | None
    seconds_per_trial: float | None
    _report: Callable[[int, float], None]

    def report(self, step: int, value: float) -> None:
        """Report an intermediate value of the objective, such as the validation error after an epoch.

        Raises:
            optuna.TrialPruned: the trial is worse than the median of the others at this step (end points and
                repetitions are never pruned: the evidence needs them). Let it pass.
            TrialTaken: another worker runs this trial now. Let it pass.
        """
        self._report(step, value)
