"""What emitted files call beside their layers. Its functions are copied into them, and not used elsewhere."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import torch
from torch import Tensor, nn

from ..neighbors.line_graph import with_derived

__all__ = ["bound", "derivatives", "leaf", "make", "strained", "table", "volumes", "with_derived"]

TABLES: dict[str, tuple[str, tuple[int, ...], str]] = {}


class bound(str):
    """The name of a method of the layer itself, as an attribute's value."""


def make(kind: type[nn.Module], **attributes: Any) -> nn.Module:
    """A layer whose tables are built already: an instance with these attributes, its constructor not called."""
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    for name, value in attributes.items():
        setattr(module, name, getattr(module, value) if isinstance(value, bound) else value)
    return module


def table(name: str) -> Tensor:
    """One of the packed tables at the end of this file."""
    dtype, shape, text = TABLES[name]
    data = bytearray(zlib.decompress(base64.b85decode(text)))
    return torch.frombuffer(data, dtype=getattr(torch, dtype)).reshape(shape)


def leaf(value: Tensor, create_graph: bool) -> Tensor:
    """An input that will be differentiated by: itself where the caller differentiates too, else a fresh copy."""
    return value if create_graph and value.requires_grad else value.detach().requires_grad_(True)


def strained(strain: Tensor, positions: Tensor, cell: Tensor, system: Tensor) -> tuple[Tensor, Tensor]:
    """Positions and cell under r -> r (1 + e), e the symmetric part of a strain that is zero."""
    symmetric = (strain + strain.transpose(1, 2)) / 2
    of_atom = symmetric.index_select(0, system)
    moved = positions + torch.bmm(positions[:, None], of_atom)[:, 0]
    return moved, cell + torch.bmm(cell, symmetric)


def volumes(cell: Tensor) -> Tensor:
    """The volume of each cell, its rows the lattice vectors."""
    return (cell[:, 0] * torch.linalg.cross(cell[:, 1], cell[:, 2])).sum(-1).abs()


def derivatives(
    scalar: Tensor, leaves: dict[str, Tensor], create_graph: bool, again: bool = False
) -> dict[str, Tensor]:
    """d(sum of scalar)/d(leaf) for every leaf, from one backward pass; `again`: another scalar follows."""
    found = torch.autograd.grad(
        scalar.sum(),
        list(leaves.values()),
        create_graph=create_graph,
        retain_graph=create_graph or again,
        materialize_grads=True,
    )
    return dict(zip(leaves, found, strict=True))
