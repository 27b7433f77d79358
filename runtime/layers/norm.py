"""Normalisation of features."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..irreps import Irreps
from .base import Layer, Params, parameter

_Mean = Callable[[Tensor], Tensor]


class Norm(Layer):
    """Features brought to unit size, then scaled per channel.

        y_(m,u) = w_u (x_(m,u) - a) / sqrt(s + eps) + b_u
        s = mean over m and u of (x - a)^2 within an irrep, or the mean of these over all irreps (`merged`)

    a is the mean over the channels of invariants, and b is learned, with `layer`; else and for other irreps both
    are 0. Blocks of one irrep are one.

    Shapes:    x [n, dim] -> y [n, dim]; `weight` [channels of all blocks], `bias` [invariant channels]
    Units:     dimensionless
    Claims:    equivariant under every orthogonal group
    Reference: liao2024equiformerv2; ba2016layer
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps, self.eps = Irreps.parse(params["in"]), float(params["eps"])
        self.centred, self.merged = params["form"] == "layer", params["statistic"] == "merged"
        self.weight = parameter(self.irreps.count)
        invariant = [block for block in self.irreps if self._invariant(block.irrep)]
        self.bias: nn.Parameter | None = None
        if self.centred and invariant:
            self.bias = parameter(sum(block.mul for block in invariant))
        kinds = self.irreps.kinds
        self.members = [[n for n, b in enumerate(self.irreps) if b.irrep == kind] for kind in kinds]

    @staticmethod
    def _invariant(irrep: tuple[int, int]) -> bool:
        return irrep[0] == 0 and irrep[1] >= 0

    def initialise(self, generator: torch.Generator) -> None:
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.normalised(x, lambda value: value)

    def normalised(self, x: Tensor, mean: _Mean) -> Tensor:
        """The result, with statistics [n, 1] per element taken through `mean`."""
        pieces = [
            piece.unflatten(-1, (b.size, b.mul))
            for b, piece in zip(self.irreps, x.split([b.dim for b in self.irreps], dim=-1), strict=True)
        ]
        squares = []
        for kind, members in zip(self.irreps.kinds, self.members, strict=True):
            muls = [self.irreps[n].mul for n in members]
            together = torch.cat([pieces[n] for n in members], dim=-1)
            if self.centred and self._invariant(kind):
                together = together - mean(together.mean((-1, -2))[..., None])[..., None]
                for n, piece in zip(members, together.split(muls, dim=-1), strict=True):
                    pieces[n] = piece
            squares.append(mean(together.square().mean((-1, -2))[..., None])[..., None])
        if self.merged:
            squares = [torch.stack(squares).mean(0)] * len(squares)
        weights = self.weight.split([block.mul for block in self.irreps])
        parts: list[Tensor] = [x] * len(pieces)
        for square, members in zip(squares, self.members, strict=True):
            factor = torch.rsqrt(square + self.eps)
            for n in members:
                parts[n] = (pieces[n] * factor * weights[n]).flatten(-2)
        if self.bias is not None:
            invariant = [n for n, block in enumerate(self.irreps) if self._invariant(block.irrep)]
            shifts = self.bias.split([self.irreps[n].mul for n in invariant])
            for n, shift in zip(invariant, shifts, strict=True):
                parts[n] = parts[n] + shift
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class SystemNorm(Layer):
    """`Norm` with statistics that are means over all nodes of a system.

    Shapes:    x [node, dim], system [node], cell [system, 3, 3] -> y [node, dim]
    Units:     dimensionless
    Claims:    equivariant under every orthogonal group and under permutation; not local
    Reference: gong2023deephe3
    """

    fields: ClassVar = ("system", "cell")

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.norm = Norm(params)

    def initialise(self, generator: torch.Generator) -> None:
        self.norm.initialise(generator)

    def forward(self, x: Tensor, system: Tensor, cell: Tensor) -> Tensor:
        def total(value: Tensor) -> Tensor:
            return value.new_zeros((cell.shape[0], 1)).index_add(0, system, value)

        def mean(value: Tensor) -> Tensor:
            return (total(value) / total(torch.ones_like(value)).clamp(min=1.0)).index_select(0, system)

        return self.norm.normalised(x, mean)


def norm(params: Params) -> Layer:
    """The `norm` step, over the channels of each element or over a whole system."""
    return SystemNorm(params) if params["over"] == "system" else Norm(params)
