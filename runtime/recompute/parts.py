"""The edges of a batch in parts, each with the atoms that it reads under numbers of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# edges at a time: few enough to hold little, enough for products of matrices to be worth their calls
PART = 2048


class Part(Protocol):
    """What of each value a block reads and makes at a time.

    A value's `kind`: `edge` and `node` rows, the `receiver` rows of a sum, the `ends` of edges, or `whole`.
    """

    def take(self, value: Tensor, kind: str) -> Tensor:
        """The part of a value."""

    def cut(self, made: Tensor, kind: str) -> Tensor:
        """Of what was made for the part, what belongs to it alone."""

    def put(self, total: Tensor | None, value: Tensor | None, kind: str, rows: int) -> Tensor | None:
        """The whole of so many rows, with the part's value in it; gradients of one row add up."""


class Whole:
    """All at once."""

    def take(self, value: Tensor, kind: str) -> Tensor:
        return value

    def cut(self, made: Tensor, kind: str) -> Tensor:
        return made

    def put(self, total: Tensor | None, value: Tensor | None, kind: str, rows: int) -> Tensor | None:
        return value


@dataclass(frozen=True, slots=True)
class Subgraph:
    """The edges that point at nodes `first` to `last`.

    `edges`: which ones; `nodes`: the receivers and behind them the other senders; `ends` [2, edge]: source and
    target among these.
    """

    first: int
    last: int
    edges: Tensor
    nodes: Tensor
    ends: Tensor

    def take(self, value: Tensor, kind: str) -> Tensor:
        match kind:
            case "edge":
                return value.index_select(0, self.edges)
            case "node":
                return value.index_select(0, self.nodes)
            case "receiver":
                return value[self.first : self.last]
            case "ends":
                return self.ends
            case _:
                return value

    def cut(self, made: Tensor, kind: str) -> Tensor:
        return made[: self.last - self.first] if kind == "receiver" else made

    def put(self, total: Tensor | None, value: Tensor | None, kind: str, rows: int) -> Tensor | None:
        if value is None:
            return total
        if kind == "whole":
            return value if total is None else total + value
        if total is None:
            total = value.new_zeros((rows, *value.shape[1:]))
        match kind:
            case "edge":
                total.index_copy_(0, self.edges, value)
            case "node":
                total.index_add_(0, self.nodes, value)
            case "receiver":
                total[self.first : self.last] = value
        return total


def parts_of(context: Mapping[str, Tensor]) -> Sequence[Part]:
    """The edges of a batch by receivers, as many of these at a time as have about `PART` edges."""
    edges = context.get("edges")
    if edges is None or edges.shape[1] <= PART:
        return (Whole(),)
    nodes = context["positions"].shape[0]
    source, target = edges[0], edges[1]
    by_target = torch.argsort(target, stable=True)
    ends = torch.bincount(target, minlength=nodes).cumsum(0)
    place = torch.full((nodes,), -1, dtype=edges.dtype, device=edges.device)
    parts: list[Part] = []
    first, begun = 0, 0
    while first < nodes:
        last = int(torch.searchsorted(ends, begun + PART, right=True))
        last = min(max(last, first + 1), nodes)
        end = int(ends[last - 1])
        chosen = by_target[begun:end]
        senders = torch.unique(source.index_select(0, chosen))
        senders = senders[(senders < first) | (senders >= last)]
        here = torch.cat((torch.arange(first, last, device=edges.device), senders))
        place[here] = torch.arange(here.shape[0], device=edges.device)
        parts.append(Subgraph(first, last, chosen, here, place[edges.index_select(1, chosen)]))
        first, begun = last, end
    return parts
