"""Clebsch-Gordan products in which channels of both sides meet, with weights of their own or given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..irreps import Block, Irreps
from ..tables.wigner import wigner_3j
from .base import Constant, Layer, Params, fill_normal, parameter

SUMMING = ("uvw", "separable")


class Route(NamedTuple):
    """One path: its blocks, its place in the result, the factor of its couplings, and its place by weights."""

    left: int
    right: int
    into: int
    factor: float
    start: int
    size: int


def read_routes(params: Params, left: Irreps, right: Irreps, out: Irreps) -> list[Route]:
    """The paths of a plan step, normalised so that unit weights and inputs give unit outputs.

    The factor is scale * sqrt((2 l3 + 1) / n), n the number of terms that add up in one number of the result
    over its channels and all its paths.

    Raises:
        ArtifactError: no such path exists, or the channels of one do not fit.
    """
    connection = params["connection"]
    paths = [(int(i), int(j), int(k), float(scale)) for i, j, k, scale in params["paths"]]
    fans = [0] * len(out)
    for i, j, k, _ in paths:
        check_path(connection, left[i], right[j], out[k])
        u, v = left[i].mul, right[j].mul
        fans[k] += {"uvu": v, "uvv": u, "uvw": u * v, "separable": u * v}.get(connection, 1)
    if 0 in fans or (
        connection not in SUMMING and sorted(k for _, _, k, _ in paths) != list(range(len(out)))
    ):
        raise ArtifactError("the paths of a product do not lead to the blocks of its result")
    routes, start = [], 0
    for i, j, k, scale in paths:
        u, v, w = left[i].mul, right[j].mul, out[k].mul
        size = {"uvw": u * v * w, "uuu": u, "separable": (u + v) * w, "elementwise": 0}.get(connection, u * v)
        routes.append(Route(i, j, k, scale * math.sqrt(out[k].size / fans[k]), start, size))
        start += size
    return routes


def check_path(connection: str, a: Block, b: Block, c: Block) -> None:
    """Raise ArtifactError unless a x b -> c couples, with channels as the connection has them."""
    fits = {
        "uvu": a.mul == c.mul,
        "uvv": b.mul == c.mul,
        "uuu": a.mul == b.mul == c.mul,
        "elementwise": a.mul == b.mul == c.mul,
    }
    if not (fits.get(connection, True) and abs(a.l - b.l) <= c.l <= a.l + b.l):
        raise ArtifactError(
            f"no {connection} path leads from {a.mul} x l={a.l} and {b.mul} x l={b.l} to {c.mul} x l={c.l}"
        )


class Weighted(Layer):
    """A product with learned weights, shared by all elements, or with weights given for each element.

    `weight` (or the third input [n, number]) holds the weights of the paths in their order.
    """

    def __init__(self, params: Params, routes: Sequence[Route]) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = None
        if params["learned"]:
            self.weight = parameter(sum(route.size for route in routes))

    def initialise(self, generator: torch.Generator) -> None:
        if self.weight is not None:
            fill_normal(self.weight, generator)

    def weights(self, given: Tensor | None) -> Tensor:
        """[1, number] or [n, number]."""
        if self.weight is not None:
            return self.weight[None]
        assert given is not None
        return given


class Connected(Weighted):
    """Products in which every channel of x meets every channel of y.

        z_(p,m3,u,v) = sum_(m1,m2) w3j_(m1,m2,m3) x_(i,m1,u) y_(j,m2,v)           for each path p = (i, j, k)
        uvw:  out_(k,m3,w) = sum_(p to k) f_p sum_uv W_(p,u,v,w) z_(p,m3,u,v)
        uvu:  out_(k,m3,u) = f_p sum_v W_(p,u,v) z;      uvv:  out_(k,m3,v) = f_p sum_u W_(p,u,v) z

    with f_p of `read_routes`. The couplings are one table for all blocks of one pair of multiplicities, and
    the sums over paths and channels one GEMM for each block of the result.

    Shapes:    x [n, left.dim], y [n, right.dim] (, w [n, number of weights]) -> [n, out.dim]; the weights of
               a path as [u, v, w] or [u, v]; learned ones are N(0, 1)
    Units:     product of those of x, y and w
    Claims:    O(3)-equivariant where parities allow every path; SO(3)-equivariant always
    Reference: thomas2018tensor; e3nn TensorProduct, "component" and "element" normalised
    """

    def __init__(self, params: Params) -> None:
        left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        routes = read_routes(params, left, right, out)
        super().__init__(params, routes)
        self.connection, self.out = params["connection"], out
        pairs = dict.fromkeys((left[r.left].mul, right[r.right].mul) for r in routes)
        self.groups = nn.ModuleList(
            _Group(left, right, out, [r for r in routes if (left[r.left].mul, right[r.right].mul) == pair])
            for pair in pairs
        )
        order = np.concatenate(
            [
                np.arange(r.start, r.start + r.size)
                for k in range(len(out))
                for g in self._groups()
                for r in g.into(k)
            ]
        )
        self.ordered = bool((order == np.arange(len(order))).all())
        self.register_buffer("order", torch.from_numpy(order), persistent=False)
        self.sizes = [sum(r.size for g in self._groups() for r in g.into(k)) for k in range(len(out))]

    def _groups(self) -> list[_Group]:
        return [group for group in self.groups if isinstance(group, _Group)]

    def forward(self, x: Tensor, y: Tensor, given: Tensor | None = None) -> Tensor:
        weights = self.weights(given)
        if not self.ordered:
            weights = weights.index_select(1, self.get_buffer("order"))
        pieces: list[list[Tensor]] = [[] for _ in self.out]  # of each block: [n, paths, m3, u, v]
        for group in self._groups():
            for k, piece in group(x, y).items():
                pieces[k].append(piece)
        parts = []
        for block, mine, weight in zip(self.out, pieces, weights.split(self.sizes, dim=1), strict=True):
            if self.connection == "uvw":
                flat = [piece.transpose(1, 2).flatten(2) for piece in mine]
                z = flat[0] if len(flat) == 1 else torch.cat(flat, dim=2)
                matrix = weight.unflatten(1, (-1, block.mul))
                value = z @ (matrix[0] if self.weight is not None else matrix)
            else:
                z = mine[0].squeeze(1)  # one path to each block
                matrix = weight.unflatten(1, (1, *z.shape[-2:]))
                value = (z * matrix).sum(-1 if self.connection == "uvu" else -2)
            parts.append(value.flatten(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class _Group(nn.Module):
    """The paths between blocks of one multiplicity on the left with blocks of one on the right."""

    def __init__(self, left: Irreps, right: Irreps, out: Irreps, routes: list[Route]) -> None:
        super().__init__()
        self.routes = sorted(routes, key=lambda route: route.into)
        self.u, self.v = left[routes[0].left].mul, right[routes[0].right].mul
        self.left, self.right = (_Side(side, {r[n] for r in routes}) for n, side in enumerate((left, right)))
        self.rows = [out[r.into].size for r in self.routes]
        table = np.zeros((self.right.size, sum(self.rows), self.left.size))
        row = 0
        for r in self.routes:
            a, b, c = left[r.left], right[r.right], out[r.into]
            w3j = r.factor * wigner_3j(a.l, b.l, c.l)
            at = np.ix_(self.right.place[r.right], range(row, row + c.size), self.left.place[r.left])
            table[at] = w3j.transpose(1, 2, 0)
            row += c.size
        self.table = Constant(torch.from_numpy(table.reshape(self.right.size, -1)))

    def into(self, k: int) -> list[Route]:
        """The paths to one block of the result, in the order in which `forward` gives them."""
        return [route for route in self.routes if route.into == k]

    def forward(self, x: Tensor, y: Tensor) -> dict[int, Tensor]:
        """Per block of the result [n, paths, m3, u, v]."""
        filters = self.right(y).transpose(1, 2) @ self.table.value  # [n, v, rows * left]
        filters = filters.unflatten(2, (-1, self.left.size)).flatten(1, 2)
        coupled = torch.bmm(filters, self.left(x)).unflatten(1, (self.v, -1))  # [n, v, rows, u]
        into = list(dict.fromkeys(route.into for route in self.routes))
        counts = [len(self.into(k)) for k in into]
        sizes = [sum(n for n, r in zip(self.rows, self.routes, strict=True) if r.into == k) for k in into]
        return {
            k: piece.unflatten(2, (count, -1)).permute(0, 2, 3, 4, 1)
            for k, count, piece in zip(into, counts, coupled.split(sizes, dim=2), strict=True)
        }


class _Side(nn.Module):
    """The blocks of one input that a group reads, as [n, component, channel]."""

    def __init__(self, irreps: Irreps, used: set[int]) -> None:
        super().__init__()
        self.blocks = [block.dim for block in irreps]
        self.used = sorted(used)
        self.mul = irreps[self.used[0]].mul
        starts = np.cumsum([0, *(irreps[i].size for i in self.used)])
        self.place = {
            i: range(int(start), int(start) + irreps[i].size)
            for i, start in zip(self.used, starts, strict=False)
        }
        self.size = int(starts[-1])

    def forward(self, x: Tensor) -> Tensor:
        if len(self.used) < len(self.blocks):
            pieces = x.split(self.blocks, dim=1)
            x = torch.cat([pieces[i] for i in self.used], dim=1)
        return x.unflatten(1, (self.size, self.mul))
