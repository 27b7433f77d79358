"""Clebsch-Gordan products of a feature with a steerable filter, channel by channel."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..irreps import Block, Irreps
from ..tables.wigner import wigner_3j
from .base import Constant, Layer, Params
from .product_channelwise import Channelwise, Separable
from .product_connected import Connected
from .product_cp import Factored
from .sphere import Gaunt, SphereProduct


class Product(Layer):
    """Couple each channel of x with y, weighted per edge, path and channel ("uvu").

        out_(k,m3,u) = s_k sqrt(2 l3 + 1) sum_(m1,m2) w3j_(m1,m2,m3) x_(i,m1,u) y_(j,m2) w_(k,u)

    For each path k = (i, j, out block, s). All blocks of x with one multiplicity take one small GEMM, y times
    the couplings, and one batched GEMM with x; nothing loops over paths.

    Shapes:    x [edge, left.dim], y [edge, right.dim], w [edge, sum of mul over paths, in the order of the
               paths] -> [edge, out.dim]
    Units:     product of those of x, y and w
    Claims:    O(3)-equivariant where parities allow every path; SO(3)-equivariant always
    Reference: thomas2018tensor; e3nn TensorProduct with "uvu" paths and external weights
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        paths = [(int(i), int(j), int(k), float(scale)) for i, j, k, scale in params["paths"]]
        if sorted(k for _, _, k, _ in paths) != list(range(len(out))):
            raise ArtifactError("a product needs exactly one path for each block of its output")
        if any(block.mul != 1 for block in right):
            raise ArtifactError(f"the right side of a uvu product has multiplicity 1, not `{right}`")
        self.out = out
        muls = [left[i].mul for i, _, _, _ in paths]
        starts = np.cumsum([0, *muls])
        self.groups = nn.ModuleList()
        self.blocks: list[list[int]] = []  # of each group: the out blocks that it makes
        for mul in dict.fromkeys(muls):
            chosen = [
                (path, int(start))
                for path, start in zip(paths, starts, strict=False)
                if left[path[0]].mul == mul
            ]
            chosen.sort(key=lambda item: item[0][2])
            self.groups.append(_Group(mul, left, right, out, chosen, whole=len(chosen) == len(paths)))
            self.blocks.append([path[2] for path, _ in chosen])

    def forward(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        if len(self.groups) == 1:
            return self.groups[0](x, y, w).flatten(1)
        pieces: dict[int, Tensor] = {}
        for group, blocks in zip(self.groups, self.blocks, strict=True):
            parts = group(x, y, w).split([self.out[k].size for k in blocks], dim=1)
            pieces |= {k: part.flatten(1) for k, part in zip(blocks, parts, strict=True)}
        return torch.cat([pieces[k] for k in range(len(self.out))], dim=1)


class _Group(nn.Module):
    """The paths of all left blocks with one multiplicity, their outputs in the order of the out blocks."""

    path_of_row: Tensor
    weights_of_group: Tensor

    def __init__(
        self,
        mul: int,
        left: Irreps,
        right: Irreps,
        out: Irreps,
        paths: list[tuple[tuple[int, int, int, float], int]],
        *,
        whole: bool,
    ) -> None:
        super().__init__()
        self.mul = mul
        self.blocks = [k for (_, _, k, _), _ in paths]
        used = sorted({i for (i, _, _, _), _ in paths})
        self.used, self.left_blocks = used, [block.dim for block in left]
        sizes = [left[i].size for i in used]
        offset = dict(zip(used, np.cumsum([0, *sizes]), strict=False))
        self.columns = sum(sizes)
        coupling = np.zeros((right.dim, sum(out[k].size for k in self.blocks), self.columns))
        row, path_of_row = 0, []
        for n, ((i, j, k, scale), _) in enumerate(paths):
            a, b, c = left[i], right[j], out[k]
            _check_path(a, b, c)
            w3j = wigner_3j(a.l, b.l, c.l) * (scale * math.sqrt(c.size))
            coupling[b.slice, row : row + c.size, offset[i] : offset[i] + a.size] = w3j.transpose(1, 2, 0)
            row += c.size
            path_of_row += [n] * c.size
        self.rows = row
        self.coupling = Constant(torch.from_numpy(coupling.reshape(right.dim, -1)))
        self.register_buffer("path_of_row", torch.tensor(path_of_row), persistent=False)
        columns = np.concatenate([np.arange(start, start + mul) for _, start in paths])
        self.whole = whole and bool((columns == np.arange(len(columns))).all())
        self.register_buffer("weights_of_group", torch.from_numpy(columns), persistent=False)

    def forward(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        filters = (y @ self.coupling.value).unflatten(1, (self.rows, self.columns))
        if len(self.used) < len(self.left_blocks):
            parts = x.split(self.left_blocks, dim=1)
            x = torch.cat([parts[i] for i in self.used], dim=1)
        coupled = torch.bmm(filters, x.unflatten(1, (self.columns, self.mul)))
        w = w if self.whole else w.index_select(1, self.weights_of_group)
        weights = w.unflatten(1, (len(self.blocks), self.mul)).index_select(1, self.path_of_row)
        return coupled * weights


def _check_path(a: Block, b: Block, c: Block) -> None:
    if a.mul != c.mul or not abs(a.l - b.l) <= c.l <= a.l + b.l:
        raise ArtifactError(f"no uvu path leads from {a.mul} x l={a.l} and l={b.l} to {c.mul} x l={c.l}")


CONNECTIONS: dict[str, Callable[[Params], Layer]] = {
    "uvu": Connected,
    "uvv": Connected,
    "uvw": Connected,
    "uuu": Channelwise,
    "elementwise": Channelwise,
    "separable": Separable,
}


MODES: dict[str, Callable[[Params], Layer]] = {
    "uvu": Product,
    "gaunt": Gaunt,
    "s2grid": SphereProduct,
    "cp": Factored,
}


def product(params: Params) -> Layer:
    """The `product` step: a convolution, channels "connected" otherwise, functions on the sphere, or factors."""
    if params["mode"] in MODES:
        return MODES[params["mode"]](params)
    if params["mode"] != "connected" or params["connection"] not in CONNECTIONS:
        known = ", ".join(dict.fromkeys((*CONNECTIONS, *MODES)))
        raise ArtifactError(
            f"product mode `{params.get('connection', params['mode'])}` is not known", help=f"known: {known}"
        )
    return CONNECTIONS[params["connection"]](params)
