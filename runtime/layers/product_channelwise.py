"""Clebsch-Gordan products of channel with channel, and the fully connected product of rank one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..irreps import Irreps
from ..tables.wigner import wigner_3j
from .base import Constant, Params
from .product_connected import Route, Weighted, read_routes


class Channelwise(Weighted):
    """Couple channel u of x with channel u of y.

        out_(k,m3,u) = f_p [w_(p,u)] sum_(m1,m2) w3j_(m1,m2,m3) x_(i,m1,u) y_(j,m2,u)      path p = (i, j, k)

    with f_p of `read_routes`; "uuu" has weights, "elementwise" none. For all blocks of one multiplicity the
    pairs of components that couple are multiplied at once, and one GEMM sums them.

    Shapes:    x [n, left.dim], y [n, right.dim] (, w [n, sum of u over paths]) -> [n, out.dim]
    Units:     product of those of x, y and w
    Claims:    O(3)-equivariant where parities allow every path; SO(3)-equivariant always
    Reference: e3nn TensorProduct with "uuu" paths; ElementwiseTensorProduct
    """

    def __init__(self, params: Params) -> None:
        left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        routes = sorted(read_routes(params, left, right, out), key=lambda route: route.into)
        super().__init__(params, routes)
        self.weightless = params["connection"] == "elementwise"
        self.left, self.right, self.out = left, right, out
        muls = dict.fromkeys(left[r.left].mul for r in routes)
        self.members = [[r for r in routes if left[r.left].mul == mul] for mul in muls]
        self.sums = nn.ModuleList()
        for group in self.members:
            places = [(left[r.left].l, right[r.right].l, out[r.into].l, r.factor) for r in group]
            self.sums.append(CoupledSum(places, [[n] for n in range(len(group))]))

    def forward(self, x: Tensor, y: Tensor, given: Tensor | None = None) -> Tensor:
        lefts = [
            p.unflatten(1, (b.size, b.mul)) for b, p in zip(self.left, _split(x, self.left), strict=True)
        ]
        rights = [
            p.unflatten(1, (b.size, b.mul)) for b, p in zip(self.right, _split(y, self.right), strict=True)
        ]
        parts: dict[int, Tensor] = {}
        for group, coupled in zip(self.members, self.sums, strict=True):
            values = coupled([lefts[r.left] for r in group], [rights[r.right] for r in group])
            if not self.weightless:
                weights = self._of_group(self.weights(given), group)
                values = [value * weight for value, weight in zip(values, weights, strict=True)]
            parts |= {r.into: value.flatten(1) for r, value in zip(group, values, strict=True)}
        return torch.cat([parts[k] for k in range(len(self.out))], dim=1)

    def _of_group(self, weights: Tensor, group: list[Route]) -> list[Tensor]:
        return [weights[:, None, r.start : r.start + r.size] for r in group]


class Separable(Weighted):
    """The fully connected product whose weights factorise.

        out_(k,m3,w) = sum_(p to k) f_p sum_(m1,m2) w3j_(m1,m2,m3) a_(p,m1,w) b_(p,m2,w)
        a_(p,m1,w) = sum_u A_(p,u,w) x_(i,m1,u),   b_(p,m2,w) = sum_v B_(p,v,w) y_(j,m2,v)

    that is "uvw" with W_(p,u,v,w) = A_(p,u,w) B_(p,v,w). One GEMM for each block of x and y makes the factors
    of all its paths; pairs of components are multiplied at once, and one GEMM for each block of the result
    sums over components and paths.

    Shapes:    x [n, left.dim], y [n, right.dim] (, w [n, number of weights]) -> [n, out.dim]; the weights of
               a path: A [u, w], then B [v, w]; learned ones are N(0, 1)
    Units:     product of those of x, y and w
    Claims:    O(3)-equivariant where parities allow every path; SO(3)-equivariant always
    Reference: gong2023deephe3
    """

    def __init__(self, params: Params) -> None:
        left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        routes = sorted(read_routes(params, left, right, out), key=lambda route: route.into)
        super().__init__(params, routes)
        self.routes, self.left, self.right, self.out = routes, left, right, out
        self.sums = nn.ModuleList()
        self.members = [[n for n, r in enumerate(routes) if r.into == k] for k in range(len(out))]
        for members in self.members:
            mine = [routes[n] for n in members]
            places = [(left[r.left].l, right[r.right].l, out[r.into].l, r.factor) for r in mine]
            self.sums.append(CoupledSum(places, [list(range(len(mine)))]))

    def forward(self, x: Tensor, y: Tensor, given: Tensor | None = None) -> Tensor:
        weights = self.weights(given)
        ups = [self.left[r.left].mul * self.out[r.into].mul for r in self.routes]
        parts = weights.split(
            [n for r, up in zip(self.routes, ups, strict=True) for n in (up, r.size - up)], dim=1
        )
        lefts = self._factors(x, self.left, [r.left for r in self.routes], parts[0::2])
        rights = self._factors(y, self.right, [r.right for r in self.routes], parts[1::2])
        values = [
            coupled([lefts[n] for n in members], [rights[n] for n in members])[0].flatten(1)
            for members, coupled in zip(self.members, self.sums, strict=True)
        ]
        return values[0] if len(values) == 1 else torch.cat(values, dim=1)

    def _factors(
        self, x: Tensor, irreps: Irreps, sources: list[int], parts: tuple[Tensor, ...]
    ) -> dict[int, Tensor]:
        """Per path the source block mixed into the channels of its result: [n, m, w]."""
        found: dict[int, Tensor] = {}
        for i, (block, piece) in enumerate(zip(irreps, _split(x, irreps), strict=True)):
            mine = [n for n, source in enumerate(sources) if source == i]
            if not mine:
                continue
            widths = [self.out[self.routes[n].into].mul for n in mine]
            matrices = [parts[n].unflatten(1, (block.mul, w)) for n, w in zip(mine, widths, strict=True)]
            matrix = matrices[0] if len(mine) == 1 else torch.cat(matrices, dim=2)
            mixed = piece.unflatten(1, (block.size, block.mul)) @ (
                matrix[0] if self.weight is not None else matrix
            )
            found |= dict(zip(mine, mixed.split(widths, dim=2), strict=True))
        return found


class CoupledSum(nn.Module):
    """Sums over paths of coupled channels: sums[s]_(m3,u) = sum_(p in s) f_p sum w3j_p x_(p,m1,u) y_(p,m2,u).

    Only pairs (m1, m2) that some coupling reads are multiplied.

    Shapes:    lists of x_p [n, m1, u] and y_p [n, m2, u] -> per sum [n, m3, u]
    """

    def __init__(self, paths: list[tuple[int, int, int, float]], sums: list[list[int]]) -> None:
        super().__init__()
        self.sizes = [2 * paths[members[0]][2] + 1 for members in sums]
        row_of = {p: sum(self.sizes[:s]) for s, members in enumerate(sums) for p in members}
        first, second, columns = [], [], []
        at_x = at_y = 0
        for p, (l1, l2, l3, factor) in enumerate(paths):
            table = wigner_3j(l1, l2, l3) * factor
            for m1, m2 in zip(*np.nonzero(np.any(table, axis=2)), strict=True):
                first.append(at_x + int(m1))
                second.append(at_y + int(m2))
                column = np.zeros(sum(self.sizes))
                column[row_of[p] : row_of[p] + 2 * l3 + 1] = table[m1, m2]
                columns.append(column)
            at_x, at_y = at_x + 2 * l1 + 1, at_y + 2 * l2 + 1
        self.table = Constant(torch.from_numpy(np.stack(columns, axis=1)))
        self.register_buffer("first", torch.tensor(first), persistent=False)
        self.register_buffer("second", torch.tensor(second), persistent=False)

    def forward(self, xs: list[Tensor], ys: list[Tensor]) -> list[Tensor]:
        x, y = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1) for parts in (xs, ys))
        pairs = x.index_select(1, self.get_buffer("first")) * y.index_select(1, self.get_buffer("second"))
        return list((self.table.value @ pairs).split(self.sizes, dim=1))


def _split(x: Tensor, irreps: Irreps) -> tuple[Tensor, ...]:
    return x.split([block.dim for block in irreps], dim=1)
