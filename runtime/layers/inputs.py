"""Where a model begins: its inputs, and per-species constants."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from .base import Constant, Layer, Params, fill_normal, parameter


class Input(Layer):
    """One field of the model's inputs. A state is cast to the model's dtype; positions stay float64.

        y = inputs[field]

    Shapes:    those of the field
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.fields = (params["field"],)  # type: ignore[misc]  # which one is only known here
        self.cast = params["field"] == "state"
        self.dtype_of_model = Constant(torch.zeros(()))

    def forward(self, value: Tensor) -> Tensor:
        return value.to(self.dtype_of_model.value.dtype) if self.cast else value


class Embed(Layer):
    """A learned vector for each species.

        y_i = W[z_i],  W ~ N(0, 1)

    Shapes:    species [node] -> y [node, out]
    Units:     dimensionless
    Claims:    invariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.weight = parameter(int(params["count"]), int(params["out"]))

    def initialise(self, generator: torch.Generator) -> None:
        fill_normal(self.weight, generator)

    def forward(self, species: Tensor) -> Tensor:
        return self.weight.index_select(0, species)


class PairKind(Layer):
    """The number of the ordered pair of species at the ends of each edge.

        y_e = n z_source + z_target,   n species

    Shapes:    species [node], edges [2, edge] -> y [edge] int64
    Claims:    invariant under every group
    """

    fields: ClassVar = ("edges",)

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.species = int(params["species"])

    def forward(self, species: Tensor, edges: Tensor) -> Tensor:
        return species.index_select(0, edges[0]) * self.species + species.index_select(0, edges[1])


class ShiftScale(Layer):
    """Per-atom energies: the network's number in units of the data, on top of the isolated atom's energy.

        E_i = E0[z_i] + scale * x_i + shift

    or, with `per: species`, E_i = E0[z_i] + scale[z_i] * x_i + shift[z_i].

    Shapes:    x [node, 1], species [node] -> y [node] float64
    Units:     x dimensionless; E0, scale, shift and y in eV
    Claims:    invariant under every group; float64 always, since E0 may be 1e5 times what is learned
    """

    statistics: ClassVar = ("atomic_energies", "scale", "shift")

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.per_species = params.get("per") == "species"

    def forward(
        self, x: Tensor, species: Tensor, atomic_energies: Tensor, scale: Tensor, shift: Tensor
    ) -> Tensor:
        if self.per_species:
            scale, shift = scale.index_select(0, species), shift.index_select(0, species)
        return atomic_energies.index_select(0, species) + scale * x.squeeze(-1).to(scale.dtype) + shift
