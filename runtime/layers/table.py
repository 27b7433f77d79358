"""Functions of edge lengths from tables: what stands in for networks when a model is deployed."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Layer, Params, parameter

# who of an edge's ends tells the functions apart: how many kinds there are with n species, n to this power
ENDS = {"length": 0, "source": 1, "target": 1, "pair": 2}


class Table(Layer):
    """Quintic Hermite splines on equal knots, one function a column, one set of functions a kind of edge.

        y(r) = sum_d H_d(t) f_d(k) + (-1)^d H_d(1 - t) f_d(k + 1),   d = 0, 1, 2
        k + t = (r - start) / h,  f_d = h^d times the d-th derivative at a knot
        H_0 = 1 - 10 t^3 + 15 t^4 - 6 t^5,  H_1 = t - 6 t^3 + 8 t^4 - 3 t^5,  H_2 = t^2 (1 - t)^3 / 2

    Twice continuously differentiable; 0 from `end` on. Below `start` nothing is known, and the answer is NaN:
    never an extrapolation. `by` says whose species choose the kind: nobody's (`length`), that of the source, of the
    target, or of both (`pair`, n z_source + z_target).

    Shapes:    r [edge, 1], species [node] and edges [2, edge] but for `length` -> y [edge, columns];
               knots [kind, intervals + 1, 3, columns]
    Units:     r, start and end in the length of the model; y that of the functions
    Claims:    invariant under every group
    Reference: boor1978guide
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.start, self.end = float(params["start"]), float(params["end"])
        self.intervals = int(params["intervals"])
        self.by, self.species = str(params["by"]), int(params["species"])
        kinds = self.species ** ENDS[self.by]
        self.knots = parameter(kinds, self.intervals + 1, 3, int(params["columns"]))
        if params.get(
            "last"
        ):  # what a layer borrows from the network: its last matrix, or what is `unfilled`
            self.last_matrix = parameter(*params["last"])
        if self.by != "length":
            self.fields = ("edges",)  # type: ignore[misc]  # of this one, not of all

    @property
    def step(self) -> float:
        """The distance h of two knots."""
        return (self.end - self.start) / self.intervals

    @property
    def unfilled(self) -> Tensor:
        """As of the `filters` that the table stands in for: [species, n]."""
        return self.last_matrix

    def kinds(self, species: Tensor, edges: Tensor) -> Tensor:
        """The kind of each edge [edge], where species tell them apart."""
        if self.by == "pair":
            return species.index_select(0, edges[0]) * self.species + species.index_select(0, edges[1])
        return species.index_select(0, edges[0 if self.by == "source" else 1])

    def forward(self, r: Tensor, species: Tensor | None = None, edges: Tensor | None = None) -> Tensor:
        place = (r[:, 0] - self.start) / self.step
        k = place.detach().clamp(0.0, self.intervals - 1.0).floor()
        t = place - k
        inside = (r[:, 0] < self.end).to(r.dtype).masked_fill(r[:, 0] < self.start, float("nan"))
        row = k.to(torch.int64)
        if species is not None and edges is not None:
            row = row + self.kinds(species, edges) * (self.intervals + 1)
        rows = self.knots.flatten(0, 2)
        parts = [
            (factor * inside)[:, None] * rows.index_select(0, 3 * row + j)
            for j, factor in enumerate(hermite(t))
        ]
        return torch.stack(parts).sum(0)


def hermite(t: Tensor) -> list[Tensor]:
    """The six quintic Hermite polynomials at t in [0, 1]: value, slope and curvature at 0, then at 1."""
    u = 1.0 - t
    left, right = t * t * t, u * u * u
    return [
        right * (1.0 + t * (3.0 + 6.0 * t)),
        right * t * (1.0 + 3.0 * t),
        right * t * t * 0.5,
        left * (1.0 + u * (3.0 + 6.0 * u)),
        -left * u * (1.0 + 3.0 * u),
        left * u * u * 0.5,
    ]
