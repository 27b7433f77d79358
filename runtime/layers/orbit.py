"""Features in many orientations, and the mean over them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..irreps import Irreps
from ..tables.wigner import wigner_D
from .base import Constant, Layer, Params


class _Turns(nn.Module):
    """The matrices of each block for every element: [element, 2l + 1, 2l + 1], one table for each irrep."""

    def __init__(self, irreps: Irreps, elements: Tensor, weights: Tensor, *, back: bool) -> None:
        super().__init__()
        matrices = elements.double().reshape(-1, 3, 3).numpy()
        signs = np.sign(np.linalg.det(matrices))
        if np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max() > 1e-6:
            raise ArtifactError("the orientations of an average are rotations and reflections")
        self.irreps = irreps
        self.names = [f"l{block.l}{'e' if block.p > 0 else 'o'}" for block in irreps]
        self.tables = nn.ModuleDict()
        for block, name in zip(irreps, self.names, strict=True):
            turned = wigner_D(block.l, matrices * signs[:, None, None])
            turned = turned * (signs[:, None, None] if block.p < 0 else 1.0)
            turned = turned.transpose(0, 2, 1) if back else turned
            table = torch.from_numpy(turned.copy()) * weights.double()[:, None, None]
            if name not in self.tables:
                self.tables[name] = Constant(table)

    def forward(self, x: Tensor) -> Tensor:
        """Every copy of x turned: [n, dim] or [n, element, dim] -> [n, element, dim]."""
        blocks = list(self.irreps)
        pieces = x.split([block.dim for block in blocks], dim=-1)
        parts = [
            (self.tables[name]() @ piece.unflatten(-1, (block.size, block.mul))).flatten(-2)
            for block, name, piece in zip(blocks, self.names, pieces, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class Orbit(Layer):
    """Features turned by every element of a set of rotations and reflections.

        y_g = rho(g) x

    Shapes:    x [n, dim] -> y [n, element, dim]
    Units:     those of x
    Claims:    turning x by an element permutes the copies
    Reference: puny2022frame
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        elements = torch.tensor(params["elements"], dtype=torch.float64)
        self.turns = _Turns(Irreps.parse(params["in"]), elements, torch.ones(len(elements)), back=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.turns(x.unsqueeze(-2))


class Average(Layer):
    """The weighted mean over orientations, each turned back.

        y = sum_g w_g rho(g)^-1 x_g

    Shapes:    x [n, element, dim] -> y [n, dim]
    Units:     those of x
    Claims:    after `Orbit` and any function of every copy: equivariant under the group of the elements; of a
               quadrature as far as it is exact
    Reference: puny2022frame
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        elements = torch.tensor(params["elements"], dtype=torch.float64)
        weights = torch.tensor(params["weights"], dtype=torch.float64)
        if len(weights) != len(elements):
            raise ArtifactError("every orientation of an average has a weight")
        self.turns = _Turns(Irreps.parse(params["out"]), elements, weights, back=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.turns(x).sum(-2)
