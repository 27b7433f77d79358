"""Plans of earlier versions, brought to this one step by step: what an old artifact needs to load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

PlanJson = dict[str, Any]

PLAN_VERSION = 4


def migrate_plan(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same plan in the present version; one of an unknown version comes back as it is.

    Raises:
        KeyError, TypeError, AttributeError: the data is no plan of the version that it names.
    """
    while (step := MIGRATIONS.get(data.get("version"))) is not None:
        data = step(dict(data))
    return data


def migrate_plan_v1_to_v2(plan: PlanJson) -> PlanJson:
    """Version 2 says of every output how its numbers are laid out, and whether it adds up over systems.

    In version 1 a stress was a matrix, and anything else a number or a vector; energies, which `reduce` sums, alone
    were extensive.
    """
    layers = {step["name"]: step for step in plan["steps"]}
    outputs = {}
    for name, output in plan["outputs"].items():
        step = layers[output["step"]]
        strain = step["layer"] == "grad" and step["params"]["wrt"] == "strain"
        summed = step["layer"] == "reduce" and output["index"] == "system"
        outputs[name] = {**output, "form": "cartesian" if strain else "irreps", "extensive": summed}
    return {**plan, "version": 2, "outputs": outputs}


def migrate_plan_v2_to_v3(plan: PlanJson) -> PlanJson:
    """Version 3 says who sees whom, in which unit of length, and what is known of points beside their positions.

    In version 2 there were atoms within a cutoff in Å, and nothing else was known.
    """
    if plan["kind"] != "atoms":
        return {**plan, "version": 3}
    return {**plan, "version": 3, "system": {**plan["system"], "pairs": "within", "unit": "Å", "inputs": []}}


def migrate_plan_v3_to_v4(plan: PlanJson) -> PlanJson:
    """Version 4 says which values are functions of edge lengths, and whether they are tabulated when deployed.

    In version 3 nothing was; an old artifact is used as it was trained.
    """
    return {**plan, "version": 4, "deploy": {"tabulate": None, "radial": []}}


MIGRATIONS: dict[Any, Callable[[PlanJson], PlanJson]] = {
    1: migrate_plan_v1_to_v2,
    2: migrate_plan_v2_to_v3,
    3: migrate_plan_v3_to_v4,
}
