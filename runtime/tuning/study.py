"""The Optuna study behind a search: opened, compared with the spec, read as rows."""

import logging
import math
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import TuningError
from .journal import open_journal
from .locks import exclusive
from .result import State, TrialRow
from .spaces import Space, changes
from .starts import decode

MAX_RETRIES = 2
MIN_TRIALS_FOR_IMPORTANCE = 10


def claim_lock(storage: Path) -> Path:
    """The lock under which workers of one study take and give up trials."""
    return storage.with_name(storage.name + ".claim")


def open_study(
    storage: Path, name: str, direction: str, spaces: Sequence[Space], fingerprint: str | None
) -> tuple[Any, list[str]]:
    """The study of this name, begun or continued, and what was mended in its journal.

    Raises:
        TuningError: the study was begun with other search spaces, another direction or another spec, or by
            another program; the file cannot be read or written.
    """
    import optuna

    journal, notes = open_journal(storage)
    with exclusive(claim_lock(storage)):
        study = optuna.create_study(
            storage=journal,
            study_name=name,
            direction=optuna.study.StudyDirection[direction.upper()],
            load_if_exists=True,
            sampler=make_sampler(0),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=3),
        )
        stored = study.user_attrs
        if "spaces" not in stored:
            if study.get_trials(deepcopy=False):
                raise TuningError(
                    f"the study `{name}` in `{storage}` was not begun by equic",
                    help="give another file for the study",
                )
            study.set_user_attr("fingerprint", fingerprint)
            study.set_user_attr("spaces", [space.describe() for space in spaces])
            return study, notes
    differences = changes(stored["spaces"], spaces)
    if study.direction.name.lower() != direction:
        differences.append(f"the objective was to {study.direction.name.lower()}, now to {direction}")
    if None not in (fingerprint, stored.get("fingerprint")) and fingerprint != stored["fingerprint"]:
        differences.append("the spec has changed outside of its search spaces")
    if differences:
        raise TuningError(
            f"the study `{name}` in `{storage}` was begun with another spec: " + "; ".join(differences),
            help="trials of two specs cannot be compared: restore the old one, or begin in a new file",
        )
    return study, notes


def make_sampler(seed: int) -> Any:
    """The sampler: multivariate TPE that keeps away from trials under way (Optuna's defaults since 5.0)."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed)


def sampler_name() -> str:
    """The sampler as the manifest names it, with the version: defaults move between versions."""
    import optuna

    return f"TPESampler (multivariate, constant liar) of optuna {optuna.__version__}"


def rows_of(study: Any, spaces: Sequence[Space]) -> list[TrialRow]:
    """Every trial that was begun, by number."""
    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get("retry_of") for trial in trials}
    return [_row_of(trial, spaces, again) for trial in trials if trial.state.name != "WAITING"]


def _row_of(trial: Any, spaces: Sequence[Space], again: Set[int | None]) -> TrialRow:
    attrs = trial.user_attrs
    outcome = attrs.get("outcome", {})
    complete = trial.state.name == "COMPLETE"
    seconds = attrs.get("seconds")
    if seconds is None and trial.duration is not None:
        seconds = trial.duration.total_seconds()
    reason = attrs.get("reason")
    state = _state(trial, again)
    if state == "failed" and reason is None:
        reason = f"its worker died {attrs.get('retries', 0) + 1} times"
    return TrialRow(
        number=trial.number,
        values=decode(spaces, trial.params, attrs.get("pinned", {})),
        state=state,
        objective=trial.value if complete else None,
        seconds=seconds,
        metrics=outcome.get("metrics", {}) if complete else {},
        artifact=outcome.get("artifact") if complete else None,
        reason=reason,
        repeat=attrs.get("repeat", 0),
        retry_of=attrs.get("retry_of"),
        worker=attrs.get("owner", {}).get("label"),
    )


def importance_of(study: Any, spaces: Sequence[Space]) -> dict[str, float]:
    """The share of each space in reaching the best tenth of the trials, largest first; {} when unknown.

    By PED-ANOVA, Optuna's default.

    Reference: watanabe2023pedanova
    """
    import optuna

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    search = [trial for trial in complete if not trial.user_attrs.get("repeat")]
    if len(search) < MIN_TRIALS_FOR_IMPORTANCE or len({trial.value for trial in search}) == 1:
        return {}
    found = optuna.create_study(direction=study.direction)  # in memory, without the repetitions
    found.add_trials(search)
    shares = optuna.importance.get_param_importances(found, params=[space.name for space in spaces])
    return {name: float(share) for name, share in shares.items() if math.isfinite(share)}


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's line for every trial off the terminal, for the length of the block."""
    from optuna.logging import (
        get_verbosity,  # asking it sets the logger up, which would undo an earlier level
    )

    get_verbosity()
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _state(trial: Any, again: Set[int | None]) -> State:
    name = trial.state.name
    if name == "FAIL":
        attrs = trial.user_attrs
        gave_up = "reason" in attrs or attrs.get("retries", 0) >= MAX_RETRIES
        return "failed" if gave_up and trial.number not in again else "lost"
    states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running"}
    return states[name]
