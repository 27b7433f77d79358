"""What follows from a list of edges: the pairs of edges that share a node, and the way back along each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import DataError
from ..plan import Plan

DERIVED = ("angles", "reverse")


def with_derived(inputs: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
    """The inputs with those of `DERIVED` that are wanted and not among them, made from `edges` and `shifts`.

    Raises:
        DataError: an edge without one that leads back.
    """
    found = dict(inputs)
    if "angles" in wanted and "angles" not in found:
        found["angles"] = line_graph(found["edges"])
    if "reverse" in wanted and "reverse" not in found:
        found["reverse"] = reversed_edges(found["edges"], found["shifts"])
        if (found["reverse"] < 0).any():
            raise DataError(
                "some edges have no counterpart that leads back",
                help="give every pair of neighbours both ways, with opposite images",
            )
    return found


def derived_of(plan: Plan) -> tuple[str, ...]:
    """Which of `DERIVED` the steps of a plan read."""
    wanted = set()
    for step in plan.steps:
        role = step.params.get("role") if step.layer == "gather" else None
        if role in ("first", "second", "both") or (
            step.layer == "attend" and step.params["scope"] == "tokens"
        ):
            wanted.add("angles")
        if role == "reverse":
            wanted.add("reverse")
        if step.layer == "reduce" and step.params["from"] == "angle":
            wanted.add("angles")
    return tuple(name for name in DERIVED if name in wanted)


def line_graph(edges: Tensor) -> Tensor:
    """All ordered pairs of different edges that point at one node, by the first edge, then the second.

        (e, f):  edges[1, e] = edges[1, f],  e != f

    Periodic images of one neighbour are different edges.

    Shapes:    edges [2, edge] -> [2, angle] int64, rows e and f
    """
    target = edges[1]
    order = torch.argsort(target, stable=True)
    count = torch.bincount(target)
    start = torch.cumsum(count, 0) - count
    rows = torch.arange(target.shape[0], device=target.device)
    near = count.index_select(0, target)  # edges around the node of each edge
    first = torch.repeat_interleave(rows, near)
    before = torch.cumsum(near, 0) - near
    place = torch.arange(first.shape[0], device=target.device) - before.index_select(0, first)
    second = order.index_select(0, start.index_select(0, target.index_select(0, first)) + place)
    other = first != second
    return torch.stack((first[other], second[other]))


def reversed_edges(edges: Tensor, shifts: Tensor) -> Tensor:
    """For each edge the one from its target to its source, through the same faces of the cell; -1 without one.

        edges[:, r_e] = (target, source) of e,  shifts[r_e] = -shifts[e]

    Shapes:    edges [2, edge], shifts [edge, 3] -> r [edge] int64
    """
    source, target = edges
    images = shifts.round().to(torch.int64)
    there = _ordered([target, source, *images.unbind(1)])
    back = _ordered([source, target, *(-images).unbind(1)])
    # the k-th edge in one order and the k-th in the other are each other's way back, where all have one
    fits = (source[there] == target[back]) & (target[there] == source[back])
    fits = fits & (images[there] == -images[back]).all(1)
    return torch.empty_like(there).index_copy_(0, there, torch.where(fits, back, -1))


def _ordered(keys: Sequence[Tensor]) -> Tensor:
    """The order of rows by the first key, then the second, and so on."""
    order = torch.arange(keys[0].shape[0], device=keys[0].device)
    for key in reversed(keys):
        order = order.index_select(0, torch.argsort(key.index_select(0, order), stable=True))
    return order
