"""A run that is resumed with another spec: every change is named and judged.

safe: the numbers so far keep their meaning. risky: they do not quite, and the user has to accept that.
refused: the state of the run does not fit, or would silently win over the spec.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from .errors import TrainingError

Verdict = Literal["safe", "risky", "refused"]

# The first pattern that fits a key of the plan judges it.
RULES: Sequence[tuple[str, Verdict, str]] = (
    ("spec_hash", "safe", ""),
    ("citations", "safe", ""),
    ("export*", "safe", "what is deployed is decided afterwards"),
    ("train.epochs", "safe", "the schedule goes on as if it had been planned so"),
    ("train.patience", "safe", "it looks at the validation losses, which are kept"),
    ("train.accumulate", "safe", "the gradient is the same"),
    ("train.activation_checkpointing", "safe", "the gradient is the same"),
    ("train.from", "safe", "the run has its weights already"),
    ("data.prepared", "safe", "the frames are the same"),
    ("data.sets.test*", "safe", "nothing was chosen by it"),
    ("train.learning_rate", "risky", "the moments of the optimizer are those of the old rate"),
    ("train.schedule", "risky", "the rate jumps"),
    ("train.warmup", "risky", "the rate jumps"),
    ("train.clip", "risky", "later steps differ from earlier ones"),
    (
        "train.batch",
        "risky",
        "epochs are counted anew from the steps, and some frames come twice or not at all",
    ),
    ("train.loss*", "risky", "losses before and after cannot be compared, nor can the best epoch so far"),
    ("data.sets.*", "risky", "scales stay as they were, and validation frames may have been trained on"),
    ("data.seed", "risky", "validation frames may have been trained on"),
    ("train.seed", "refused", "a run keeps the seed that it began with"),
    ("train.weight_decay", "refused", "the state of the optimizer holds the old one"),
    ("train.optimizer", "refused", "the state is that of the old one"),
    ("train.ema", "refused", "the average of the weights was taken with the old one, or not at all"),
    ("train.precision", "refused", "the weights are stored in the old one"),
    ("train.only", "refused", "the state of the optimizer belongs to the weights that were trained"),
    ("train.freeze", "refused", "the state of the optimizer belongs to the weights that were trained"),
    ("data.isolated_atoms", "refused", "the model was built on the old energies"),
    ("*", "refused", "it is another model"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the plan that differs, with what is to be thought of it."""

    key: str
    before: Any
    after: Any
    verdict: Verdict
    why: str

    def __str__(self) -> str:
        reason = f" ({self.why})" if self.why else ""
        return f"`{self.key}`: {_short(self.before)} → {_short(self.after)}{reason}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs between two plans as JSON, the worst first."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    found = []
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            verdict, why = next((v, w) for pattern, v, w in RULES if fnmatchcase(key, pattern))
            found.append(Change(key, old.get(key), new.get(key), verdict, why))
    order = ("refused", "risky", "safe")
    return sorted(found, key=lambda change: order.index(change.verdict))


def judge(found: Sequence[Change], *, accept: bool) -> list[str]:
    """Notes on changes that are no obstacle.

    Raises:
        TrainingError: a change is refused, or risky and not accepted; names all of them.
    """
    for verdict, help in (
        ("refused", "resume with the spec that the run began with, or train into a new folder"),
        ("risky", "add `--accept-changes` if this is meant, or train into a new folder"),
    ):
        bad = [change for change in found if change.verdict == verdict]
        if bad and not (verdict == "risky" and accept):
            raise TrainingError(
                "the run was started from another spec: " + "; ".join(map(str, bad)), help=help
            )
    return [f"changed since the run began: {change}" for change in found if change.key != "spec_hash"]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; lists are values."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, (*path, str(key)))
    else:
        yield ".".join(path), value


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
