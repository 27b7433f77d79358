"""Messages and densities in plain torch, on tables of neighbours: no scatter, no value of the size edge x out.dim.

What serves where generated C does not: on GPUs, and where there is no compiler. Every sum over the edges at a
node is one product of matrices per path, batched over nodes; derivatives of any order are of the same kind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from equic.runtime.irreps import Irreps
from equic.runtime.layers.base import Constant, Hidden, Layer
from equic.runtime.layers.density import Density
from equic.runtime.tables.wigner import wigner_3j
from torch import Tensor

from .message import NORMS
from .slots import sources, take_apart, to_slots


class PaddedMessage(Layer):
    """Sum over the edges at each node of the product of the other end's features with a weighted filter.

        out_(n,c,u) = 1/N sum_((e,a)) F_(n,c,(e,a)) v_(n,(e,a),u)        for each path
        F_(n,c,(e,a)) = sum_b C_abc Y_(e,b),   v_(n,(e,a),u) = x_(src e,a,u) w_(e,u)

    What a `gather` of role source, a "uvu" `product` and a `reduce` from edges to nodes compute one after the
    other; N = 1, the mean number of neighbours, or its root. F is zero in empty slots.

    Shapes:    x [node, left.dim], Y [edge, right.dim], w [edge, weights], slots (see `edge_slots`),
               edges [2, edge] -> [node, out.dim]
    Units:     product of those of x, Y and w
    Claims:    those of the three layers it stands for
    """

    fields: ClassVar = ("edges",)

    def __init__(self, product: Mapping[str, Any], norm: str) -> None:
        super().__init__()
        left, right, out = (Irreps.parse(product[name]) for name in ("left", "right", "out"))
        self.power = NORMS[norm]
        if self.power:
            self.statistics = ("average_neighbors",)  # type: ignore[misc]  # of this one, not of all
        self.blocks = [block.dim for block in left]
        paths = [(int(i), int(j), int(k), float(scale)) for i, j, k, scale in product["paths"]]
        # of each path: its left block, its out block, and how many components and channels they have
        self.paths = [(i, k, left[i].size, out[k].size, left[i].mul) for i, _, k, _ in paths]
        tables = []
        for i, j, k, scale in paths:
            coupling = wigner_3j(left[i].l, right[j].l, out[k].l) * (scale * math.sqrt(out[k].size))
            table = np.zeros((right.dim, out[k].size, left[i].size))
            table[right[j].slice] = coupling.transpose(1, 2, 0)
            tables.append(table.reshape(right.dim, -1))
        self.coupling = Constant(torch.from_numpy(np.concatenate(tables, axis=1)))

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        w: Tensor,
        slots: Tensor,
        edges: Tensor,
        average_neighbors: Tensor | None = None,
    ) -> Tensor:
        where = take_apart(slots, edges, x.shape[0], y.dtype)
        coupling = self.coupling.value
        if average_neighbors is not None:
            coupling = coupling * (average_neighbors**self.power).to(coupling.dtype)
        filters = (to_slots(y, where) * where.filled) @ coupling
        features = sources(x, where).split(self.blocks, dim=1)
        weights = to_slots(w, where).split([mul for *_, mul in self.paths], dim=1)
        sizes = [a * c for _, _, a, c, _ in self.paths]
        found: dict[int, Tensor] = {}
        n, d = where.nodes, where.width
        for (i, k, a, c, mul), f, weight in zip(
            self.paths, filters.split(sizes, dim=1), weights, strict=True
        ):
            v = (features[i].reshape(n, d, a, mul) * weight.reshape(n, d, 1, mul)).view(n, d * a, mul)
            rows = f.reshape(n, d, c, a).transpose(1, 2).reshape(n, c, d * a)
            found[k] = torch.bmm(rows, v).flatten(1)
        return torch.cat([found[k] for k in range(len(found))], dim=1)


class PaddedDensity(Layer):
    """A `density` layer's function, its sums over edges as one batched product.

        D_(i,(m,s),j) = sum_e (Y_(e,m) [source of e is s]) h_(e,j)

    Shapes:    T, Y, h, species, W as those of the layer; slots as of `edge_slots` -> [node, out.dim]
    Units:     those of the layer
    Claims:    those of the layer
    """

    fields: ClassVar = ("edges",)
    statistics: ClassVar = ("average_neighbors",)

    def __init__(self, density: Density) -> None:
        super().__init__()
        self.density = Hidden(density)
        self.borrows = density.borrows

    def forward(
        self,
        table: Tensor,
        harmonics: Tensor,
        hidden: Tensor,
        species: Tensor,
        slots: Tensor,
        edges: Tensor,
        average_neighbors: Tensor,
        matrix: Tensor,
    ) -> Tensor:
        density = self.density.module
        assert isinstance(density, Density)
        where = take_apart(slots, edges, species.shape[0], harmonics.dtype)
        kind = torch.nn.functional.one_hot(species.index_select(0, where.node), density.species)
        left = (to_slots(harmonics, where) * where.filled)[:, :, None] * kind.to(harmonics.dtype)[:, None]
        n, d, size, rows = where.nodes, where.width, hidden.shape[1], harmonics.shape[1] * density.species
        left = left.reshape(n, d, rows).transpose(1, 2)
        sums = torch.bmm(left, to_slots(hidden, where).reshape(n, d, size))
        sums = sums.reshape(n, harmonics.shape[1], density.species * size)
        return density.mix(table, sums, average_neighbors, matrix)
