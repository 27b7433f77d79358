"""Values that are derivatives of a scalar: the model differentiates, these layers give it meaning."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Layer, Params


def volumes(cell: Tensor) -> Tensor:
    """|det C| of each system, 0 where it has no cell.

    Shapes:    cell [system, 3, 3] -> [system]
    """
    return (cell[:, 0] * torch.linalg.cross(cell[:, 1], cell[:, 2])).sum(-1).abs()


class Grad(Layer):
    """A scaled derivative of the energy, per volume where it is a stress.

        y = scale * dE/dx          (forces: scale = -1, x the positions)
        y = scale * dE/de / V      (stress: e the symmetric strain r -> (1 + e) r, V the volume)

    Shapes:    derivative [node, 3] or [system, 3, 3], volume [system] -> as the derivative
    Units:     eV/Å, or eV/Å^3
    Claims:    as exact as the energy; conservative. A system without volume has stress 0
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.wrt = params["wrt"]
        self.scale = float(params["scale"])
        self.per_volume = bool(params["per_volume"])
        if self.per_volume:
            self.fields = ("volume",)  # type: ignore[misc]  # of this one, not of all

    def forward(self, derivative: Tensor, volume: Tensor | None = None) -> Tensor:
        y = derivative * self.scale
        if volume is None:
            return y
        inverse = torch.where(volume > 0, 1.0 / torch.where(volume > 0, volume, 1.0), 0.0)
        return y * inverse[:, None, None]


class Poisson(Layer):
    """The canonical flow of a Hamiltonian.

        z' = J dH/dz = (dH/dp, -dH/dq)

    Shapes:    gradient dH/dz [batch, dim] -> y [batch, dim]
    Claims:    symplectic; conserves H; equivariant under every symplectic group that leaves H invariant
    Reference: greydanus2019hamiltonian
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.coordinates = int(params["dim"]) // 2

    def forward(self, gradient: Tensor) -> Tensor:
        return torch.cat((gradient[..., self.coordinates :], -gradient[..., : self.coordinates]), dim=-1)
