"""Sums, differences, scalings and rearrangements of values on the same index."""

from __future__ import annotations

import torch
from torch import Tensor

from ..irreps import Irreps
from .base import Layer, Params


class Add(Layer):
    """Sum of any number of values of one type.

        y = x_1 + x_2 + ...

    Shapes:    x_i [*, dim] -> y [*, dim]
    Units:     those of x
    Claims:    equivariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, first: Tensor, *rest: Tensor) -> Tensor:
        for value in rest:
            first = first + value
        return first


class Difference(Layer):
    """Difference of two values of one type.

        y = a - b

    Shapes:    a, b [*, dim] -> y [*, dim]
    Units:     those of a and b
    Claims:    equivariant under every linear group; of positions, invariant under translation
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b


class Scale(Layer):
    """Multiply by a fixed number.

        y = by * x

    Shapes:    x [*, dim] -> y [*, dim]
    Units:     those of x, times the unit of `by`
    Claims:    equivariant under every linear group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.by = float(params["by"])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by


class Concat(Layer):
    """Put values side by side.

        y = x_1 (+) x_2 (+) ...

    Shapes:    x_i [*, dim_i] -> y [*, sum dim_i]
    Claims:    equivariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, *values: Tensor) -> Tensor:
        return torch.cat(values, dim=-1)


class Slice(Layer):
    """A part of a value, between blocks.

        y = x[start:stop]

    Shapes:    x [*, dim] -> y [*, stop - start]
    Units:     those of x
    Claims:    equivariant under every group whose blocks are not cut
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.start, self.stop = int(params["start"]), int(params["stop"])

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.start : self.stop]


class Inner(Layer):
    """Inner products, irrep by irrep.

        y_u = sum_m a_(m,u) b_(m,u)

    Shapes:    a, b [*, in.dim] -> y [*, in.count]
    Units:     product of those of a and b
    Claims:    invariant under every orthogonal group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps = Irreps.parse(params["in"])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        product = a * b
        parts = [
            product[..., block.slice].unflatten(-1, (block.size, block.mul)).sum(-2) for block in self.irreps
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class Norms(Layer):
    """The length of every irrep, rounded at zero.

        y_u = sqrt(sum_m x_(m,u)^2 + eps)

    Shapes:    x [*, in.dim] -> y [*, in.count]
    Units:     those of x
    Claims:    invariant under every orthogonal group
    Reference: schutt2021painn
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps, self.eps = Irreps.parse(params["in"]), float(params["eps"])

    def forward(self, x: Tensor) -> Tensor:
        squares = x * x
        parts = [
            squares[..., block.slice].unflatten(-1, (block.size, block.mul)).sum(-2) for block in self.irreps
        ]
        total = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return (total + self.eps).sqrt()


class Weigh(Layer):
    """Every irrep times an invariant.

        y_(m,u) = w_u x_(m,u),   one w for all, or one for each irrep
        y_(m,uc) = w_(u,c) x_(m,u)   with copies

    Shapes:    x [*, in.dim], w [*, 1] or [*, in.count copies] -> y [*, in.dim copies]
    Units:     product of those of x and w
    Claims:    equivariant under every group that leaves w alone
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps = Irreps.parse(params["in"])
        self.copies = int(params.get("copies", 1))
        self.one = int(params["weights"]) == 1 and self.copies == 1

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        if self.one or (self.irreps.dim == self.irreps.count and self.copies == 1):
            return x * w
        blocks = list(self.irreps)
        values = x.split([block.dim for block in blocks], dim=-1)
        weights = w.split([block.mul * self.copies for block in blocks], dim=-1)
        parts = [
            (
                value.unflatten(-1, (block.size, block.mul, 1))
                * weight.unflatten(-1, (1, block.mul, self.copies))
            ).flatten(-3)
            for block, value, weight in zip(blocks, values, weights, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
