"""Products of channel with channel as one operator, differentiable to any order."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from equic.runtime.layers.base import Hidden, Layer
from equic.runtime.layers.product_channelwise import Channelwise
from torch import Tensor

from .couple_source import ROWS, backward_source, couple_spec, forward_source
from .ops import LIBRARY, pointer, threads, toolchain, wanted, whole

LIBRARY.define("couple(Tensor x, Tensor y, Tensor w, str spec) -> Tensor")
LIBRARY.define(
    "couple_backward(Tensor g, Tensor x, Tensor y, Tensor w, str spec, str wanted) -> (Tensor, Tensor, Tensor)"
)


class Couple(Layer):
    """A "uuu" `product` with learned weights, and the `sum_blocks` behind it where only that reads it.

        out_(e,k,c,u) = sum_(p to k) w_(p,u) sum_(a,b) C^p_abc x_(e,i,a,u) y_(e,j,b,u)

    The layer keeps its weights. Nothing of the size row x path exists.

    Shapes:    x [n, left.dim], y [n, right.dim] -> [n, out.dim]
    Units:     product of those of x and y
    Claims:    those of the layers it stands for
    """

    def __init__(self, product: Channelwise, spec: str) -> None:
        super().__init__()
        self.product, self.spec = Hidden(product), spec

    @property
    def weight(self) -> Tensor:
        """Of the paths in their order [number]."""
        found = self.product.module.weight
        assert isinstance(found, Tensor)
        return found

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return _Couple.apply(x, y, self.weight, self.spec)


class CoupleRule:
    """One call of it without autograd."""

    def __init__(self, layer: Couple) -> None:
        self.layer = layer

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.arguments, self.wants = (*values, self.layer.weight), wants
        return torch.ops.equic.couple(*self.arguments, self.layer.spec)

    def pull(self, g: Tensor) -> Sequence[Tensor | None]:
        names = "".join(name for name, want in zip("xy", self.wants, strict=True) if want)
        made = torch.ops.equic.couple_backward(g, *self.arguments, self.layer.spec, names)
        return [value if want else None for value, want in zip(made, self.wants, strict=False)]


class _Couple(torch.autograd.Function):
    """out(x, y, w)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, w: Tensor, spec: str) -> Tensor:
        ctx.save_for_backward(x, y, w)
        ctx.spec = spec
        return torch.ops.equic.couple(x, y, w, spec)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        names = "".join(name for name, want in zip("xyw", wanted(ctx, 3), strict=True) if want)
        gradients = _Gradients.apply(g, *ctx.saved_tensors, ctx.spec, names)
        kept = (value if name in names else None for name, value in zip("xyw", gradients, strict=True))
        return (*kept, None)


class _Gradients(torch.autograd.Function):
    """The gradients of <g, out> by x, y and w; empty where not wanted."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, y: Tensor, w: Tensor, spec: str, names: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(g, x, y, w)
        ctx.spec, ctx.names = spec, names
        ctx.set_materialize_grads(False)
        gx, gy, parts = torch.ops.equic.couple_backward(g, x, y, w, spec, names)
        return gx, gy, parts.sum(0)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """With S = <dx, F_x> + <dy, F_y> + <dw, F_w> and F = <g, out> linear in each of its arguments: the
        gradients of S are out, and the gradients of F, with one argument after the other replaced by its d."""
        g, *arguments = ctx.saved_tensors
        want = wanted(ctx, 4)
        by_g: Tensor | None = None
        sums: list[Tensor | None] = [None, None, None]
        for place, move in enumerate(tangents):
            if move is None or "xyw"[place] not in ctx.names:
                continue
            moved = [move if i == place else value for i, value in enumerate(arguments)]
            if want[0]:
                value = _Couple.apply(*moved, ctx.spec)
                by_g = value if by_g is None else by_g + value
            others = "".join(name for i, name in enumerate("xyw") if i != place and want[1 + i])
            if others:
                made = _Gradients.apply(g, *moved, ctx.spec, others)
                for i, name in enumerate("xyw"):
                    if name in others:
                        sums[i] = made[i] if sums[i] is None else sums[i] + made[i]
        return (by_g, *sums, None, None)


def _check(spec: str, x: Tensor, y: Tensor, w: Tensor) -> None:
    """The kernel reads what these say is there."""
    sizes = couple_spec(spec)
    if x.shape != (y.shape[0], sizes.left) or y.shape[1:] != (sizes.right,) or w.shape != (sizes.weights,):
        found = ", ".join(str(list(value.shape)) for value in (x, y, w))
        raise ValueError(f"a product of {sizes.left}, {sizes.right}, {sizes.weights} numbers got {found}")


def _forward(x: Tensor, y: Tensor, w: Tensor, spec: str) -> Tensor:
    _check(spec, x, y, w)
    found, out = toolchain(), _fake_forward(x, y, w, spec)
    held = [whole(value) for value in (x, y, w)]
    found.load(forward_source(spec, x.dtype)).forward(
        ctypes.c_int64(x.shape[0]), threads(found), *(pointer(value) for value in (*held, out))
    )
    return out


def _backward(
    g: Tensor, x: Tensor, y: Tensor, w: Tensor, spec: str, wanted: str
) -> tuple[Tensor, Tensor, Tensor]:
    _check(spec, x, y, w)
    found, made = toolchain(), _fake_backward(g, x, y, w, spec, wanted)
    if wanted:
        held = [whole(value) for value in (x, y, w, g)]
        found.load(backward_source(spec, x.dtype, wanted)).backward(
            ctypes.c_int64(x.shape[0]), threads(found), *(pointer(value) for value in (*held, *made))
        )
    return made


def _fake_forward(x: Tensor, y: Tensor, w: Tensor, spec: str) -> Tensor:
    return x.new_empty((x.shape[0], couple_spec(spec).out))


def _fake_backward(
    g: Tensor, x: Tensor, y: Tensor, w: Tensor, spec: str, wanted: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient by w is a sum that is left to do, over chunks of rows."""
    shapes = {"x": x.shape, "y": y.shape, "w": ((x.shape[0] + ROWS - 1) // ROWS, *w.shape)}
    gx, gy, gw = (x.new_empty(shape if name in wanted else (0, *shape[1:])) for name, shape in shapes.items())
    return gx, gy, gw


LIBRARY.impl("couple", _forward, "CPU")
LIBRARY.impl("couple_backward", _backward, "CPU")
torch.library.register_fake("equic::couple", _fake_forward, lib=LIBRARY)
torch.library.register_fake("equic::couple_backward", _fake_backward, lib=LIBRARY)
