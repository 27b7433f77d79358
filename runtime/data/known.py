"""What is known of a structure beside its positions: the inputs that a plan declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from equic.runtime.plan import Output, Plan
from equic.runtime.tables.cartesian import to_irreps

from .labels import Array, LabelError, read_label


class InputError(LabelError):
    """An input that cannot be used; `name` is that of the plan."""

    def __init__(self, name: str, error: LabelError) -> None:
        super().__init__(error.problem, error.message, help=error.help)
        self.name = name


def read_known(
    found: Mapping[str, Any], plan: Plan, nodes: int, where: str, *, optional: bool = False
) -> dict[str, Array]:
    """Every input of the plan as components of its irreps: [1, dim] per system, [nodes, dim] per node.

    `found` has what a structure carries by key. Matrices may come as 3x3, 9 or 6 numbers. With `optional`, what
    is missing is zero (a free atom in no field).

    Raises:
        InputError: an input is missing, not finite, or of another shape.
    """
    return {
        entry["name"]: read_input(found, entry, nodes, where, optional=optional)
        for entry in plan.system.get("inputs", ())
    }


def read_input(
    found: Mapping[str, Any], entry: Mapping[str, Any], nodes: int, where: str, *, optional: bool = False
) -> Array:
    """One input, an entry of the plan's system, as `read_known` reads them all.

    Raises:
        InputError: it is missing, not finite, or of another shape.
    """
    rows = nodes if entry["index"] == "node" else 1
    output = Output("", entry["index"], entry["rep"], entry["unit"], entry["form"], extensive=False)
    if optional and entry["key"] not in found:
        return np.zeros((rows, output.dim))
    try:
        value = read_label(found, entry["key"], output, nodes, where)
    except LabelError as error:
        raise InputError(entry["name"], error) from error
    if entry["form"] == "cartesian":
        value = to_irreps(value, entry["rep"])
    return value.reshape(rows, output.dim)
