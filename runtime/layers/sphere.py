"""Features as functions on the sphere, by their values at the points of a grid, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import ArtifactError
from ..irreps import Block, Irreps
from ..tables.sphere import gauss_grid, harmonics_at
from ..tables.wigner import wigner_3j
from .activations import ACTIVATIONS, second_moment_factor
from .base import Constant, Layer, Params
from .product_channelwise import CoupledSum


def one_channel_count(irreps: Irreps) -> int:
    """The multiplicity that all blocks share.

    Raises:
        ArtifactError: they share none.
    """
    muls = {block.mul for block in irreps}
    if len(muls) != 1:
        raise ArtifactError(f"functions on a sphere need one multiplicity, not `{irreps}`")
    return muls.pop()


def synthesis(blocks: Sequence[Block], degree: int) -> Constant:
    """[point, component]: s(n) = sum_l x_l Y_l(n) / sqrt((2l + 1) L), L blocks; variance 1 for unit x."""
    points, _ = gauss_grid(degree)
    parts = [harmonics_at(b.l, points) / math.sqrt(b.size * len(blocks)) for b in blocks]
    return Constant(torch.from_numpy(np.concatenate(parts, axis=1)))


def analysis(blocks: Sequence[Block], degree: int, count: int) -> Constant:
    """[component, point]: x_l = sqrt((2l + 1) count) mean over the grid of s Y_l."""
    points, weights = gauss_grid(degree)
    parts = [(harmonics_at(b.l, points) * weights[:, None]).T * math.sqrt(b.size * count) for b in blocks]
    return Constant(torch.from_numpy(np.concatenate(parts, axis=0)))


class Sample(Layer):
    """Functions on the sphere from their expansion, at the points of a grid.

        s_u(n) = sum_l sum_m x_(l,m,u) Y_(l,m)(n) / sqrt((2l + 1) L),   L the number of degrees

    Shapes:    x [n, irreps.dim] -> s [n, point, channel]
    Units:     those of x
    Claims:    s rotates as a function does: (g s)(n) = s(g^-1 n)
    Reference: cohen2018spherical; e3nn ToS2Grid, "component"
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps = Irreps.parse(params["in"])
        self.channels = one_channel_count(self.irreps)
        self.table = synthesis(self.irreps.blocks, int(params["degree"]))

    def forward(self, x: Tensor) -> Tensor:
        return self.table() @ x.unflatten(-1, (-1, self.channels))


class Unsample(Layer):
    """The expansion of functions on the sphere, by sums over the grid.

        x_(l,m,u) = sqrt((2l + 1) L) sum_n w_n s_u(n) Y_(l,m)(n)

    Shapes:    s [n, point, channel] -> x [n, irreps.dim]
    Units:     those of s
    Claims:    the inverse of `Sample`, and equivariant, for functions whose degree and l add up to at most the
               degree of the grid; approximate for others
    Reference: cohen2018spherical; e3nn FromS2Grid, "component"
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        irreps = Irreps.parse(params["out"])
        one_channel_count(irreps)
        self.table = analysis(irreps.blocks, int(params["degree"]), int(params["count"]))

    def forward(self, s: Tensor) -> Tensor:
        return (self.table() @ s).flatten(-2)


class SphereAct(Layer):
    """A function of the values on the sphere: unsample(c f(sample(x))), f scaled to unit second moment.

    Shapes:    x [n, dim] -> y [n, dim]
    Units:     dimensionless
    Claims:    equivariant but for what f puts beyond the degree of the grid; under inversion for natural parities,
               (-1)^l, or odd f
    Reference: cohen2018spherical; e3nn S2Activation
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        degree = int(params["degree"])
        self.sample = Sample({"in": params["in"], "degree": degree})
        count = len(self.sample.irreps)
        self.unsample = Unsample({"out": params["out"], "degree": degree, "count": count})
        self.f, self.factor = ACTIVATIONS[params["f"]], second_moment_factor(params["f"])

    def forward(self, x: Tensor) -> Tensor:
        return self.unsample(self.f(self.sample(x)) * self.factor)


