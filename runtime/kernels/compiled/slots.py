"""Where the compiled step finds numbers: places in one array of addresses, filled anew at each call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

CType = Literal["T", "double", "int64_t", "void"]
# how often a size counts nodes, edges, systems, and ones
Size = tuple[int, int, int, int]
ALIGNMENT = 64
# the rows of the two orders of the edges, each as long as nodes, one more, and edges
ORDERS = 2
# the rows of the ends of edges: all sources, and after them all targets
ENDS = "ends"


@dataclass(frozen=True, slots=True)
class Buffer:
    """Room in the workspace. `several`: which only several threads need."""

    size: Size
    several: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """An input or a statistic of the model."""

    name: str


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that a layer holds, looked up by its key at each call: weights may change in between."""

    store: Mapping[str, Tensor | None]
    key: str


@dataclass(frozen=True, slots=True)
class Function:
    """A kernel of another library."""

    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Blas:
    """torch's own matrix product."""


@dataclass(frozen=True, slots=True)
class Alone:
    """What makes the products of a thread its own work (see `gemm.alone`)."""


@dataclass(frozen=True, slots=True)
class Made:
    """A tensor made during a call: what the caller gets, or what a rule in Python gives (value or gradient)."""

    key: tuple[str, ...]
    size: Size | None = None


Origin = Buffer | Given | Weight | Function | Blas | Alone | Made


@dataclass(eq=False, slots=True)
class Slot:
    """One address: its number in the array, what lies there, and how many still need it. A buffer is one value's.

    `rows` is what the rows of a value are ("node", "edge", "system", or how many), `dim` their length; None where
    the value is one number a row.
    """

    number: int
    ctype: CType
    origin: Origin
    rows: str | int = 0
    dim: int | None = None
    holders: int = field(default=0)

    def __str__(self) -> str:
        return f"p{self.number}"

    @property
    def anywhere(self) -> str:
        """Its name where rows of other nodes are read than those that a statement is for."""
        return f"a{self.number}"

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return 1 if self.dim is None else self.dim

    @property
    def count(self) -> str:
        """How many rows there are, in C."""
        return {"node": "N", "edge": "E", "system": "S"}.get(str(self.rows), str(self.rows))

    @property
    def numbers(self) -> str:
        """How many numbers there are, in C."""
        return f"{self.count} * {self.width}"


def size_of(rows: str | int, width: int) -> Size:
    """The size of so many rows."""
    if isinstance(rows, int):
        return 0, 0, 0, rows * width
    return tuple(width if name == rows else 0 for name in ("node", "edge", "system", ""))  # type: ignore[return-value]


def count_of(size: Size, nodes: int, edges: int, systems: int) -> int:
    """How many numbers a size is in a batch."""
    return sum(a * b for a, b in zip(size, (nodes, edges, systems, 1), strict=True))


def torch_type(ctype: CType, dtype: torch.dtype) -> torch.dtype:
    """The dtype of tensors of a C type, with T that of the model."""
    return {"T": dtype, "double": torch.float64, "int64_t": torch.int64}[ctype]
