"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.units import Unit
from ..types import Index, Plain, Sphere, Type
from .activations import SMOOTHNESS, Activation, faded
from .base import Op, Ref, Scope, Site, Size, Work, result_like
from .sphere import kept_by_inversion


class Mlp(Op):
    """Dense layers with an activation between them.

    On invariants: exact. On values on a sphere it acts on the channels at every point: exact, until `unsample`
    sums over the points. On anything else every factor that moves the input is broken, because a dense
    layer mixes components that must stay apart; on positions translation is broken too. Smooth: that of
    the activation. `last: false` stops before the last matrix, which a `density` applies.
    """

    kind: Literal["mlp"] = "mlp"
    of: Ref
    widths: tuple[Size, ...]
    out: Size
    activation: Activation = "silu"
    bias: bool = False
    init: Literal["normal", "orthogonal"] = "normal"
    last: bool = True

    reference: ClassVar[str] = "hornik1989mlp"

    def size(self, types: Sequence[Type]) -> int:
        """How many numbers it gives."""
        return self.out if self.last else (self.widths[-1] if self.widths else types[0].dim)

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        result = result_like(
            types,
            unit=Unit.parse("1"),
            affine=False,
            smooth=min(x.smooth, SMOOTHNESS.get(self.activation, x.smooth)),
            fades=-1.0 if self.bias else faded(x, self.activation) if self.widths else x.fades,
        )
        holds = dict(result.holds)
        if isinstance(x.rep, Irreps):
            scalar = Irrep(0, 0 if x.rep.group == "SO(2)" else 1)
            rep: Irreps | Plain | Sphere = Irreps((Block(self.size(types), scalar),), x.rep.group)
            if not x.rep.all_scalar:
                moving = "SO(2)" if x.rep.group == "SO(2)" else "SO(3)"
                reason = f"a dense layer mixes the components of `{x.rep.simplified()}`"
                holds = site.broken(holds, (moving,), reason)
            if any(block.irrep.p < 0 for block in x.rep):
                holds = site.broken(
                    holds, ("inversion",), f"a dense layer mixes parities of `{x.rep.simplified()}`"
                )
        elif isinstance(x.rep, Sphere):
            acting = (self.activation,) * len(self.widths)
            rep = replace(x.rep, channels=self.size(types), through=x.rep.through + acting)
            holds = kept_by_inversion(holds, site, x.rep.sign, acting, self.bias)
        else:
            rep = Plain(self.size(types))
        if x.affine:
            holds = site.broken(
                holds, ("translation",), "a dense layer sees absolute positions, not differences"
            )
        return result.with_(rep=rep, holds=holds)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        params = {
            "in": types[0].dim,
            "widths": list(self.widths),
            "out": self.out,
            "act": self.activation,
            "bias": self.bias,
            "init": self.init,
        }
        return params if self.last else {**params, "last": False}

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        sizes = [types[0].dim, *self.widths, self.out]
        weights = sum(a * b for a, b in pairwise(sizes))
        return weights + (sum(sizes[1:]) if self.bias else 0)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        sizes = [types[0].dim, *self.widths, *([self.out] if self.last else [])]
        flops = 2 * sum(a * b for a, b in pairwise(sizes))
        kept = 2 * sum(sizes[1:-1]) + result.dim
        points = types[0].rep.points if isinstance(types[0].rep, Sphere) else 1
        return {result.index: Work(flops * points, kept * points)}
