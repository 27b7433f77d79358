"""Parts of features, put in another order."""

from __future__ import annotations

import torch
from torch import Tensor

from ..irreps import Irreps
from .base import Layer, Params


class Arrange(Layer):
    """Blocks made of the first copies of other blocks, side by side.

        y_k = (+) over pieces (b, n) of block k:  x_(b, m, u < n)

    Shapes:    x [*, in.dim] -> y [*, sum over pieces of (2l + 1) n]
    Units:     those of x
    Claims:    equivariant under every group; what the result is called is not known here
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps = Irreps.parse(params["in"])
        self.pieces = [[(int(b), int(n)) for b, n in pieces] for pieces in params["pieces"]]
        same = [[(b, block.mul)] for b, block in enumerate(self.irreps)]
        self.idle = self.pieces == same

    def forward(self, x: Tensor) -> Tensor:
        if self.idle:
            return x
        blocks = x.split([block.dim for block in self.irreps], dim=-1)
        parts = []
        for pieces in self.pieces:
            some = []
            for b, n in pieces:
                size, mul = self.irreps[b].size, self.irreps[b].mul
                value = blocks[b].unflatten(-1, (size, mul))
                some.append(value if n == mul else value[..., :n])
            parts.append((some[0] if len(some) == 1 else torch.cat(some, dim=-1)).flatten(-2))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
