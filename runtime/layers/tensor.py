"""Between irreps and matrices, and between features and physical quantities."""

from __future__ import annotations

import torch
from torch import Tensor as Values

from ..irreps import Irreps
from ..tables.cartesian import matrix_basis
from .base import Constant, Layer, Params


class Tensor(Layer):
    """Irreps as a matrix, or a matrix as irreps, by an orthonormal basis.

        T_ab = sum_m Q_(m,ab) x_m    or    x_m = sum_ab Q_(m,ab) T_ab

    Shapes:    x [*, irreps.dim] -> T [*, 3, 3], or the other way round
    Units:     those of x
    Claims:    O(3)-equivariant: T turns as R T R^T
    Reference: geiger2022e3nn (CartesianTensor)
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.to_matrix = params["to"] == "cartesian"
        self.basis = Constant(torch.from_numpy(matrix_basis(params["irreps"]).copy()).flatten(1))

    def forward(self, x: Values) -> Values:
        basis = self.basis().to(x.dtype)
        if self.to_matrix:
            return (x @ basis).unflatten(-1, (3, 3))
        return x.flatten(-2) @ basis.T


class Rescale(Layer):
    """Features brought to the size, and invariants also to the mean, of what is predicted.

        y_b = s_b x_b (+ t_b where the block b is invariant)

    Shapes:    x [node, irreps.dim], s [blocks], t [number of invariants] -> y [node, irreps.dim] float64
    Units:     x dimensionless; s, t and y in those of the target
    Claims:    equivariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps = Irreps.parse(params["irreps"])
        name = params["target"]
        shift = (f"{name}_shift",) if self.irreps.invariants else ()
        self.statistics = (f"{name}_scale", *shift)  # type: ignore[misc]  # the target is only known here

    def forward(self, x: Values, scale: Values, shift: Values | None = None) -> Values:
        x = x.to(scale.dtype)
        parts, at = [], 0
        for k, block in enumerate(self.irreps):
            part = x[..., block.slice] * scale[k]
            if shift is not None and block.irrep == (0, 1):
                part = part + shift[at : at + block.mul]
                at += block.mul
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
