"""What goes into an exported program and what comes out: names, order, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from equic.runtime.irreps import Irreps
from equic.runtime.neighbors.line_graph import derived_of
from equic.runtime.plan import Plan

# Symbolic sizes with the bounds that the exported program accepts.
SIZES: dict[str, tuple[int, int]] = {
    "atoms": (1, 10**7),
    "edges": (0, 10**9),
    "angles": (0, 10**11),
    "systems": (1, 10**6),
    "batch": (1, 10**7),
}

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "int64": torch.int64,
}


@dataclass(frozen=True, slots=True)
class Port:
    """One tensor at the boundary of an exported program; a word in `shape` is a size of `SIZES`."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Port:
        return cls(value["name"], value["dtype"], tuple(value["shape"]))

    def __str__(self) -> str:
        return f"{self.name} [{', '.join(map(str, self.shape))}] {self.dtype}"


# The order of the positional arguments of an exported program of atoms. Programs in other languages rely on
# it: never reorder, only append.
ATOMS_INPUTS: tuple[Port, ...] = (
    Port("positions", "float64", ("atoms", 3)),
    Port("species", "int64", ("atoms",)),
    Port("cell", "float64", ("systems", 3, 3)),
    Port("system", "int64", ("atoms",)),
    Port("edges", "int64", (2, "edges")),
    Port("shifts", "float64", ("edges", 3)),
)


# What models read that pairs of edges or ways back along them have a say in; equic makes it of edges and shifts.
DERIVED_INPUTS: dict[str, Port] = {
    "angles": Port("angles", "int64", (2, "angles")),
    "reverse": Port("reverse", "int64", ("edges",)),
}


def input_ports(plan: Plan) -> tuple[Port, ...]:
    """The inputs of a program, in their fixed order.

    Atoms and particles: positions, species, cell, system, edges, shifts, then declared inputs, then, where the
    model reads them, angles and reverse (`runtime/neighbors/line_graph.py`). Phase space: state [batch, dim],
    float64 whatever the network computes in, like all geometry.
    """
    if plan.is_points:
        known = tuple(_known_port(entry) for entry in plan.system["inputs"])
        return ATOMS_INPUTS + known + tuple(DERIVED_INPUTS[name] for name in derived_of(plan))
    return (Port("state", "float64", ("batch", int(plan.system["dim"]))),)


def _known_port(entry: Mapping[str, Any]) -> Port:
    """An input that the plan declares, as components of its irreps."""
    rows = "atoms" if entry["index"] == "node" else "systems"
    return Port(entry["name"], "float64", (rows, Irreps.parse(entry["rep"]).dim))


def name_shape(shape: torch.Size, sizes: dict[str, int]) -> tuple[int | str, ...]:
    """`shape` with every number that is one of `sizes` replaced by its word (sizes are distinct primes)."""
    words = {number: word for word, number in sizes.items()}
    return tuple(words.get(number, number) for number in shape)


def name_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
