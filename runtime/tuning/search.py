"""The search itself: take a trial, run the objective, settle it, until all are settled or time is up."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import EquicError
from .errors import TrialTaken, TuningError
from .ledger import Claim, Ledger, Turn
from .outcome import TrialContext, TrialOutcome
from .result import Stopped, TuningResult
from .spaces import Space, check_spaces, show
from .study import importance_of, open_study, quiet_optuna, sampler_name
from .workers import Worker, at_work, count_alive

Objective = Callable[[dict[str, Any], TrialContext], TrialOutcome]

HOPELESS = 5
GRACE_REPORTS = 3  # the first epochs of a training say little about its end
_WAIT_SECONDS = 0.25


def tune(
    *,
    spaces: Sequence[Space],
    objective: Objective,
    storage: Path,
    study_name: str,
    trials: int,
    minutes: float | None = None,
    seed: int = 0,
    direction: str = "minimize",
    workers_id: str | None = None,
    progress: bool = True,
    repeats: int = 0,
    fingerprint: str | None = None,
) -> TuningResult:
    """Search the spaces for the best objective, with `trials` trials in all.

    The search lives in the file `storage`. Calling again continues it up to the wanted total; several
    processes on one file share the work. End points and defaults come first (`starting_points`), then the
    proposals of TPE. With `repeats`, the best point and its hard and free twins are measured that many times
    more with other seeds: the evidence then knows the spread. A trial whose worker was killed runs again, at
    most twice.

    An objective that raises an `EquicError` or an arithmetic error, runs out of memory, or returns a number
    that is not finite makes a failed trial; the search goes on. Any other exception is a mistake in the
    program: the trial is recorded as failed, and the exception comes through. Ctrl-C ends the search with
    what is there; the trial that it met runs again when the search is continued.

    Units:
        `minutes` is wall-clock time of this call; a trial is not begun after it.

    Raises:
        TuningError: nothing to search; the study was begun with another spec; its file is no journal; the
        first
            5 trials, or all of them, failed.

    Reference: watanabe2023tpe

    Example:
        >>> space = Space("x", "float", low=0.0, high=1.0)
        >>> result = tune(spaces=[space], objective=lambda values, trial: TrialOutcome(values["x"] ** 2),
        ...               storage=Path("x.journal"), study_name="x", trials=8)  # doctest: +SKIP
        >>> result.best_values  # doctest: +SKIP
        {'x': 0.0}
    """
    checked = check_spaces(spaces)
    if trials < 1:
        raise TuningError(f"the wanted number of trials is {trials}", help="ask for at least 1")
    if direction not in ("minimize", "maximize"):
        raise TuningError(f"the direction is `{direction}`", help="write minimize or maximize")
    if minutes is not None and not minutes > 0:
        raise TuningError(f"the budget is {minutes:g} minutes", help="give more than 0")
    storage = Path(storage).absolute()
    signs = storage.with_name(storage.name + ".workers")
    worker = Worker.here(workers_id)
    began = time.monotonic()
    with quiet_optuna():
        study, notes = open_study(storage, study_name, direction, checked, fingerprint)
        ledger = Ledger(study, checked, storage, signs, worker, wanted=trials, repeats=repeats, seed=seed)
        run = _Run(ledger, objective, began, minutes, progress)
        for note in notes:
            run.say(note)
        with at_work(worker, signs):
            stopped = run.to_the_end()
        return TuningResult(
            name=study_name,
            direction=direction,
            wanted=trials,
            rows=tuple(ledger.rows()),
            spaces=tuple(space.name for space in checked),
            importance=importance_of(study, checked),
            sampler=sampler_name(),
            storage=str(storage),
            stopped=stopped,
            seconds=time.monotonic() - began,
            notes=(*notes, *ledger.notes),
        )


class _Run:
    """One call of `tune` at work."""

    def __init__(
        self, ledger: Ledger, objective: Objective, began: float, minutes: float | None, progress: bool
    ) -> None:
        self.ledger = ledger
        self.objective = objective
        self.deadline = None if minutes is None else began + 60.0 * minutes
        self.progress = progress
        self.share: float | None = None

    def say(self, text: str) -> None:
        if self.progress:
            print(text, file=sys.stderr, flush=True)

    def to_the_end(self) -> Stopped:
        try:
            self.ledger.enqueue_starts()
            while True:
                if self.deadline is not None and time.monotonic() >= self.deadline:
                    return "finished" if self.ledger.all_settled() else "time"
                turn = self.ledger.claim()
                if turn is Turn.DONE:
                    self._stop_if_hopeless(finished=True)
                    return "finished"
                if turn is Turn.WAIT:
                    time.sleep(_WAIT_SECONDS)
                    continue
                assert isinstance(turn, Claim)
                self._run_trial(turn)
                self._stop_if_hopeless(finished=False)
        except KeyboardInterrupt:
            self.ledger.give_back()
            self.say("interrupted; the same command continues this search")
            return "interrupted"

    def _run_trial(self, claim: Claim) -> None:
        import optuna

        began = time.monotonic()
        trial, ledger = claim.trial, self.ledger
        try:
            outcome = self.objective(dict(claim.values), self._context(claim))
        except optuna.TrialPruned as pruned:
            reason = str(pruned) or "given up by the objective"
            ledger.prune(trial, reason, time.monotonic() - began)
            self._tell(claim, f"pruned: {reason}", began)
        except TrialTaken:
            self._tell(claim, "run by another worker by now", began)
        except Exception as error:
            reason = _reason(error)
            ledger.fail(trial, reason, time.monotonic() - began)
            self._tell(claim, f"failed: {reason}", began)
            if not _is_expected(error):
                raise
        else:
            if math.isfinite(outcome.objective):
                ledger.complete(trial, outcome, time.monotonic() - began)
                self._tell(claim, f"{outcome.objective:.4g}", began)
            else:
                reason = f"the objective is {outcome.objective}"
                ledger.fail(trial, reason, time.monotonic() - began)
                self._tell(claim, f"failed: {reason}", began)

    def _context(self, claim: Claim) -> TrialContext:
        seconds_left = seconds_per_trial = None
        if self.deadline is not None:
            seconds_left = max(self.deadline - time.monotonic(), 0.0)
            # at the end come the repetitions: of the best point, and of the two ends of each dial
            dials = sum(space.subject is not None for space in self.ledger.spaces)
            to_come = 0 if claim.repeat else self.ledger.repeats * (1 + 2 * dials)
            rounds = math.ceil((claim.left + to_come) / max(count_alive(self.ledger.signs), 1))
            if self.share is None:
                self.share = seconds_left / rounds
            # equal shares keep trials comparable, also where pruning has saved time; less if time runs short
            seconds_per_trial = min(self.share, seconds_left / rounds)
        return TrialContext(
            number=claim.trial.number,
            repeat=claim.repeat,
            retry_of=claim.retry_of,
            seconds_left=seconds_left,
            seconds_per_trial=seconds_per_trial,
            _report=_reporter(claim),
        )

    def _tell(self, claim: Claim, what: str, began: float) -> None:
        if not self.progress:
            return
        values = ", ".join(f"{name} = {show(value)}" for name, value in claim.values.items())
        settled = sum(row.settled and not row.is_repeat for row in self.ledger.rows())
        place = f"repeat, seed + {claim.repeat}" if claim.repeat else f"{settled}/{self.ledger.wanted}"
        self.say(f"[{place}] {values}: {what} ({time.monotonic() - began:.1f} s)")

    def _stop_if_hopeless(self, *, finished: bool) -> None:
        settled = [row for row in self.ledger.rows() if row.settled]
        if not settled or any(row.state != "failed" for row in settled):
            return
        if finished or len(settled) >= HOPELESS:
            reasons = list(dict.fromkeys(row.reason or "unknown" for row in settled))
            raise TuningError(
                f"all {len(settled)} trials failed: {'; '.join(reasons[:3])}",
                help="`equic train` with fixed values shows where it fails; then begin the search in a new file",
            )


def _reporter(claim: Claim) -> Callable[[int, float], None]:
    seen: set[int] = set()

    def report(step: int, value: float) -> None:
        import optuna
        from optuna.exceptions import UpdateFinishedTrialError

        if step in seen:  # Optuna keeps the first value of a step and warns of a second one
            return
        seen.add(step)
        try:
            claim.trial.report(float(value), step)
        except UpdateFinishedTrialError as error:
            raise TrialTaken(f"trial {claim.trial.number} is run by another worker") from error
        if claim.anchored or len(seen) <= GRACE_REPORTS:
            return
        if claim.trial.should_prune():
            raise optuna.TrialPruned(f"{value:.4g} at step {step}, worse than the median")

    return report


def _is_expected(error: Exception) -> bool:
    if isinstance(error, EquicError | ArithmeticError | MemoryError):
        return True
    torch = sys.modules.get("torch")  # without torch at work, it cannot have run out of memory
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, EquicError) else f"{type(error).__name__}: {error}"
    return text.strip().splitlines()[0][:300]
