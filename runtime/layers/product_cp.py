"""Products by factors: all couplings of two features as a sum of products of numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..irreps import Irreps
from .base import Constant, Layer, Params, fill_normal, parameter
from .sphere import one_channel_count


class Factored(Layer):
    """The canonical polyadic form of a product, channel by channel.

        out_(k,u) = w_u sum_r A_(k,r) (sum_i B_(i,r) x_(i,u)) (sum_j C_(j,r) y_(j,u))

    with i, j, k the components of all blocks, and factors A, B, C that the plan brings. Unit inputs and weights give
    unit outputs. With one channel in y it meets every channel of x.

    Shapes:    x [n, left.dim], y [n, right.dim] (, w [n, channel]) -> [n, out.dim]; learned w are N(0, 1)
    Units:     product of those of x, y and w
    Claims:    O(3)-equivariant but for what the factors leave out
    Reference: lin2025tdn
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        sides = [Irreps.parse(params[name]) for name in ("left", "right", "out")]
        self.channels = [one_channel_count(side) for side in sides]
        tables = [
            torch.tensor(params["factors"][name], dtype=torch.float64) for name in ("left", "right", "out")
        ]
        for side, table in zip(sides, tables, strict=True):
            if table.ndim != 2 or table.shape != (sum(block.size for block in side), tables[0].shape[1]):
                raise ArtifactError(f"the factors of a product do not fit `{side}`")
        if self.channels[2] != self.channels[0] or self.channels[1] not in (1, self.channels[0]):
            raise ArtifactError(f"a product by factors has no {self.channels} channels")
        self.left, self.right = (Constant(table.T.contiguous()) for table in tables[:2])
        self.back = Constant(tables[2])
        self.weight: nn.Parameter | None = parameter(self.channels[0]) if params["learned"] else None

    def initialise(self, generator: torch.Generator) -> None:
        if self.weight is not None:
            fill_normal(self.weight, generator)

    def forward(self, x: Tensor, y: Tensor, given: Tensor | None = None) -> Tensor:
        a = self.left() @ x.unflatten(-1, (-1, self.channels[0]))
        b = self.right() @ y.unflatten(-1, (-1, self.channels[1]))
        weight = given if self.weight is None else self.weight
        assert weight is not None
        return ((self.back() @ (a * b)) * weight.unsqueeze(-2)).flatten(-2)
