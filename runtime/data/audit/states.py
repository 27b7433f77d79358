"""The facts of a file of states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from equic.runtime.data.arrays import ArraySet, read_arrays
from equic.runtime.data.labels import LabelError
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan

from .facts import FileFacts, LabelFacts, Trouble
from .trends import Trend, trend

_COMPARED = 2000


def state_facts(plan: Plan, spec: Mapping[str, Any]) -> FileFacts:
    """The facts of the file that `spec` = {path, state, labels: {target: {key, factor}}} names.

    A file that is missing or damaged has `problem` set; nothing is raised. Each label is read alone, so that one
    that is wrong does not hide another; what is wrong with the states is told under the name `state`.
    """
    facts = FileFacts(labels={target: LabelFacts() for target in spec["labels"] if target in plan.outputs})
    try:
        states = read_arrays(plan, {**spec, "labels": {}})
    except LabelError as error:
        facts.labels["state"] = LabelFacts(troubles=[_trouble(error)])
        return facts
    except DataError as error:
        facts.problem, facts.help = error.message, error.help
        return facts
    facts.frames = len(states)
    facts.prints, facts.numbers = _prints(states), list(range(len(states)))
    for target, label in facts.labels.items():
        try:
            one = read_arrays(plan, {**spec, "labels": {target: spec["labels"][target]}})
        except LabelError as error:
            label.troubles.append(_trouble(error))
            continue
        value = one.labels[target]
        label.found = len(one)
        label.rms = float(np.sqrt(np.mean(value**2)))
        label.smallest, label.largest = float(value.min()), float(value.max())
        label.varies = bool((value != value[0]).any())
        if value.shape == states.state.shape:
            facts.rates_trend = _rates(one, target)
    return facts


def _trouble(error: LabelError) -> Trouble:
    return Trouble(error.problem, 1, 0, error.message, error.help)


def _prints(states: ArraySet) -> str:
    import hashlib

    rows = np.round(states.state * 1e9) / 1e9 + 0.0
    return "".join(hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in rows)


def _rates(states: ArraySet, target: str) -> Trend | None:
    """Steps of a trajectory against the mean of the rates at both ends times the time between.

    z_{k+1} - z_k  against  (t_{k+1} - t_k) (ż_k + ż_{k+1}) / 2
    """
    if states.time is None:
        return None
    rates, time = states.labels[target], states.time
    step = np.diff(time)
    runs = np.zeros(len(step), dtype=bool) if states.trajectory is None else np.diff(states.trajectory) != 0
    kept = np.flatnonzero((step > 0) & ~runs)[:_COMPARED]
    if not len(kept):
        return None
    before, after = rates[kept], rates[kept + 1]
    size = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosine = np.divide((before * after).sum(axis=1), size, out=np.zeros(len(size)), where=size > 0)
    predicted = 0.5 * (before + after) * step[kept, None]
    moved = states.state[kept + 1] - states.state[kept]
    return trend(predicted.ravel(), moved.ravel(), float(np.median(cosine)))
