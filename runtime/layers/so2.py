"""Linear maps of features in the axes of an edge, equivariant about it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..irreps import Irreps
from .base import Constant, Layer, Params, fill_normal, parameter


class So2Linear(Layer):
    """For each order m one matrix on all channels of all degrees l >= m, complex for m > 0.

        y_0 = W_0 x_0
        y_(+m) = R_m x_(+m) - I_m x_(-m),   y_(-m) = I_m x_(+m) + R_m x_(-m),   0 < m <= mmax;  0 beyond

    m is about the polar axis; the columns of each matrix are the (l, channel) of x with l >= m in order, its
    rows those of y. With `mirror` also mirror images in planes through the axis are kept: blocks whose parity
    is (-1)^l, and blocks whose parity is not, then couple by R within their kind and by I across.

    Shapes:    x [n, in.dim] (, w [n, number]) -> y [n, out.dim]; weights W_0 [in, out], then for each m R_m and
               I_m (with `mirror` one matrix: R within, I across; W_0 within only, odd kinds second);
               learned ones are N(0, 1), and every sum of n terms is divided by sqrt(n)
    Units:     y has those of x
    Claims:    equivariant under rotations about the axis; with `mirror` also under mirrors that contain it
    Reference: passaro2023escn
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        source, out = Irreps.parse(params["in"]), Irreps.parse(params["out"])
        self.mirror = bool(params["mirror"])
        top = min(max(b.l for b in source), max(b.l for b in out), int(params["mmax"]))
        self.orders = list(range(1, top + 1))
        self.zero = [
            (_order(source, 0, kind), _order(out, 0, kind))
            for kind in ((False, True) if self.mirror else (None,))
        ]
        self.fans = [(len(_order(source, m)), len(_order(out, m))) for m in self.orders]
        self.sizes = [len(a) * len(b) for a, b in self.zero]
        self.sizes += [a * b for a, b in self.fans for _ in range(1 if self.mirror else 2)]
        self.weight: nn.Parameter | None = parameter(sum(self.sizes)) if params["learned"] else None
        # order by order: m = 0, then +m and -m; an odd kind's pair is turned by a quarter under `mirror`
        read = [index for a, _ in self.zero for index in a]
        write = [index for _, b in self.zero for index in b]
        signs_in, signs_out = [1.0] * len(read), [1.0] * len(write)
        for m in self.orders:
            for irreps, places, signs in ((source, read, signs_in), (out, write, signs_out)):
                for half in (0, 1):
                    at, sign = self._half(irreps, m, half)
                    places += at
                    signs += sign
        self.register_buffer("read", torch.tensor(read), persistent=False)
        self.signs_in = Constant(torch.tensor(signs_in))
        self.signs_out = Constant(torch.tensor(signs_out))
        self.mixed = self.mirror and (min(signs_in) < 0 or min(signs_out) < 0)
        place = torch.full((out.dim,), len(write))  # what nothing writes reads the zero at the end
        place[torch.tensor(write)] = torch.arange(len(write))
        self.full = len(write) == out.dim
        self.register_buffer("place", place, persistent=False)

    def _half(self, irreps: Irreps, m: int, half: int) -> tuple[list[int], list[float]]:
        """Where x_(+m) (half 0) or x_(-m) (half 1) lies, with signs; odd kinds as (x_(-m), -x_(+m))."""
        places, signs = [], []
        for block in irreps:
            if block.l < m:
                continue
            odd = self.mirror and block.p != (-1) ** block.l
            up = (half == 0) != odd
            row = block.start + (block.l + (m if up else -m)) * block.mul
            places += list(range(row, row + block.mul))
            signs += [-1.0 if odd and half == 1 else 1.0] * block.mul
        return places, signs

    def initialise(self, generator: torch.Generator) -> None:
        if self.weight is not None:
            fill_normal(self.weight, generator)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        weights = self.weight if self.weight is not None else given
        assert weights is not None
        matrices = list(weights.split(self.sizes, dim=-1))
        x = x.index_select(1, self.get_buffer("read"))
        if self.mixed:
            x = x * self.signs_in()
        sizes = [len(a) for a, _ in self.zero] + [2 * a for a, _ in self.fans]
        pieces = list(x.split(sizes, dim=1))
        parts = []
        for a, b in self.zero:
            matrix, piece = matrices.pop(0), pieces.pop(0)
            if a and b:
                matrix = matrix.unflatten(-1, (len(a), len(b))) * (1.0 / math.sqrt(len(a)))
                parts.append((piece[:, None] @ matrix)[:, 0])
            else:
                parts.append(piece.new_zeros(piece.shape[0], len(b)))
        for a, b in self.fans:
            pair = pieces.pop(0).unflatten(1, (2, a))
            real = matrices.pop(0).unflatten(-1, (a, b)) * (1.0 / math.sqrt(a if self.mirror else 2 * a))
            if self.mirror:
                parts.append((pair @ real).flatten(1))
                continue
            imaginary = matrices.pop(0).unflatten(-1, (a, b)) * (1.0 / math.sqrt(2 * a))
            both = pair @ torch.cat((real, imaginary), dim=-1)  # [n, (+m, -m), (R, I)]
            plus, minus = both[:, 0], both[:, 1]
            parts += [plus[:, :b] - minus[:, b:], plus[:, b:] + minus[:, :b]]
        y = torch.cat(parts, dim=1)
        if self.mixed:
            y = y * self.signs_out()
        if not self.full:
            y = torch.cat((y, y.new_zeros(y.shape[0], 1)), dim=1)
        return y.index_select(1, self.get_buffer("place"))


def _order(irreps: Irreps, m: int, odd: bool | None = None) -> list[int]:
    """Where the components of order m lie, block by block; `odd`: only blocks of (un)natural parity."""
    return [
        block.start + (block.l + m) * block.mul + u
        for block in irreps
        if block.l >= m and (odd is None or odd == (block.p != (-1) ** block.l))
        for u in range(block.mul)
    ]
