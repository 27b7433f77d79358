"""Networks of one label each, and the small parts that the layers of networks are made of."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..irreps import Irreps
from .activations import ACTIVATIONS
from .base import Constant, Layer, Params, fill_normal, parameter

# with at most this many labels, one GEMM with the matrices of all costs less than one matrix for each row
_FEW = 16


class Resnet(Layer):
    """A dense network for every label, each layer with a shortcut where sizes allow.

        x <- t_z f(x W_z / sqrt(fan_in) + b_z) + shortcut,  W ~ N(0, 1), b = 0
        shortcut: x where a layer keeps the width, (x, x) where it doubles it, else none

    t is 1, or with `timestep` learned in layers with a shortcut, t ~ N(0.1, 0.001^2). `out` adds a linear layer
    without either.

    Shapes:    x [*, in], labels [*] -> y [*, out or last width]; `weights` [labels, in, out] a layer
    Units:     dimensionless in and out
    Claims:    invariant numbers to invariant numbers under every group; as smooth as f
    Reference: zhang2018deeppotse
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        sizes = [int(params["in"]), *(int(width) for width in params["widths"])]
        if params["out"] is not None:
            sizes.append(int(params["out"]))
        self.hidden = len(params["widths"])
        self.labels = int(params["species"])
        self.act = ACTIVATIONS[params["act"]]
        self.weights = nn.ParameterList(parameter(self.labels, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(parameter(self.labels, b) for b in sizes[1:])
        timed = list(pairwise(sizes))[: self.hidden] if params.get("timestep") else []
        self.timesteps = nn.ParameterDict(
            {str(k): parameter(self.labels, b) for k, (a, b) in enumerate(timed) if b in (a, 2 * a)}
        )
        self.register_buffer("numbers", torch.arange(self.labels), persistent=False)

    def initialise(self, generator: torch.Generator) -> None:
        for weight in self.weights:
            fill_normal(weight, generator)
        for step in self.timesteps.values():
            fill_normal(step, generator, 0.001)
            with torch.no_grad():
                step.add_(0.1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        pick = (labels[:, None] == self.get_buffer("numbers")).to(x.dtype)
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            matrix = weight * (1.0 / math.sqrt(weight.shape[1]))
            if self.labels <= _FEW:
                y = (pick[:, :, None] * x[:, None, :]).flatten(1) @ matrix.flatten(0, 1)
            else:
                y = torch.bmm(x[:, None], matrix.index_select(0, labels))[:, 0]
            y = y + bias.index_select(0, labels)
            if k < self.hidden:
                y = self.act(y)
                if str(k) in self.timesteps:
                    y = y * self.timesteps[str(k)].index_select(0, labels)
                if y.shape[1] == x.shape[1]:
                    y = y + x
                elif y.shape[1] == 2 * x.shape[1]:
                    y = y + torch.cat((x, x), dim=1)
            x = y
        return x


class Gram(Layer):
    """Inner products of all channels with the first few.

        D_(a,b) = sum_l 1 / (2l+1) sum_m x_(lm,a) x_(lm,b),   b < columns

    Shapes:    x [*, in.dim] -> D [*, channels columns], row by row
    Units:     the square of those of x
    Claims:    invariant under every orthogonal group
    Reference: zhang2018deeppotse
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps, self.columns = Irreps.parse(params["in"]), int(params["columns"])
        scales = [1.0 / math.sqrt(block.size) for block in self.irreps for _ in range(block.size)]
        self.scales = Constant(torch.tensor(scales, dtype=torch.float64)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.cat(
            [x[..., block.slice].unflatten(-1, (block.size, block.mul)) for block in self.irreps], dim=-2
        )
        rows = rows * self.scales.value
        return (rows.transpose(-1, -2) @ rows[..., : self.columns]).flatten(-2)


class Keep(Layer):
    """Some blocks of a value.

        y = (x_k for k in blocks)

    Shapes:    x [*, in.dim] -> y [*, sum of the dims of these blocks]
    Units:     those of x
    Claims:    equivariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        irreps = Irreps.parse(params["in"])
        self.sizes, self.blocks = [block.dim for block in irreps], [int(k) for k in params["blocks"]]

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.sizes, dim=-1)
        return torch.cat([parts[k] for k in self.blocks], dim=-1)


class SumBlocks(Layer):
    """Equal irreps added up, channel by channel.

        y_k = sum_(blocks b into k) x_b

    Shapes:    x [*, in.dim] -> y [*, dims of the distinct blocks]
    Units:     those of x
    Claims:    equivariant under every group
    Reference: musaelian2023allegro
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.sizes, into = [block.dim for block in Irreps.parse(params["in"])], params["into"]
        self.parts = [[b for b, k in enumerate(into) if k == one] for one in dict.fromkeys(into)]

    def forward(self, x: Tensor) -> Tensor:
        blocks = x.split(self.sizes, dim=-1)
        sums = [sum((blocks[b] for b in others), blocks[first]) for first, *others in self.parts]
        return torch.cat(sums, dim=-1)


class Ones(Layer):
    """The number 1 on every element.

        y = 1

    Shapes:    x [rows, ...] -> y [rows, 1]
    Claims:    invariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.like = Constant(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.like.value.new_ones((x.shape[0], 1))


class Bias(Layer):
    """A learned number added to every invariant.

        y_(0,u) = x_(0,u) + b_u for 0e, else y = x;   b = 0 at first

    Shapes:    x [*, in.dim] -> y [*, in.dim]
    Units:     those of x
    Claims:    equivariant under every group
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        blocks = [block for block in Irreps.parse(params["in"]) if block.size == 1 and block.p != -1]
        columns = [torch.arange(block.start, block.start + block.dim) for block in blocks]
        self.size = Irreps.parse(params["in"]).dim
        self.register_buffer("columns", torch.cat([*columns, torch.arange(0)]), persistent=False)
        self.weight = parameter(sum(block.dim for block in blocks))

    def forward(self, x: Tensor) -> Tensor:
        whole = self.weight.new_zeros(self.size).index_add(0, self.get_buffer("columns"), self.weight)
        return x + whole
