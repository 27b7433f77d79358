"""Linear layers as lists of matrix products."""

from __future__ import annotations

import math

from equic.runtime.layers.density import Density
from equic.runtime.layers.linear import Linear
from equic.runtime.layers.merged import Merged
from equic.runtime.layers.mlp import Mlp

from .gemm import Task


def linear_tasks(layer: Linear) -> list[Task]:
    """The products of a linear layer on its flat weights: one for each component and pair of blocks."""
    tasks, start = [], 0
    for kind in layer.kinds:
        scale, row = 1.0 / math.sqrt(kind.fan_in), 0
        for source in kind.sources:
            column = 0
            for target in kind.targets:
                w = start + row * kind.fan_out + column
                tasks += [
                    Task(
                        x=source.start + m * source.mul,
                        y=target.start + m * target.mul,
                        w=w,
                        rows=source.mul,
                        columns=target.mul,
                        width=kind.fan_out,
                        scale=scale,
                    )
                    for m in range(kind.size)
                ]
                column += target.mul
            row += source.mul
        start += kind.fan_in * kind.fan_out
    return tasks


def merged_tasks(layer: Merged) -> list[Task]:
    """The products of linear maps side by side, on their weights one after another."""
    tasks, start, column = [], 0, 0
    for out in layer.outs:
        for kind in out.kinds:
            sources = [block for block in layer.source if block.irrep == kind]
            targets = [block for block in out if block.irrep == kind]
            width, row = sum(target.mul for target in targets), 0
            scale = 1.0 / math.sqrt(layer.fan_in[kind])
            for source in sources:
                at = start + row * width
                for target in targets:
                    tasks += [
                        Task(source.start + m * source.mul, column + target.start + m * target.mul, at,
                             source.mul, target.mul, width, scale)
                        for m in range(source.size)
                    ]  # fmt: skip
                    at += target.mul
                row += source.mul
            start += layer.fan_in[kind] * width
        column += out.dim
    return tasks


def mlp_scales(layer: Mlp) -> list[float]:
    """What each product of a network is multiplied by: the factor of the activation before it among them."""
    scales = [1.0 if layer.orthogonal else 1.0 / math.sqrt(weight.shape[0]) for weight in layer.weights]
    return [scale * (layer.factor if i else 1.0) for i, scale in enumerate(scales)]


def density_tasks(density: Density, hidden: int) -> list[Task]:
    """The products of a density layer on its matrices, joined flat."""
    tasks, start, length = [], 0, density.species * hidden
    for block, paths in zip(density.right, density.paths, strict=True):
        width, column = sum(density.left[i].mul for i, *_ in paths), 0
        for _, k, _, _ in paths:
            target = density.out[k]
            tasks += [
                Task((block.start + m) * length, target.start + m * target.mul, start + column, length,
                     target.mul, width, 1.0)
                for m in range(block.size)
            ]  # fmt: skip
            column += target.mul
        start += length * width
    return tasks
