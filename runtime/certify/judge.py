"""From a measured number to a verdict: tolerances, and whose claim it is."""

import math
from dataclasses import dataclass
from typing import Any

from .certificate import Item, Status

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23}

# What a claim allows, by the kind of measurement. Float64 leaves room for rounding alone; where finite
# differences are taken, for theirs. Float32 geometry is float64, so that its errors are those of the network.
TOLERANCES: dict[str, dict[str, float]] = {
    "symmetry": {"float64": 1e-10, "float32": 1e-4},
    "differences": {"float64": 1e-6, "float32": 1e-2},
    "continuity": {"float64": 1e-6, "float32": 1e-4},
    "dynamics": {"float64": 1e-3, "float32": 1e-3},
    "parity": {"float64": 1e-10, "float32": 1e-4},
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What is demanded of one measurement: a tolerance, or None where nothing is claimed, and why."""

    tolerance: float | None
    because: str = ""


def demanded(kind: str, dtype: str) -> Rule:
    """The rule of a property that holds by construction, whatever the spec says."""
    return Rule(TOLERANCES[kind][dtype])


def unclaimed(because: str) -> Rule:
    """The rule of a property that nothing claims: the value is reported."""
    return Rule(None, because)


def claim_rule(plan: Any, factor: str, dtype: str) -> Rule:
    """What the plan's claim on a factor of the group demands in a dtype.

    `{within: x}` demands x; a factor demanded exact demands rounding error; anything else is reported.
    Translation and permutation of atoms are part of what atoms are, and demanded also where no claim says so.
    """
    for claim in plan.claims:
        if claim.factor == factor:
            if claim.within is not None:
                return Rule(float(claim.within), "the tolerance is the spec's `within`")
            if claim.demanded == "exact":
                return demanded("symmetry", dtype)
            strength = "" if claim.strength is None else f" {claim.strength:g}"
            return unclaimed(f"the spec holds {factor} {claim.mode}{strength}")
    if plan.is_points and factor in ("translation", "permutation"):
        return demanded("symmetry", dtype)
    return unclaimed(f"the spec does not name {factor}")


def judge(
    name: str,
    dtype: str,
    value: float,
    rule: Rule,
    *,
    measure: str,
    unit: str = "relative",
    rounding: float = 0.0,
    reason: str = "",
) -> Item:
    """The item of a measured value: "holds" within the tolerance, "fails" beyond it, "reported" without one.

    `rounding` is the size that rounding of the outputs alone gives the value, where the outputs are large
    beside what they are compared with; it widens the tolerance, and the reason says so.
    """
    value = float(value)
    tolerance, reasons = rule.tolerance, [text for text in (rule.because, reason) if text]
    if tolerance is None:
        return Item(name, dtype, value, None, unit, "reported", measure, "; ".join(reasons))
    if rounding > tolerance and math.isfinite(rounding):
        tolerance = rounding
        reasons.append(
            "tolerance widened to the rounding of the outputs, which are large beside their spread"
        )
    status: Status = "holds" if value <= tolerance else "fails"
    if not math.isfinite(value):
        reasons.append("the model gave numbers that are not finite")
    return Item(name, dtype, value, tolerance, unit, status, measure, "; ".join(reasons))


def not_applicable(name: str, dtype: str, reason: str, measure: str = "") -> Item:
    """An item that was not measured, and why."""
    return Item(name, dtype, None, None, "", "not applicable", measure, reason)
