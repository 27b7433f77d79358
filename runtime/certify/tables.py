"""What splines in the place of networks cost: a deployed model against the one that its tables were made from."""

from __future__ import annotations

from typing import Any

import numpy as np

from .baseline import Baseline
from .certificate import Item
from .judge import TOLERANCES, Rule, judge, not_applicable
from .subject import Subject

TABLES = "error of tables"
# the spec's error is that of single functions; a network of them may be so much more sensitive
_SENSITIVITY = 10.0


def table_items(baseline: Baseline, exact: Any | None) -> list[Item]:
    """The largest difference of each target from the exact model, in the same precision, on the same frames.

    Relative to what other errors are relative to. Nothing for a model without tables.
    """
    subject = baseline.subject
    wanted = subject.plan.deploy["tabulate"]
    if not any(step.layer == "table" for step in subject.plan.steps):
        return []
    if exact is None:
        why = "the file holds tables, and not the networks that they were made from: measured on the artifact"
        return [not_applicable(TABLES, subject.dtype, why)]
    error = float(wanted["radial"])
    expected = Subject(exact, subject.dtype, subject.device).respond(baseline.frames)
    found = {
        target: float(np.abs(baseline.response.values[target] - expected.values[target]).max(initial=0.0))
        / max(scale, baseline.floors[target])
        for target, scale in baseline.scales.items()
    }
    worst = max(found, key=lambda target: found[target])
    ranges = sorted({(s.params["start"], s.params["end"]) for s in subject.plan.steps if s.layer == "table"})
    knots = sum(s.params["intervals"] + 1 for s in subject.plan.steps if s.layer == "table")
    unit = subject.plan.system["unit"]
    return [
        judge(
            TABLES,
            subject.dtype,
            found[worst],
            Rule(
                _SENSITIVITY * error + TOLERANCES["parity"][subject.dtype],
                f"the spec asks for {error:g} of each function",
            ),
            measure=f"largest difference of {', '.join(found)} from the exact networks; here {worst}, "
            f"{baseline.words[worst]}; {knots} knots, from {ranges[-1][0]:g} to {ranges[-1][1]:g} {unit}",
        )
    ]
