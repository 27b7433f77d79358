"""Who runs which trial: taken, settled, given back, reclaimed, all under one lock.

The count that matters is of settled trials (completed, pruned, failed); lost ones run again. Under the lock a
worker sees every trial that is settled or under way, so that together they settle exactly the wanted number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from .locks import exclusive
from .outcome import TrialOutcome
from .repeats import repeats_of
from .result import TrialRow
from .spaces import Space, canonical
from .starts import decode, encode, starting_points
from .study import MAX_RETRIES, claim_lock, make_sampler, rows_of
from .workers import Worker

# what a trial that runs again takes along
_CARRIED = ("params", "pinned", "point", "anchored", "repeat")


class Turn(Enum):
    """What to do where there is no trial to take."""

    WAIT = "others are at work on the last ones"
    DONE = "all are settled"


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that this worker runs."""

    trial: Any
    values: dict[str, Any]
    repeat: int
    anchored: bool
    retry_of: int | None
    left: int


class Ledger:
    """The trials of one study, as one worker deals with them.

    `wanted` counts the trials of the search, `repeats` how often each compared point is measured again after
    it.
    """

    def __init__(
        self,
        study: Any,
        spaces: Sequence[Space],
        storage: Path,
        signs: Path,
        worker: Worker,
        *,
        wanted: int,
        repeats: int,
        seed: int,
    ) -> None:
        self.study = study
        self.spaces = tuple(spaces)
        self.signs = signs
        self.worker = worker
        self.wanted = wanted
        self.repeats = repeats
        self.seed = seed
        self.notes: list[str] = []
        self._lock = claim_lock(storage)
        self._distributions = {space.name: space.distribution() for space in self.spaces}
        self._direction = study.direction.name.lower()

    def rows(self) -> list[TrialRow]:
        """Every trial that was begun."""
        return rows_of(self.study, self.spaces)

    def enqueue_starts(self) -> None:
        """Queue the starting points that are not in the study yet."""
        with exclusive(self._lock):
            known = self._points_in_study()
            for start in starting_points(self.spaces, self.wanted):
                if canonical(start.values) not in known:
                    self._enqueue(start.values, {"anchored": start.anchored})

    def claim(self) -> Claim | Turn:
        """Take the next trial: a queued one, else one that the sampler proposes."""
        with exclusive(self._lock):
            self._reclaim()
            rows = self.rows()
            search = [row for row in rows if not row.is_repeat]
            left = self.wanted - sum(row.settled for row in search)
            running = sum(row.state == "running" for row in rows)
            if left > sum(row.state == "running" for row in search):
                return self._take(left)
            if left > 0:
                return Turn.WAIT
            waiting = self._enqueue_repeats(rows)
            if waiting:
                return self._take(waiting + running)
            return Turn.WAIT if running else Turn.DONE

    def all_settled(self) -> bool:
        """Whether nothing is left to do, for anyone."""
        rows = self.rows()
        if sum(row.settled and not row.is_repeat for row in rows) < self.wanted:
            return False
        return not repeats_of(rows, self.spaces, self.repeats, self._direction)

    def complete(self, trial: Any, outcome: TrialOutcome, seconds: float) -> bool:
        """Settle a trial with its outcome; False when another worker has it by now."""
        metrics = {key: _finite(value) for key, value in outcome.metrics.items()}
        artifact = None if outcome.artifact is None else str(outcome.artifact)
        stored = {"objective": float(outcome.objective), "metrics": metrics, "artifact": artifact}
        return self._settle(
            trial, {"seconds": seconds, "outcome": stored}, float(outcome.objective), "COMPLETE"
        )

    def prune(self, trial: Any, reason: str, seconds: float) -> bool:
        """Settle a trial that was not worth going on with."""
        return self._settle(trial, {"seconds": seconds, "reason": reason}, None, "PRUNED")

    def fail(self, trial: Any, reason: str, seconds: float) -> bool:
        """Settle a trial that cannot succeed."""
        return self._settle(trial, {"seconds": seconds, "reason": reason}, None, "FAIL")

    def give_back(self) -> None:
        """Queue again whatever this worker has not settled."""
        with exclusive(self._lock):
            for trial in self._running():
                if trial.user_attrs.get("owner", {}).get("token") == self.worker.token:
                    self._requeue(trial, trial.user_attrs.get("retries", 0))

    def _take(self, left: int) -> Claim:
        trials = self.study.get_trials(deepcopy=False)
        queued = [trial.number for trial in trials if trial.state.name == "WAITING"]
        number = queued[0] if queued else len(trials)
        # A sampler for each trial, seeded by its number: a continued search goes on where it was, and two
        # workers never draw the same point.
        self.study.sampler = make_sampler(_mix(self.seed, number))
        trial = self.study.ask(self._distributions)
        trial.set_user_attr("owner", self.worker.to_json())
        attrs = trial.user_attrs
        values = decode(self.spaces, trial.params, attrs.get("pinned", {}))
        return Claim(
            trial=trial,
            values=values,
            repeat=attrs.get("repeat", 0),
            anchored=attrs.get("anchored", False) or attrs.get("repeat", 0) > 0,
            retry_of=attrs.get("retry_of"),
            left=left,
        )

    def _settle(self, trial: Any, attrs: dict[str, Any], value: float | None, state: str) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            for key, item in attrs.items():
                trial.set_user_attr(key, item)
            self.study.tell(trial, value, state=TrialState[state])
        except (UpdateFinishedTrialError, ValueError):  # reclaimed: this worker was taken for dead
            return False
        return True

    def _reclaim(self) -> None:
        """Give up the trials whose worker is gone, and queue them again. Called under the lock."""
        for trial in self._running():
            attrs = trial.user_attrs
            owner = Worker.from_json(attrs["owner"]) if "owner" in attrs else None
            if owner is not None and (owner.token == self.worker.token or owner.is_alive(self.signs)):
                continue
            label = "an unknown worker" if owner is None else f"worker {owner.label}"
            self.notes.append(f"trial {trial.number} was lost by {label}; it is settled or runs again")
            self._requeue(trial, attrs.get("retries", 0) + 1)

    def _requeue(self, trial: Any, retries: int) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        attrs = trial.user_attrs
        try:
            if "outcome" in attrs:  # it was done, but for the last word
                self.study.tell(trial.number, attrs["outcome"]["objective"])
                return
            self.study.tell(trial.number, state=TrialState.FAIL)
        except (UpdateFinishedTrialError, ValueError):  # it was only slow, and has settled it in this moment
            return
        if "reason" in attrs or retries > MAX_RETRIES:
            return
        carried = {key: attrs[key] for key in _CARRIED if key in attrs}
        params = attrs.get("params") or trial.params
        self.study.enqueue_trial(params, user_attrs={**carried, "retry_of": trial.number, "retries": retries})

    def _enqueue_repeats(self, rows: list[TrialRow]) -> int:
        """Queue the repetitions that are missing; how many wait now. Called under the lock."""
        queued = self._queued_repeats()
        taken = {
            (canonical(row.values), row.repeat) for row in rows if row.is_repeat and row.state == "running"
        }
        for repeat in repeats_of(rows, self.spaces, self.repeats, self._direction):
            if repeat.key not in queued | taken:
                self._enqueue(repeat.values, {"repeat": repeat.seed})
        return len(self._queued_repeats())

    def _enqueue(self, values: dict[str, Any], attrs: dict[str, Any]) -> None:
        params, pinned = encode(self.spaces, values)
        marks = {"params": params, "pinned": pinned, "point": canonical(values), **attrs}
        self.study.enqueue_trial(params, user_attrs=marks)

    def _points_in_study(self) -> set[str]:
        lost = {row.number for row in self.rows() if row.state == "lost"}
        kept = [trial for trial in self.study.get_trials(deepcopy=False) if trial.number not in lost]
        return {trial.user_attrs["point"] for trial in kept if "point" in trial.user_attrs}

    def _queued_repeats(self) -> set[tuple[str, int]]:
        trials = self.study.get_trials(deepcopy=False)
        marks = [trial.user_attrs for trial in trials if trial.state.name == "WAITING"]
        return {(mark["point"], mark["repeat"]) for mark in marks if mark.get("repeat", 0) > 0}

    def _running(self) -> list[Any]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name == "RUNNING"]


def _mix(seed: int, number: int) -> int:
    from numpy.random import SeedSequence

    return int(SeedSequence([seed, number]).generate_state(1)[0])


def _finite(value: float) -> float | None:
    number = float(value)
    return number if abs(number) < float("inf") else None  # false for NaN, too
