"""The message as one operator: gather, product and sum over edges, differentiable to any order."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from equic.runtime.layers.base import Layer
from torch import Tensor

from .message_source import backward_source, forward_source, message_spec
from .ops import LIBRARY, pointer, threads, toolchain, wanted, whole

LIBRARY.define(
    "message(Tensor x, Tensor y, Tensor w, Tensor? dx, Tensor? dy, Tensor? dw, Tensor source, Tensor order, "
    "Tensor scale, str spec) -> Tensor"
)
LIBRARY.define(
    "message_backward(Tensor g, Tensor x, Tensor y, Tensor w, Tensor? dx, Tensor? dy, Tensor? dw, "
    "Tensor target, Tensor order, Tensor scale, str spec, str wanted) -> (Tensor, Tensor, Tensor)"
)


def message_terms(product: Mapping[str, Any]) -> int:
    """How many products of three numbers one channel of an edge takes: what the length of the code goes with."""
    spec = message_spec(_text(product))
    return sum(len(path.terms) for group in spec.groups for path in group)


def _text(product: Mapping[str, Any]) -> str:
    return json.dumps({name: product[name] for name in ("left", "right", "out", "paths")})


# How a sum over edges is scaled: by this power of the mean number of neighbours.
NORMS = {"sum": 0.0, "average": -1.0, "root_average": -0.5}


class Message(Layer):
    """Sum over the edges at each node of the product of the other end's features with a weighted filter.

        out_(n,k,c,u) = 1/N sum_(e -> n) sum_(a,b) C^k_abc x_(src e,a,u) Y_(e,b) w_(e,k,u)

    What a `gather` of role source, a "uvu" `product` and a `reduce` from edges to nodes compute one after the
    other; N = 1, the mean number of neighbours, or its root. Nothing of the size edge x out.dim exists.

    Shapes:    x [node, left.dim], Y [edge, right.dim], w [edge, weights], order [2, node + 1 + edge] (see
               `edge_order`), edges [2, edge] -> [node, out.dim]
    Units:     product of those of x, Y and w
    Claims:    those of the three layers it stands for
    """

    fields: ClassVar = ("edges",)

    def __init__(self, product: Mapping[str, Any], norm: str) -> None:
        super().__init__()
        self.spec = _text(product)
        self.power = NORMS[norm]
        if self.power:
            self.statistics = ("average_neighbors",)  # type: ignore[misc]  # of this one, not of all

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        w: Tensor,
        order: Tensor,
        edges: Tensor,
        average_neighbors: Tensor | None = None,
    ) -> Tensor:
        return _Message.apply(x, y, w, edges, order, self.scale(average_neighbors), self.spec)

    def scale(self, average_neighbors: Tensor | None = None) -> Tensor:
        """1/N as a float64 number."""
        if average_neighbors is None:
            return torch.ones((), dtype=torch.float64)
        return average_neighbors.to(torch.float64) ** self.power


class _Message(torch.autograd.Function):
    """out(x, Y, w)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, w: Tensor, edges: Tensor, order: Tensor, scale: Tensor, spec: str
    ) -> Tensor:
        ctx.save_for_backward(x, y, w, edges, order, scale)
        ctx.spec = spec
        return torch.ops.equic.message(x, y, w, None, None, None, edges[0], order[0], scale, spec)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, y, w, edges, order, scale = ctx.saved_tensors
        names = "".join(name for name, want in zip("xyw", wanted(ctx, 3), strict=True) if want)
        gradients = _Gradients.apply(g, x, y, w, edges, order, scale, ctx.spec, names)
        kept = (value if name in names else None for name, value in zip("xyw", gradients, strict=True))
        return (*kept, None, None, None, None)


