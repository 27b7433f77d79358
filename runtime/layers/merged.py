"""Parallel linear maps of one value, as one product for each irrep."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import ArtifactError
from ..irreps import Irreps
from .base import Layer, Params, fill_normal, parameter


class Merged(Layer):
    """Several linear maps side by side; their weights are borrowed from the parts.

        y = W_1 x (+) W_2 x (+) ...,   W_k within each irrep, divided by sqrt(fan_in)

    Shapes:    x [*, in.dim], weights of each part as of `Linear` -> y [*, sum of the parts' dims]
    Units:     those of x
    Claims:    equivariant
    Reference: thomas2018tensor
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.source = Irreps.parse(params["in"])
        self.outs = outs = [Irreps.parse(one) for one in params["outs"]]
        self.borrows = tuple((str(name), "weight") for name in params["parts"])
        self.fan_in = {
            kind: sum(block.mul for block in self.source if block.irrep == kind) for kind in self.source.kinds
        }
        # of each part: its irreps with the widths of their matrices, in the order of its weights
        self.widths = [
            [(kind, sum(block.mul for block in out if block.irrep == kind)) for kind in out.kinds]
            for out in outs
        ]
        if len(outs) != len(self.borrows) or any(
            k not in self.fan_in for part in self.widths for k, _ in part
        ):
            raise ArtifactError("merged linear maps read irreps that their value lacks")
        self.sizes = [block.dim for block in self.source]
        # per irrep, who its columns go to: (part, block of the part), in the order of the columns
        self.columns: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self.blocks = [[0] * len(out) for out in outs]
        for k, out in enumerate(outs):
            for kind in out.kinds:
                for n, block in enumerate(out):
                    if block.irrep == kind:
                        self.columns.setdefault(kind, []).append((k, n, block.mul))

    def forward(self, x: Tensor, *weights: Tensor) -> Tensor:
        matrices: dict[tuple[int, int], list[Tensor]] = {}
        for part, weight in zip(self.widths, weights, strict=True):
            pieces = weight.split([self.fan_in[kind] * width for kind, width in part])
            for (kind, width), piece in zip(part, pieces, strict=True):
                matrices.setdefault(kind, []).append(piece.unflatten(0, (self.fan_in[kind], width)))
        values = x.split(self.sizes, dim=-1)
        found: dict[tuple[int, int], Tensor] = {}
        for kind, columns in self.columns.items():
            chosen = [
                value.unflatten(-1, (block.size, block.mul))
                for value, block in zip(values, self.source, strict=True)
                if block.irrep == kind
            ]
            whole = chosen[0] if len(chosen) == 1 else torch.cat(chosen, dim=-1)
            matrix = torch.cat(matrices[kind], dim=1) * (1.0 / math.sqrt(self.fan_in[kind]))
            for (k, n, _), piece in zip(
                columns, (whole @ matrix).split([mul for *_, mul in columns], dim=-1), strict=True
            ):
                found[k, n] = piece.flatten(-2)
        return torch.cat(
            [found[k, n] for k, part in enumerate(self.blocks) for n in range(len(part))], dim=-1
        )


class Part(Layer):
    """One of several merged linear maps: it holds the weights, and takes its numbers out of the result.

        y = x[start : start + out.dim]

    Shapes:    x [*, dim] -> y [*, out.dim]; `weight` as of `Linear`: all W row by row, irreps in order of `out`
    Units:     those of x
    Claims:    equivariant
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        source, out = Irreps.parse(params["in"]), Irreps.parse(params["out"])
        self.start, self.stop = int(params["start"]), int(params["start"]) + out.dim
        muls = [
            sum(a.mul for a in source if a.irrep == kind) * sum(b.mul for b in out if b.irrep == kind)
            for kind in out.kinds
        ]
        self.weight = parameter(sum(muls))

    def initialise(self, generator: torch.Generator) -> None:
        fill_normal(self.weight, generator)

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.start : self.stop]
