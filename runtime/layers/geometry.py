"""From positions to edge vectors, lengths and spherical harmonics."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..tables.spherical import harmonic_polynomials, monomials
from .base import Constant, Layer, Params


class Relative(Layer):
    """The vector along each edge, target less source.

        v_e = r_t - r_s - S_e C,   C the cell (rows) of the target's system, S the lattice image

    Shapes:    positions [node, 3], edges [2, edge], shifts [edge, 3], cell [system, 3, 3] -> v [edge, 3]
    Units:     Å; computed in float64, then cast to the model's dtype
    Claims:    O(3)-equivariant (1o); invariant under translation
    """

    fields: ClassVar = ("edges", "shifts", "cell", "system")

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.like = Constant(torch.zeros(()))

    def forward(
        self, positions: Tensor, edges: Tensor, shifts: Tensor, cell: Tensor, system: Tensor
    ) -> Tensor:
        source, target = edges[0], edges[1]
        lattice = cell.index_select(0, system.index_select(0, target))
        offset = torch.bmm(shifts.to(lattice.dtype)[:, None], lattice)[:, 0]
        vector = positions.index_select(0, target) - positions.index_select(0, source) - offset
        return vector.to(self.like.value.dtype)


class Length(Layer):
    """The length of each vector, with gradient 0 where it vanishes.

        r = |v|

    Shapes:    v [*, 3] -> r [*, 1]
    Units:     those of v
    Claims:    O(3)-invariant
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, v: Tensor) -> Tensor:
        return safe_norm(v)


class SphericalHarmonics(Layer):
    """Real spherical harmonics of the direction of each vector.

        Y_(l,m)(v / |v|),  l = 0..lmax;  mean square over the sphere 1, so |Y_l|^2 = 2l + 1

    Each Y_l is a polynomial of degree l; monomials are built one degree from the other. At v = 0, where
    there is no direction, Y_l = 0 for l > 0, and gradients stay finite.

    Shapes:    v [edge, 3] -> Y [edge, (lmax + 1)^2], blocks 1x0e+1x1o+1x2e+...
    Units:     dimensionless
    Claims:    O(3)-equivariant, natural parity
    Reference: e3nn 0.6.0, component normalisation
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.lmax = int(params["lmax"])
        self.tables = nn.ModuleList(
            Constant(torch.from_numpy(harmonic_polynomials(l).T.copy())) for l in range(1, self.lmax + 1)
        )
        for l in range(2, self.lmax + 1):
            row = {monomial: i for i, monomial in enumerate(monomials(3, l - 1))}
            names = monomials(3, l)
            self.register_buffer(f"lower{l}", torch.tensor([row[n[:-1]] for n in names]), persistent=False)
            self.register_buffer(f"axis{l}", torch.tensor([n[-1] for n in names]), persistent=False)

    def forward(self, v: Tensor) -> Tensor:
        squared = (v * v).sum(-1, keepdim=True)
        unit = v * torch.rsqrt(squared + (squared == 0.0))
        # components first: gathers then copy whole rows
        direction = unit.transpose(0, 1).contiguous()
        parts, power = [torch.ones_like(direction[:1])], direction
        for l in range(1, self.lmax + 1):
            if l > 1:
                lower, axis = self.get_buffer(f"lower{l}"), self.get_buffer(f"axis{l}")
                power = power.index_select(0, lower) * direction.index_select(0, axis)
            parts.append(self.tables[l - 1]() @ power)
        return torch.cat(parts).transpose(0, 1)


def safe_norm(v: Tensor, dim: int = -1) -> Tensor:
    """|v| along an axis, which is kept; its gradient is 0 where v is."""
    squared = (v * v).sum(dim, keepdim=True)
    zero = (squared == 0.0).to(squared.dtype)
    return (squared + zero).sqrt() - zero