class _Gradients(torch.autograd.Function):
    """The gradients of <g, out> by x, Y and w; empty where not wanted."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        x: Tensor,
        y: Tensor,
        w: Tensor,
        edges: Tensor,
        order: Tensor,
        scale: Tensor,
        spec: str,
        names: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(g, x, y, w, edges, order, scale)
        ctx.spec, ctx.names = spec, names
        ctx.set_materialize_grads(False)
        return torch.ops.equic.message_backward(
            g, x, y, w, None, None, None, edges[1], order[1], scale, spec, names
        )

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """With S = <dx, F_x> + <dY, F_Y> + <dw, F_w> and F = <g, out> linear in each of its arguments: the
        gradients of S are the derivatives of out, and of the gradients of F, along (dx, dY, dw)."""
        g, *arguments, edges, order, scale = ctx.saved_tensors
        along = {
            name: value
            for name, value in zip("xyw", tangents, strict=True)
            if value is not None and name in ctx.names
        }
        want = wanted(ctx, 4)
        if not along:
            return (None,) * 9
        names = "".join(name for name, here in zip("xyw", want[1:], strict=True) if here)
        if torch.is_grad_enabled():
            by_g, gradients = _directional(g, arguments, along, edges, order, scale, ctx.spec, names)
        else:
            moves = [along.get(name) for name in "xyw"]
            by_g, gradients = None, (None, None, None)
            if want[0]:
                by_g = torch.ops.equic.message(*arguments, *moves, edges[0], order[0], scale, ctx.spec)
            if names:
                gradients = torch.ops.equic.message_backward(
                    g, *arguments, *moves, edges[1], order[1], scale, ctx.spec, names
                )
        kept = (value if name in names else None for name, value in zip("xyw", gradients, strict=True))
        return (by_g, *kept, None, None, None, None, None)


def _directional(
    g: Tensor,
    arguments: list[Tensor],
    along: Mapping[str, Tensor],
    edges: Tensor,
    order: Tensor,
    scale: Tensor,
    spec: str,
    names: str,
) -> tuple[Tensor, list[Tensor | None]]:
    """The same derivatives from the operators themselves, one direction at a time, to be differentiated again."""
    by_g: Tensor | None = None
    sums: list[Tensor | None] = [None, None, None]
    for name, move in along.items():
        place = "xyw".index(name)
        moved = [move if i == place else value for i, value in enumerate(arguments)]
        value = _Message.apply(*moved, edges, order, scale, spec)
        by_g = value if by_g is None else by_g + value
        others = "".join(other for other in names if other != name)
        gradients = _Gradients.apply(g, *moved, edges, order, scale, spec, others)
        for i, other in enumerate("xyw"):
            if other in others:
                sums[i] = gradients[i] if sums[i] is None else sums[i] + gradients[i]
    assert by_g is not None
    return by_g, sums


def _check(spec: str, x: Tensor, y: Tensor, w: Tensor, order: Tensor) -> None:
    """The kernel reads what these say is there."""
    sizes = message_spec(spec)
    shapes = ((x, sizes.left), (y, sizes.right), (w, sizes.weights))
    if any(value.ndim != 2 or value.shape[1] != size for value, size in shapes):
        found = ", ".join(str(list(value.shape)) for value, _ in shapes)
        raise ValueError(f"a message of {sizes.left}, {sizes.right}, {sizes.weights} numbers got {found}")
    if not y.shape[0] == w.shape[0] == order.shape[0] - x.shape[0] - 1:
        raise ValueError(f"{y.shape[0]} filters and {w.shape[0]} weights do not fit the edges")


def _forward(
    x: Tensor,
    y: Tensor,
    w: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
    dw: Tensor | None,
    source: Tensor,
    order: Tensor,
    scale: Tensor,
    spec: str,
) -> Tensor:
    _check(spec, x, y, w, order)
    return _sums(x.shape[0], (x, y, w), (dx, dy, dw), source, order, scale, spec)


def message_sums(
    x: Tensor, y: Tensor, w: Tensor, source: Tensor, order: Tensor, scale: Tensor, spec: str
) -> Tensor:
    """`out` of the receivers that the order counts [receiver + 1 + edge]; senders may be more than these.

    `source` must name rows of x: nothing looks again.
    """
    return _sums(order.shape[0] - 1 - y.shape[0], (x, y, w), (None, None, None), source, order, scale, spec)


def _sums(
    nodes: int,
    arguments: tuple[Tensor, Tensor, Tensor],
    along: tuple[Tensor | None, Tensor | None, Tensor | None],
    source: Tensor,
    order: Tensor,
    scale: Tensor,
    spec: str,
) -> Tensor:
    found, x = toolchain(), arguments[0]
    tangents = "".join(name for name, value in zip("xyw", along, strict=True) if value is not None)
    out = x.new_empty((nodes, message_spec(spec).out))
    held = [whole(value) for value in (*arguments, *along)]
    row, numbers = order[: nodes + 1].contiguous(), order[nodes + 1 :].contiguous()
    source, scale = source.contiguous(), scale.to(torch.float64)
    found.load(forward_source(spec, x.dtype, tangents)).forward(
        ctypes.c_int64(nodes),
        threads(found),
        *(pointer(value) for value in (row, numbers, source, scale, *held, out)),
    )
    return out


def _backward(
    g: Tensor,
    x: Tensor,
    y: Tensor,
    w: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
    dw: Tensor | None,
    target: Tensor,
    order: Tensor,
    scale: Tensor,
    spec: str,
    wanted: str,
) -> tuple[Tensor, Tensor, Tensor]:
    _check(spec, x, y, w, order)
    found = toolchain()
    tangents = "".join(name for name, value in zip("xyw", (dx, dy, dw), strict=True) if value is not None)
    nodes = x.shape[0]
    gx, gy, gw = _fake_backward(g, x, y, w, dx, dy, dw, target, order, scale, spec, wanted)
    if not wanted:
        return gx, gy, gw
    held = [whole(value) for value in (x, y, w, dx, dy, dw, g)]
    row, numbers = order[: nodes + 1].contiguous(), order[nodes + 1 :].contiguous()
    target, scale = target.contiguous(), scale.to(torch.float64)
    found.load(backward_source(spec, x.dtype, wanted, tangents)).backward(
        ctypes.c_int64(nodes),
        threads(found),
        *(pointer(value) for value in (row, numbers, target, scale, *held, gx, gy, gw)),
    )
    return gx, gy, gw


def _fake_forward(x: Tensor, y: Tensor, w: Tensor, *rest: Any) -> Tensor:
    return x.new_empty((x.shape[0], message_spec(rest[-1]).out))


def _fake_backward(g: Tensor, x: Tensor, y: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    gx, gy, gw = (
        value.new_empty(value.shape if name in rest[-1] else (0,))
        for name, value in zip("xyw", (x, y, w), strict=True)
    )
    return gx, gy, gw


LIBRARY.impl("message", _forward, "CPU")
LIBRARY.impl("message_backward", _backward, "CPU")
torch.library.register_fake("equic::message", _fake_forward, lib=LIBRARY)
torch.library.register_fake("equic::message_backward", _fake_backward, lib=LIBRARY)
