"""Features into the axes of a frame, and back."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..errors import ArtifactError
from ..irreps import Irreps
from .base import Layer, Params


class Turn(Layer):
    """Features in the axes of a frame, or back from there.

        y_(l,m,u) = s sum_m' D_l(Q)_(m,m') x_(l,m',u);    back: D_l(Q)^T

    s is 1, or the determinant of Q for irreps whose parity is not (-1)^l (where Q may be improper).

    Shapes:    x [n, dim], Q [n, sum (2l + 1)^2] as `frame` makes it -> y [n, dim]
    Units:     those of x
    Claims:    with Q(g) = h Q g^-1: y = h y under g; back of into is the identity
    Reference: passaro2023escn
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps, self.back = Irreps.parse(params["irreps"]), bool(params["back"])
        self.lmax, mirrors = int(params["lmax"]), bool(params["mirrors"])
        if max(block.l for block in self.irreps) > self.lmax:
            raise ArtifactError(f"a frame to degree {self.lmax} does not turn `{self.irreps}`")
        self.signed = [mirrors and block.p != (-1) ** block.l for block in self.irreps]

    def forward(self, x: Tensor, q: Tensor) -> Tensor:
        matrices = q.split([(2 * l + 1) ** 2 for l in range(self.lmax + 1)], dim=1)
        sign = None
        if any(self.signed):
            sign = torch.linalg.det(matrices[1].unflatten(1, (3, 3))).sign()[:, None]
        pieces = x.split([block.dim for block in self.irreps], dim=1)
        parts: list[Tensor] = [x] * len(pieces)
        for l in dict.fromkeys(block.l for block in self.irreps):
            mine = [n for n, block in enumerate(self.irreps) if block.l == l]
            muls = [self.irreps[n].mul for n in mine]
            together = [pieces[n].unflatten(1, (2 * l + 1, self.irreps[n].mul)) for n in mine]
            matrix = matrices[l].unflatten(1, (2 * l + 1, 2 * l + 1))
            turned = torch.bmm(matrix.transpose(1, 2) if self.back else matrix, torch.cat(together, dim=2))
            for n, part in zip(mine, turned.split(muls, dim=2), strict=True):
                parts[n] = part.flatten(1) if sign is None or not self.signed[n] else part.flatten(1) * sign
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class TurnNodes(Layer):
    """`Turn` of node features by the frames of their systems: Q [system, ...]."""

    fields: ClassVar = ("system",)

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.turn = Turn(params)

    def forward(self, x: Tensor, q: Tensor, system: Tensor) -> Tensor:
        return self.turn(x, q.index_select(0, system))


def turn(params: Params) -> Layer:
    """The steps `to_frame` and `from_frame`; `spread`: one frame for all nodes of a system."""
    return TurnNodes(params) if params["spread"] else Turn(params)
