"""Weighted harmonics summed around each node: a message whose senders say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from equic.runtime.irreps import Irreps
from torch import Tensor

from .geometry import Gradients
from .message import Message
from .sums import MessageRule


class Around(Message):
    """Sum over the edges at each node of irreps times weights, copy by copy.

        out_(n,k,m,c) = 1/N sum_(e -> n) w_(e,k,c) Y_(e,k,m)

    What a `weigh` with copies and a `reduce` from edges to nodes compute one after the other: the message of
    scalars that are 1. Nothing of the size edge x out.dim exists.

    Shapes:    Y [edge, in.dim], w [edge, in.count copies], order as of `edge_order`, edges [2, edge]
               -> [node, in.dim copies]
    Units:     product of those of Y and w
    Claims:    those of the layers it stands for
    """

    def __init__(self, weigh: Mapping[str, Any], norm: str) -> None:
        irreps, self.copies = Irreps.parse(weigh["in"]), int(weigh["copies"])
        blocks = [f"{block.l}{'e' if block.p == 1 else 'o'}" for block in irreps]
        product = {
            "left": f"{self.copies}x0e",
            "right": "+".join(f"1x{name}" for name in blocks),
            "out": "+".join(f"{self.copies}x{name}" for name in blocks),
            "paths": [[0, k, k, 1.0] for k in range(len(blocks))],
        }
        super().__init__(product, norm)

    def forward(
        self, y: Tensor, w: Tensor, order: Tensor, edges: Tensor, average_neighbors: Tensor | None = None
    ) -> Tensor:
        return super().forward(self.ones(y, order[1]), y, w, order, edges, average_neighbors)

    def ones(self, y: Tensor, by_source: Tensor) -> Tensor:
        """What the senders say: as many rows as the order by source counts."""
        return y.new_ones((by_source.shape[0] - 1 - y.shape[0], self.copies))


class AroundRule(MessageRule):
    """A message of ones on its kernels."""

    def __init__(self, layer: Around) -> None:
        super().__init__(layer)
        self.around = layer

    def keep(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> None:
        y, _, order = values
        super().keep([self.around.ones(y, order[1]), *values], context, [False, *wants])

    def pull(self, g: Tensor) -> Gradients:
        return super().pull(g)[1:]


def is_around(weigh: Mapping[str, Any]) -> bool:
    """Whether a `weigh` makes copies of single irreps of O(3), each with a weight of its own."""
    irreps = Irreps.parse(weigh["in"])
    return int(weigh.get("copies", 1)) > 1 and all(block.mul == 1 and block.p for block in irreps)
