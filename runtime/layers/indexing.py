"""Moving values between nodes, edges and systems."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..errors import ArtifactError
from .base import Layer, Params
from .bodies import SumPairs


class Gather(Layer):
    """Values of the nodes at one end of each edge.

        y_e = x_(edges[role, e]),   role 0: source, 1: target

    Shapes:    x [node, dim], edges [2, edge] -> y [edge, dim]
    Units:     those of x
    Claims:    equivariant under every group and under permutation
    """

    fields: ClassVar = ("edges",)

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.row = {"source": 0, "target": 1}[params["role"]]

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return x.index_select(0, edges[self.row])


class GatherAngles(Layer):
    """Values of the two edges of each pair: those of one, or the product of both.

        y_(e,f) = x_e (`first`), x_f (`second`) or x_e x_f (`both`)

    Shapes:    x [edge, dim], angles [2, angle] -> y [angle, dim]
    Units:     those of x; of both, their square
    Claims:    equivariant under every group (both: invariant), and under permutation
    """

    fields: ClassVar = ("angles",)

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.rows = {"first": (0,), "second": (1,), "both": (0, 1)}[params["role"]]

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        y = x.index_select(0, angles[self.rows[0]])
        return y if len(self.rows) == 1 else y * x.index_select(0, angles[self.rows[1]])


class GatherReverse(Layer):
    """Values of the edges that lead back.

        y_(i->j) = x_(j->i)

    Shapes:    x [edge, dim], reverse [edge] -> y [edge, dim]
    Units:     those of x
    Claims:    equivariant under every group and under permutation
    """

    fields: ClassVar = ("reverse",)

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, x: Tensor, reverse: Tensor) -> Tensor:
        return x.index_select(0, reverse)


class Tokens(Layer):
    """Values of edges, and below them values of nodes.

    Shapes:    x [edge, dim], y [node, dim] -> [edge + node, dim]
    Units:     those of x and y
    Claims:    equivariant under every group and under permutation
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat((x, y))


class GatherTokens(Layer):
    """The tokens of the edges, or those of the nodes.

    Shapes:    x [edge + node, dim], edges [2, edge], species [node] -> [edge, dim] or [node, dim]
    Units:     those of x
    Claims:    equivariant under every group and under permutation
    """

    fields: ClassVar = ("edges", "species")

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.nodes = params["role"] == "nodes"

    def forward(self, x: Tensor, edges: Tensor, species: Tensor) -> Tensor:
        # by rows, not slices: compiled for files, a slice at a free size limits the other sizes
        count = edges.shape[1]
        start, rows = (count, species.shape[0]) if self.nodes else (0, count)
        return x.index_select(0, torch.arange(rows, device=edges.device) + start)


def gather(params: Params) -> Layer:
    """The `gather` step by its role: nodes to edges, edges to pairs of them or to their ways back, and tokens."""
    match params["role"]:
        case "first" | "second" | "both":
            return GatherAngles(params)
        case "reverse":
            return GatherReverse(params)
        case "edges" | "nodes":
            return GatherTokens(params)
        case _:
            return Gather(params)


class SumAngles(Layer):
    """Sum over the pairs that an edge is the first of, as it is or divided by a number of neighbours.

        y_e = sum_f x_(e,f) / N

    N: 1 (`sum`), the mean number of neighbours in the training data (`average`) or its root (`root_average`).

    Shapes:    x [angle, dim], angles [2, angle], edges [2, edge] -> y [edge, dim]
    Units:     those of x
    Claims:    equivariant under every group and under permutation
    """

    fields: ClassVar = ("angles", "edges")
    statistics: ClassVar = ("average_neighbors",)

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, angles: Tensor, edges: Tensor, average_neighbors: Tensor) -> Tensor:
        y = x.new_zeros((edges.shape[1], *x.shape[1:])).index_add(0, angles[0], x)
        if self.norm == "average":
            return y * average_neighbors.reciprocal().to(y.dtype)
        return y * average_neighbors.rsqrt().to(y.dtype) if self.norm == "root_average" else y


class SumEdges(Layer):
    """Sum over the edges that point at each node, as it is or divided by a number of neighbours.

        y_i = sum_(e -> i) x_e / N

    N: 1 (`sum`), the mean number of neighbours in the training data (`average`), its square root
    (`root_average`), or the number of edges that point at i, at least 1 (`mean`).

    Shapes:    x [edge, dim], edges [2, edge] -> y [node, dim]
    Units:     those of x
    Claims:    equivariant under every group and under permutation
    """

    fields: ClassVar = ("edges", "species")
    statistics: ClassVar = ("average_neighbors",)

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, edges: Tensor, species: Tensor, average_neighbors: Tensor) -> Tensor:
        y = x.new_zeros((species.shape[0], *x.shape[1:])).index_add(0, edges[1], x)
        return self.scaled(y, edges[1], average_neighbors)

    def scaled(self, y: Tensor, target: Tensor, average_neighbors: Tensor) -> Tensor:
        """Sums [node, ...] over their N; linear and its own adjoint."""
        match self.norm:
            case "average":
                return y * average_neighbors.reciprocal().to(y.dtype)
            case "root_average":
                return y * average_neighbors.rsqrt().to(y.dtype)
            case "mean":
                ones = torch.ones_like(target, dtype=y.dtype)
                degree = y.new_zeros(y.shape[0]).index_add(0, target, ones).clamp(min=1.0)
                return y / degree.unflatten(0, (-1, *[1] * (y.dim() - 1)))
        return y


class SumSystem(Layer):
    """Sum or mean over the nodes of each system, in float64 whatever the model's dtype.

        y_s = sum_(i in s) x_i / N_s,   N_s = 1 or the number of nodes of s

    Shapes:    x [node, ...], system [node] -> y [system, ...] float64
    Units:     those of x
    Claims:    equivariant under every group; invariant under permutation
    """

    fields: ClassVar = ("system", "cell")

    def __init__(self, mean: bool) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, x: Tensor, system: Tensor, cell: Tensor) -> Tensor:
        x = x.to(torch.float64)
        y = x.new_zeros((cell.shape[0], *x.shape[1:])).index_add(0, system, x)
        if not self.mean:
            return y
        count = x.new_zeros(cell.shape[0]).index_add(0, system, x.new_ones(system.shape[0]))
        return y / count.view(-1, *[1] * (y.ndim - 1))


def reduce(params: Params) -> Layer:
    """The `reduce` step: angles to edges, edges to nodes, nodes to systems, pairs to states."""
    match params["from"], params["to"], params["norm"]:
        case "edge", "node", "sum" | "average" | "root_average" | "mean" as norm:
            return SumEdges(norm)
        case "angle", "edge", "sum" | "average" | "root_average" as norm:
            return SumAngles(norm)
        case "node", "system", "sum" | "mean" as norm:
            return SumSystem(mean=norm == "mean")
        case "pair", "state", "sum":
            return SumPairs()
        case source, to, norm:
            raise ArtifactError(f"reduce from {source} to {to} by {norm} is not known")
