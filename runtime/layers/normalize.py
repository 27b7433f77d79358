"""What is known of points, as plain numbers on nodes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..irreps import Irreps
from .base import Constant, Layer, Params


class Normalize(Layer):
    """Physical quantities brought to size one, and invariants also to mean zero.

        y_b = x_b / s_b,   y_b = (x_b - t_b) / s_b where the block b is invariant

    Shapes:    x [*, irreps.dim], s [blocks], t [number of invariants] -> y [*, irreps.dim] in the model's dtype
    Units:     s, t those of x; y dimensionless
    Claims:    equivariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps = Irreps.parse(params["irreps"])
        name = params["name"]
        shift = (f"{name}_shift",) if self.irreps.invariants else ()
        self.statistics = (f"{name}_scale", *shift)  # type: ignore[misc]  # the name is only known here
        self.like = Constant(torch.zeros(()))

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
        x = x.to(scale.dtype)
        parts, at = [], 0
        for k, block in enumerate(self.irreps):
            part = x[..., block.slice]
            if shift is not None and block.irrep == (0, 1):
                part = part - shift[at : at + block.mul]
                at += block.mul
            parts.append(part / scale[k])
        y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return y.to(self.like.value.dtype)


class Spread(Layer):
    """Values of systems at their nodes.

        y_i = x_(s(i)),   s(i) the system of node i

    Shapes:    x [system, dim], system [node] -> y [node, dim]
    Units:     those of x
    Claims:    equivariant under every group and under permutation
    """

    fields: ClassVar = ("system",)

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, x: Tensor, system: Tensor) -> Tensor:
        return x.index_select(0, system)
