"""Sums of values with weights from a softmax."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..irreps import Irreps
from .activations import ACTIVATIONS
from .base import Layer, Params, fill_normal, parameter

_EPS = 1e-5  # of the layer norm of the features that logits are made of
_LEAST = 1e-15  # envelopes below it do not count where the largest logit is looked for


class Attend(Layer):
    """Sum over the edges that point at each node, weighted by a softmax over them, head by head.

        y_i = sum_(e -> i) a_e v_e,   a_e = u_e exp(s_e) / sum_(f -> i) u_f exp(s_f)

        mlp:    s_e = w f(LN(x_e)) / sqrt(n)       LN over the n features of a head, with learned scale and shift
        dot:    s_e = q_i k_e / sqrt(n)            over n numbers in a row
        inner:  s_e = <q_i, k_e> / sqrt(n)         over the channels of every irrep that belong to a head

    The largest s + ln u of a node is subtracted first, which changes no weight and keeps exp in range. A node that
    no edge points at gets zeros.

    Shapes:    v [edge, in.dim], x [edge, by.dim] or q [node, by.dim] and k [edge, by.dim], u [edge, 1] with
               `envelope`, edges [2, edge], species [node] -> y [node, in.dim]; `weight` [heads, n] ~ N(0, 1),
               `scale` [n] and `shift` [n] with `mlp`
    Units:     those of v; logits are dimensionless
    Claims:    equivariant under every group that leaves the logits alone; invariant under permutation of edges
    Reference: liao2024equiformerv2; fuchs2020se3transformer; vaswani2017attention
    """

    fields: ClassVar = ("edges", "species")

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.irreps, self.features = Irreps.parse(params["in"]), Irreps.parse(params["by"])
        self.heads, self.ended = int(params["heads"]), bool(params["envelope"])
        self.logit = str(params["logit"])
        size = self.features.dim // self.heads
        self.root = 1.0 / math.sqrt(size)
        self.weight: nn.Parameter | None = None
        if self.logit == "mlp":
            self.act = ACTIVATIONS[params["act"]]
            self.weight = parameter(self.heads, size)
            self.scale, self.shift = parameter(size), parameter(size)

    def initialise(self, generator: torch.Generator) -> None:
        if self.weight is not None:
            fill_normal(self.weight, generator)
            nn.init.ones_(self.scale)

    def forward(self, values: Tensor, by: Tensor, *rest: Tensor) -> Tensor:
        target, species = rest[-2][1], rest[-1]
        if self.weight is not None:
            logits = self.learned(by)
        else:
            logits = self.products(by.index_select(0, target), rest[0])
        envelope = rest[-3] if self.ended else None
        weights = competing(logits, target, species.shape[0], envelope)
        shared = spread(values, weights, self.irreps)
        return shared.new_zeros((species.shape[0], shared.shape[1])).index_add(0, target, shared)

    def learned(self, x: Tensor) -> Tensor:
        """Logits [*, heads] of features."""
        assert self.weight is not None
        x = x.unflatten(-1, (self.heads, -1))
        centred = x - x.mean(-1, keepdim=True)
        normal = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + _EPS)
        return (self.act(normal * self.scale + self.shift) * (self.weight * self.root)).sum(-1)

    def products(self, q: Tensor, k: Tensor) -> Tensor:
        """Logits [*, heads] of queries and keys."""
        product = q * k
        if self.logit == "dot":
            return product.unflatten(-1, (self.heads, -1)).sum(-1) * self.root
        parts = [
            product[..., block.slice].unflatten(-1, (block.size, self.heads, -1)).sum((-3, -1))
            for block in self.features
        ]
        return torch.stack(parts).sum(0) * self.root


class AttendTokens(Attend):
    """The same softmax for each token, over all tokens around the same node, its own among them.

        y_t = sum_s a_ts v_s,   a_ts = u_s exp(q_t k_s / sqrt(n)) / sum_r u_r exp(q_t k_r / sqrt(n))

    Tokens are edges; with `nodes` they are edges and, below them, nodes, whose u is 1.

    Shapes:    v, q, k [edge (+ node), dim], u [edge, 1] with `envelope`, edges [2, edge], angles [2, angle]
               -> y [edge (+ node), in.dim]
    Units:     those of v; logits are dimensionless
    Claims:    equivariant under every group that leaves the logits alone; invariant under permutation of edges
    Reference: pozdnyakov2023smooth
    """

    fields: ClassVar = ("edges", "angles")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.nodes = bool(params["nodes"])

    def forward(self, values: Tensor, queries: Tensor, keys: Tensor, *rest: Tensor) -> Tensor:
        edges, angles = rest[-2:]
        own = torch.arange(values.shape[0], device=edges.device)
        asking, asked = [angles[0], own], [angles[1], own]
        envelope = rest[0] if self.ended else None
        if self.nodes:  # every edge asks its target, and every node its edges
            count = edges.shape[1]
            at, ends = torch.arange(count, device=edges.device), edges[1] + count
            asking, asked = [*asking, at, ends], [*asked, ends, at]
            if envelope is not None:
                envelope = torch.cat((envelope, envelope.new_ones((values.shape[0] - count, 1))))
        here, there = torch.cat(asking), torch.cat(asked)
        logits = self.products(queries.index_select(0, here), keys.index_select(0, there))
        ended = None if envelope is None else envelope.index_select(0, there)
        weights = competing(logits, here, values.shape[0], ended)
        shared = spread(values.index_select(0, there), weights, self.irreps)
        return torch.zeros_like(values).index_add(0, here, shared)


def attend(params: Params) -> Layer:
    """The `attend` step in one of its scopes."""
    return AttendTokens(params) if params["scope"] == "tokens" else Attend(params)


def competing(logits: Tensor, group: Tensor, groups: int, envelope: Tensor | None) -> Tensor:
    """u exp(s) / sum of them over the rows of a group: [rows, heads] from logits [rows, heads] and u [rows, 1]."""
    shifted = logits.detach()
    if envelope is not None:
        envelope = envelope.clamp(min=0.0)
        shifted = shifted + envelope.detach().clamp(min=_LEAST).log()
    index = group[:, None].expand_as(shifted)
    least = shifted.new_full((groups, logits.shape[1]), -math.inf)
    largest = least.scatter_reduce(0, index, shifted, "amax").index_select(0, group)
    shares = (logits - largest).exp()
    if envelope is not None:
        shares = shares * envelope
    total = shares.new_zeros((groups, logits.shape[1])).index_add(0, group, shares)
    # all envelopes of a group may be 0 exactly: then so are its weights
    total = torch.where(total > 0, total, torch.ones_like(total))
    return shares / total.index_select(0, group)


def spread(values: Tensor, weights: Tensor, irreps: Irreps) -> Tensor:
    """Every head's share of the channels times its weight: values [rows, dim], weights [rows, heads]."""
    heads = weights.shape[1]
    if heads == 1:
        return values * weights
    parts = [
        (piece.unflatten(-1, (block.size, heads, -1)) * weights[:, None, :, None]).flatten(1)
        for block, piece in zip(irreps, values.split([block.dim for block in irreps], dim=-1), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
