"""The facts of a file of particles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from equic.runtime.data.frames import FrameSet
from equic.runtime.data.known import InputError
from equic.runtime.data.labels import LabelError
from equic.runtime.data.points import read_points
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan

from .facts import FileFacts, LabelFacts, Trouble


def point_facts(plan: Plan, spec: Mapping[str, Any]) -> FileFacts:
    """The facts of the file that `spec` = {path, labels: {target: {key, factor}}} names.

    A file that is missing or damaged has `problem` set; nothing is raised. Each label is read alone, and inputs that
    cannot be used are left out, so that one that is wrong does not hide another.
    """
    facts = FileFacts(labels={target: LabelFacts() for target in spec["labels"] if target in plan.outputs})
    systems: FrameSet | None = None
    while systems is None:
        try:
            systems = read_points(plan, {**spec, "labels": {}})
        except InputError as error:
            facts.inputs[error.name] = [Trouble(error.problem, 1, 0, error.message, error.help)]
            kept = [one for one in plan.system["inputs"] if one["name"] != error.name]
            plan = replace(plan, system={**plan.system, "inputs": kept})
        except DataError as error:
            facts.problem, facts.help = error.message, error.help
            return facts
    sizes = [len(one) for one in systems]
    facts.frames, facts.atoms = len(sizes), (min(sizes), max(sizes))
    facts.prints = "".join(one.fingerprint().hex()[:16] for one in systems)
    facts.numbers = list(range(len(sizes)))
    for target, label in facts.labels.items():
        try:
            found = read_points(plan, {**spec, "labels": {target: spec["labels"][target]}})
        except DataError as error:
            problem = error.problem if isinstance(error, LabelError) else "shape"
            label.troubles.append(Trouble(problem, 1, 0, error.message, error.help))
            continue
        _fill(label, found, target)
    return facts


def _fill(label: LabelFacts, systems: FrameSet, target: str) -> None:
    values = np.concatenate([np.ravel(one.labels[target]) for one in systems])
    label.found = len(systems)
    label.rms = float(np.sqrt(np.mean(values**2)))
    label.smallest, label.largest = float(values.min()), float(values.max())
    label.varies = label.smallest != label.largest
