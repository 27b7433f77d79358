"""What is known of a structure beside its positions: the inputs that a plan declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from equic.runtime.plan import Output, Plan
from equic.runtime.tables.cartesian import to_irreps

from .labels import Array, read_label


def read_known(
    found: Mapping[str, Any], plan: Plan, nodes: int, where: str, *, optional: bool = False
) -> dict[str, Array]:
    """Every input of the plan as components of its irreps: [1, dim] per system, [nodes, dim] per node.

    `found` has what a structure carries by key. Matrices may come as 3x3, 9 or 6 numbers. With `optional`, what
    is missing is zero (a free atom in no field).

    Raises:
        LabelError: an input is missing, not finite, or of another shape.
    """
    inputs = {}
    for entry in plan.system.get("inputs", ()):
        rows = nodes if entry["index"] == "node" else 1
        output = Output("", entry["index"], entry["rep"], entry["unit"], entry["form"], extensive=False)
        if optional and entry["key"] not in found:
            inputs[entry["name"]] = np.zeros((rows, output.dim))
            continue
        value = read_label(found, entry["key"], output, nodes, where)
        if entry["form"] == "cartesian":
            value = to_irreps(value, entry["rep"])
        inputs[entry["name"]] = value.reshape(rows, output.dim)
    return inputs
