"""Cross products of vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Layer, Params


class Cross(Layer):
    """Cross products, channel by channel.

        y_u = a_u x b_u

    Shapes:    a, b [*, 3 channels] -> y [*, 3 channels]
    Units:     product of those of a and b
    Claims:    O(3)-equivariant; the parity of y is the product of those of a and b
    Reference: schutt2021painn
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.channels = int(params["channels"])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = (x.unflatten(-1, (3, self.channels)) for x in (a, b))
        return torch.linalg.cross(a, b, dim=-2).flatten(-2)
