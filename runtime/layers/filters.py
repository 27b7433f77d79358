"""The filters of DeepPot-SE, and what they leave in the places of an environment that no neighbour takes."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Constant, Layer, Params
from .networks import Resnet


class Filters(Layer):
    """A network of one function of the edge length, counted from its mean, times that function.

        x = (s - mean_z) / size_z,  g = N(x) for the pair of species,  c_z = -mean_z / size_z
        w_0 = g x - N(c_z) c_z,     w_l = g s / spread_z  for 0 < l <= lmax

    z: the species of the target.

    Shapes:    s [edge, 1], pairs [edge] = n source + target -> w [edge, (lmax + 1) widths[-1]]
    Units:     dimensionless in and out
    Claims:    invariant numbers to invariant numbers under every group; zero where s is
    Reference: zhang2018deeppotse
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.count, self.one_side = int(params["species"]), bool(params["one_side"])
        self.lmax = int(params["lmax"])
        labels = self.count if self.one_side else self.count**2
        self.network = Resnet({**params, "in": 1, "out": None, "species": labels})
        mean, size, spread, places = (
            torch.tensor(params[name], dtype=torch.float64) for name in ("mean", "size", "spread", "sel")
        )
        self.mean, self.size, self.spread = (Constant(one[:, None]) for one in (mean, size, spread))
        self.is_centred = bool(mean.any())
        self.shares = Constant(places / places.sum().clamp(min=1.0))
        self.register_buffer("pairs", torch.arange(self.count**2), persistent=False)

    def initialise(self, generator: torch.Generator) -> None:
        self.network.initialise(generator)

    def forward(self, s: Tensor, pairs: Tensor) -> Tensor:
        centre = pairs % self.count
        x = (s - self.mean.value.index_select(0, centre)) / self.size.value.index_select(0, centre)
        g = self.network(x, self._labels(pairs))
        radial = g * x
        if self.is_centred:
            radial = radial - self._at_cutoff().index_select(0, pairs)
        others = g * (s / self.spread.value.index_select(0, centre))
        return torch.cat((radial, *(others,) * self.lmax), dim=1)

    @property
    def unfilled(self) -> Tensor:
        """sum_t share_t N_(z,t)(c_z) c_z for every species z: [species, widths[-1]]."""
        return torch.einsum("t,tzu->zu", self.shares.value, self._at_cutoff().unflatten(0, (self.count, -1)))

    def _at_cutoff(self) -> Tensor:
        """N(c) c of every pair, [species^2, widths[-1]]."""
        pairs = self.get_buffer("pairs")
        centre = pairs % self.count
        c = (-self.mean.value / self.size.value).index_select(0, centre)
        return self.network(c, self._labels(pairs)) * c

    def _labels(self, pairs: Tensor) -> Tensor:
        return pairs // self.count if self.one_side else pairs


class Unfilled(Layer):
    """What the environment of an atom without neighbours is, where a fixed number of places is counted.

        y_i = (sum_t share_t N_(z,t)(c_z) c_z, 0, ...),   z the species of i

    Shapes:    filters [edge, ...] (not read: their weights are), species [node], table [species, n]
               -> y [node, dim], the n copies of l = 0 first
    Units:     dimensionless
    Claims:    equivariant under every group
    Reference: zhang2018deeppotse
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.dim = int(params["dim"])
        self.borrows = ((params["filters"], "unfilled"),)

    def forward(self, filters: Tensor, species: Tensor, table: Tensor) -> Tensor:
        rest = table.new_zeros(table.shape[0], self.dim - table.shape[1])
        return torch.cat((table, rest), dim=1).index_select(0, species)
