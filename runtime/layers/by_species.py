"""Values that depend on the species alone."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Layer, Params


class AllSpecies(Layer):
    """The number of every species, once.

        y = (0, 1, ..., count - 1)

    Shapes:    species [node] (not read) -> y [species]
    Claims:    invariant under every group
    """

    numbers: Tensor

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.arange(int(params["count"])), persistent=False)

    def forward(self, species: Tensor) -> Tensor:
        return self.numbers


class Lookup(Layer):
    """The row of each node's species in a table.

        y_i = T[z_i]

    Shapes:    T [species, dim], species [node] -> y [node, dim]
    Units:     those of T
    Claims:    equivariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()

    def forward(self, table: Tensor, species: Tensor) -> Tensor:
        return table.index_select(0, species)
