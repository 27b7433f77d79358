"""Edges as a table of nodes by neighbours, so that sums over edges are batched products and nothing is scattered.

Every edge has one slot among those that point at its target, and one among those that leave its source. A table
is as wide as the largest number of edges at a node; its empty slots hold -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from equic.runtime.errors import DataError
from equic.runtime.layers.base import Layer
from torch import Tensor


class EdgeSlots(Layer):
    """The slots of the edges, once for all messages of a model.

    Shapes:    x [node, *], edges [2, edge] -> [2, node * width + edge] (see `edge_slots`)
    """

    fields: ClassVar = ("edges",)

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return edge_slots(edges, x.shape[0])


def edge_slots(edges: Tensor, nodes: int) -> Tensor:
    """Both tables as one tensor of 2 (nodes width + edge) numbers: by target, then by source.

    In each row first the table [nodes, width] of edges, -1 where there is none, then the slot of each edge.
    Edges keep their order within a node.

    Shapes:    edges [2, edge] int64 -> [2, nodes * width + edge] int64

    Raises:
        DataError: an edge names a node that does not exist.
    """
    ends = (edges[1], edges[0])
    counts = [torch.bincount(end, minlength=nodes) for end in ends]
    if any(count.shape[0] > nodes for count in counts):
        raise DataError(f"an edge names node {int(edges.max())}, and there are {nodes}")
    width = int(torch.stack(counts).max()) if nodes else 0
    rows = []
    for end, count in zip(ends, counts, strict=True):
        order = torch.argsort(end, stable=True)
        ends_at = end.index_select(0, order)
        rank = torch.arange(end.shape[0], device=end.device) - (count.cumsum(0) - count)[ends_at]
        place = ends_at * width + rank
        table = end.new_full((nodes * width,), -1).index_copy(0, place, order)
        rows.append(torch.cat([table, torch.empty_like(place).index_copy(0, order, place)]))
    return torch.stack(rows)


@dataclass(frozen=True, slots=True)
class Slots:
    """What `edge_slots` found, taken apart.

    Attributes:
        nodes, width: the size of the tables.
        edge: the edge in each slot by target [nodes * width]; any where it is empty.
        filled: 1 where a slot by target holds an edge [nodes * width, 1], else 0.
        place: the slot by target of each edge [edge].
        node: the source of each slot by target [nodes * width]; any where it is empty.
        leaving: of each slot by source, its edge's slot by target [nodes * width].
        left: 1 where a slot by source holds an edge [nodes, 1, width], else 0.
    """

    nodes: int
    width: int
    edge: Tensor
    filled: Tensor
    place: Tensor
    node: Tensor
    leaving: Tensor
    left: Tensor


def take_apart(slots: Tensor, edges: Tensor, nodes: int, dtype: torch.dtype) -> Slots:
    """The tables in the tensor of `edge_slots`, masks as numbers of `dtype`."""
    count = edges.shape[1]
    width = (slots.shape[1] - count) // nodes if nodes else 0
    by_target, place = slots[0].split([nodes * width, count])
    by_source = slots[1, : nodes * width]
    edge, out = by_target.clamp(min=0), by_source.clamp(min=0)
    return Slots(
        nodes=nodes,
        width=width,
        edge=edge,
        filled=(by_target >= 0).to(dtype)[:, None],
        place=place,
        node=edges[0].index_select(0, edge),
        leaving=place.index_select(0, out),
        left=(by_source >= 0).to(dtype).view(nodes, 1, width),
    )


def to_slots(x: Tensor, slots: Slots) -> Tensor:
    """What belongs to edges, by slot. Empty slots hold something: their reader multiplies it by zero.

    Shapes:    x [edge, dim] -> [nodes * width, dim]
    """
    return _ToSlots.apply(x, slots.edge, slots.place)


def sources(x: Tensor, slots: Slots) -> Tensor:
    """The value of each slot's source node. The gradient is a sum over a node's slots by source.

    Shapes:    x [nodes, dim] -> [nodes * width, dim]
    """
    return _Sources.apply(x, slots.node, slots.leaving, slots.left)


class _ToSlots(torch.autograd.Function):
    """y_slot = x_edge(slot). Each edge has one slot, so the gradient is a gather too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, edge: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(edge, place)
        return x.index_select(0, edge)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _FromSlots.apply(g, *ctx.saved_tensors), None, None


class _FromSlots(torch.autograd.Function):
    """x_edge = y_slot(edge): what `_ToSlots` is the gradient of, where empty slots count for nothing."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, edge: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(edge, place)
        return y.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _ToSlots.apply(g, *ctx.saved_tensors), None, None


class _Sources(torch.autograd.Function):
    """y_slot = x_source(slot)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, node: Tensor, leaving: Tensor, left: Tensor) -> Tensor:
        ctx.save_for_backward(node, leaving, left)
        return x.index_select(0, node)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _Collected.apply(g, *ctx.saved_tensors), None, None, None


class _Collected(torch.autograd.Function):
    """x_n = sum of y over the slots whose source is n."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, node: Tensor, leaving: Tensor, left: Tensor) -> Tensor:
        ctx.save_for_backward(node, leaving, left)
        nodes, _, width = left.shape
        values = y.index_select(0, leaving).view(nodes, width, y.shape[1])
        return torch.bmm(left, values)[:, 0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _Sources.apply(g, *ctx.saved_tensors), None, None, None