class SphereProduct(Layer):
    """The product of two functions on the sphere, channel by channel, at the points of a grid.

        out_(l,m,u) = c_l mean over n of a_u(n) b_u(n) Y_(l,m)(n),   a(n) = sum_(l,m) x_(l,m,u) Y_(l,m)(n), b from y

    with c_l of `gaunt_scales`: unit inputs give unit outputs. It is `Gaunt` where the grid is fine enough. With
    one channel in y it meets every channel of x.

    Shapes:    x [n, left.dim], y [n, right.dim] -> [n, out.dim]
    Units:     product of those of x and y
    Claims:    O(3)-equivariant where the degrees of x, y and the result add up to at most that of the grid
    Reference: luo2024gaunt
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        degree = int(params["degree"])
        points, weights = gauss_grid(degree)
        sides = [Irreps.parse(params[name]) for name in ("left", "right")]
        out = Irreps.parse(params["out"])
        self.channels = [one_channel_count(side) for side in sides]
        self.left, self.right = (
            Constant(torch.from_numpy(np.concatenate([harmonics_at(b.l, points) for b in side], axis=1)))
            for side in sides
        )
        scales = gaunt_scales(*sides, out)
        rows = [
            (harmonics_at(b.l, points) * weights[:, None]).T * c for b, c in zip(out, scales, strict=True)
        ]
        self.back = Constant(torch.from_numpy(np.concatenate(rows, axis=0)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a = self.left() @ x.unflatten(-1, (-1, self.channels[0]))
        b = self.right() @ y.unflatten(-1, (-1, self.channels[1]))
        return (self.back() @ (a * b)).flatten(-2)


class Gaunt(Layer):
    """The product of two functions on the sphere, channel by channel, by Gaunt coefficients.

        out_(l3,m3,u) = c_l3 sum_(l1,l2) sum_(m1,m2) G_(m1,m2,m3) x_(l1,m1,u) y_(l2,m2,u),  G = mean of Y1 Y2 Y3
        G = sqrt((2 l1 + 1)(2 l2 + 1)(2 l3 + 1)) w3j_(0,0,0) w3j_(m1,m2,m3)

    with c_l of `gaunt_scales`: unit inputs give unit outputs. Paths with odd l1 + l2 + l3 vanish. With one
    channel in y it meets every channel of x.

    Shapes:    x [n, left.dim], y [n, right.dim] -> [n, out.dim]
    Units:     product of those of x and y
    Claims:    O(3)-equivariant
    Reference: luo2024gaunt
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        self.channels = [one_channel_count(left), one_channel_count(right)]
        paths, sums = [], []
        self.first: list[int] = []
        self.second: list[int] = []
        for c, scale in zip(out, gaunt_scales(left, right, out), strict=True):
            members = []
            for i, a in enumerate(left):
                for j, b in enumerate(right):
                    pole = _at_poles(a.l, b.l, c.l)
                    if abs(a.l - b.l) <= c.l <= a.l + b.l and pole:
                        members.append(len(paths))
                        factor = scale * pole * math.sqrt(a.size * b.size * c.size)
                        paths.append((a.l, b.l, c.l, factor))
                        self.first.append(i)
                        self.second.append(j)
            sums.append(members)
        self.sizes = [[block.size for block in side] for side in (left, right)]
        self.couple = CoupledSum(paths, sums)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a = x.unflatten(-1, (-1, self.channels[0])).split(self.sizes[0], dim=-2)
        b = y.unflatten(-1, (-1, self.channels[1])).split(self.sizes[1], dim=-2)
        parts = self.couple([a[i] for i in self.first], [b[j] for j in self.second])
        return torch.cat([part.flatten(-2) for part in parts], dim=-1)


class SphereSquare(Layer):
    """Products on the sphere of the first half of the channels with the second: `SphereProduct` of one value.

    Shapes:    x [n, dim] -> y [n, out.dim], blocks of half the multiplicity
    Units:     dimensionless
    Claims:    as SphereProduct
    Reference: luo2024gaunt
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps = Irreps.parse(params["in"])
        half = "+".join(f"{b.mul // 2}x{b.l}{'e' if b.p > 0 else 'o'}" for b in self.irreps)
        self.channels = one_channel_count(self.irreps)
        self.product = SphereProduct(
            {"left": half, "right": half, "out": params["out"], "degree": params["degree"]}
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.unflatten(-1, (-1, self.channels)).chunk(2, dim=-1)
        return self.product(first.flatten(-2), second.flatten(-2))


def gaunt_scales(left: Irreps, right: Irreps, out: Irreps) -> list[float]:
    """Per block of the result the factor that gives unit outputs for unit inputs.

    c_l3^-2 = sum_(l1,l2) (2 l1 + 1)(2 l2 + 1) (l1 l2 l3; 0 0 0)^2
    """
    return [
        sum(a.size * b.size * _at_poles(a.l, b.l, c.l) ** 2 for a in left for b in right) ** -0.5 for c in out
    ]


def _at_poles(l1: int, l2: int, l3: int) -> float:
    """The 3j symbol of m = 0, up to sign."""
    return float(wigner_3j(l1, l2, l3)[l1, l2, l3])
