"""Neighbour densities whose radial matrix meets every node instead of every edge."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import ArtifactError
from ..irreps import Block, Irreps
from ..tables.wigner import wigner_3j
from .base import Layer, Params


class Density(Layer):
    """Messages of scalars that depend on the source's species alone, summed over the edges of each node.

        A_(i,k,m,u) = s_k / N sum_s T_(s,u) sum_j W_(j,(k,u)) D_(i,s,j,m)
        D_(i,s,j,m) = sum_(e -> i, source of species s) h_(e,j) Y_(e,m)

    Equal to gather, `uvu` product and reduce with path weights h W: sums are exchanged. A node meets W once for
    each species, an edge not at all. N is 1 or the mean number of neighbours.

    Shapes:    T [species, left.dim] scalars, Y [edge, right.dim], h [edge, hidden], species [node],
               edges [2, edge], W [hidden, sum of mul over paths] -> A [node, out.dim]
    Units:     those of T
    Claims:    O(3)-equivariant where parities allow every path; SO(3)-equivariant always
    Reference: thomas2018tensor
    """

    fields: ClassVar = ("edges",)
    statistics: ClassVar = ("average_neighbors",)

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.left, self.right, self.out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        self.species, self.average = int(params["species"]), params["norm"] == "average"
        paths = [(int(i), int(j), int(k), float(scale)) for i, j, k, scale in params["paths"]]
        starts = [0, *accumulate(self.left[i].mul for i, *_ in paths)]
        # of each right block: (left block, out block, first column of W, factor) of its paths
        self.paths: list[list[tuple[int, int, int, float]]] = [[] for _ in self.right]
        for (i, j, k, scale), start in zip(paths, starts, strict=False):
            a, b, c = self.left[i], self.right[j], self.out[k]
            if a.size != 1 or b.mul != 1 or b.l != c.l or a.mul != c.mul:
                raise ArtifactError(f"no density leads from {a.mul} x l={a.l} and l={b.l} to l={c.l}")
            factor = scale * math.sqrt(c.size) * float(wigner_3j(0, b.l, c.l)[0, 0, 0])
            self.paths[j].append((i, k, start, factor))
        self.borrows = ((params["mlp"], "last_matrix"),)

    def forward(
        self,
        table: Tensor,
        harmonics: Tensor,
        hidden: Tensor,
        species: Tensor,
        edges: Tensor,
        average_neighbors: Tensor,
        matrix: Tensor,
    ) -> Tensor:
        return self.mix(table, self.sums(harmonics, hidden, species, edges), average_neighbors, matrix)

    def sums(self, harmonics: Tensor, hidden: Tensor, species: Tensor, edges: Tensor) -> Tensor:
        """D as [node, m, species * hidden]: one matrix for all nodes and components of an irrep."""
        nodes, components, size = species.shape[0], harmonics.shape[1], hidden.shape[1]
        row = edges[1] * self.species + species.index_select(0, edges[0])
        terms = (harmonics[:, :, None] * hidden[:, None, :]).flatten(1)
        zeros = terms.new_zeros(nodes * self.species, terms.shape[1])
        sums = zeros.index_add(0, row, terms).view(nodes, self.species, components, size)
        return sums.transpose(1, 2).flatten(2)

    def mix(self, table: Tensor, sums: Tensor, average_neighbors: Tensor, matrix: Tensor) -> Tensor:
        """A from D."""
        parts: dict[int, Tensor] = {}
        # split, not sliced: the gradient of a slice is a whole tensor of zeros around it
        rows = dict(zip(self.right, sums.split([block.dim for block in self.right], dim=1), strict=True))
        for block, paths, weights in self.matrices(table, average_neighbors, matrix):
            pieces = (rows[block] @ weights).split([self.left[i].mul for i, *_ in paths], dim=-1)
            parts |= {k: piece.flatten(1) for (_, k, _, _), piece in zip(paths, pieces, strict=True)}
        return torch.cat([parts[k] for k in range(len(self.out))], dim=1)

    def matrices(
        self, table: Tensor, average_neighbors: Tensor, matrix: Tensor
    ) -> list[tuple[Block, list[tuple[int, int, int, float]], Tensor]]:
        """What leads from D to A for each right block with paths: the block, they, [species * hidden, channels]."""
        if self.average:
            matrix = matrix * average_neighbors.reciprocal().to(matrix.dtype)
        return [
            (
                block,
                paths,
                torch.cat([self._weights(table, matrix, *path) for path in paths], -1).flatten(0, 1),
            )
            for block, paths in zip(self.right, self.paths, strict=True)
            if paths
        ]

    def _weights(self, table: Tensor, matrix: Tensor, i: int, k: int, start: int, factor: float) -> Tensor:
        """Of one path, the radial matrix times the features of each species: [species, hidden, channel]."""
        block = self.left[i]
        columns = matrix[:, start : start + block.mul] * factor
        return columns[None] * table[:, None, block.slice]
