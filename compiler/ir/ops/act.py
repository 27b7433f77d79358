"""Nonlinearities on features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.wording import count_of
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.sphere import grid_for
from ..types import Index, Sphere, Type
from .activations import ODD, SMOOTHNESS, Activation, faded
from .base import IrrepsField, Op, Ref, Scope, Site, Work, expect_irreps, result_like
from .sphere import GridDegree, degrees_of, functions, functions_of, kept_by_inversion, summed


class Act(Op):
    """A nonlinearity on features.

    - pointwise: f on every number. Exact on invariants; breaks SO(3) on l > 0; on 0o exact only for odd f.
    - gate: f on the scalars, and gate(g_u) x_u for each other irrep, g the last scalars. Exact. With `odd`,
      that function takes the scalars 0o, which are gated without it.
    - norm: x f(|x|) per irrep. Exact.
    - vn_relu: q - <q, k> k / |k|^2 where <q, k> < 0, else q, per irrep; q is the first half of the channels, k
      the second. Exact, C^0.
    - s2: f of the features as a function on the sphere, by the points of a grid. Approximate: f has all degrees;
      the error is measured with random functions.
    - s2_product: the product of the first half of the channels with the second, as functions on the sphere. Exact
      where the grid is.

    The grids of s2 and s2_product are exact up to `degree`, by default four times the highest degree of x for
    s2, and the least that makes s2_product exact. Values on a sphere (`sample`) take `pointwise`.
    """

    kind: Literal["act"] = "act"
    of: Ref
    form: Literal["pointwise", "gate", "norm", "vn_relu", "s2", "s2_product"] = "pointwise"
    f: Activation = "silu"
    gate: Activation = "sigmoid"
    odd: Literal["tanh"] | None = None
    out: IrrepsField | None = None
    degree: GridDegree | None = None

    reference: ClassVar[str] = "weiler2018steerable"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if isinstance(x.rep, Sphere) and self.form == "pointwise":
            holds = kept_by_inversion(dict(result_like(types).holds), site, x.rep.sign, (self.f,))
            smooth = min(x.smooth, SMOOTHNESS.get(self.f, x.smooth))
            rep = replace(x.rep, through=(*x.rep.through, self.f))
            return result_like(types, rep=rep, holds=holds, smooth=smooth, fades=faded(x, self.f))
        if not expect_irreps(x, site, "`act`"):
            return None
        if self.form == "vn_relu":
            halved = self._halved(x, site)
            if halved is None:
                return None
            return result_like(types, rep=halved, smooth=min(x.smooth, 0.0), fades=x.fades)
        if self.form in ("s2", "s2_product"):
            return self._on_sphere(x, site)
        smooth = min(x.smooth, SMOOTHNESS.get(self.f, x.smooth))
        if self.form == "gate":
            return self._gate(x, site, smooth)
        if self.form == "norm":
            return result_like(types, smooth=smooth, fades=x.fades)
        result = result_like(types, smooth=smooth, fades=faded(x, self.f))
        holds = dict(result.holds)
        moving = [block for block in x.irreps if not block.irrep.is_scalar]
        if moving:
            parts = "+".join(str(block) for block in moving)
            reason = f"{self.f} acts on each component of `{parts}` by itself"
            holds = site.broken(holds, ("SO(3)",), reason)
        odd = [block for block in x.irreps if block.irrep.p < 0]
        if odd and self.f not in ODD:
            parts = "+".join(str(block) for block in odd)
            holds = site.broken(
                holds, ("inversion",), f"{self.f} is not an odd function, and `{parts}` is odd"
            )
        return result.with_(holds=holds)

    def _halved(self, x: Type, site: Site) -> Irreps | None:
        """The irreps of half the channels."""
        if all(block.mul % 2 == 0 for block in x.irreps):
            return Irreps(tuple(Block(block.mul // 2, block.irrep) for block in x.irreps))
        site.error(
            Code.CHANNELS_UNEQUAL,
            f"`form: {self.form}` pairs one half of the channels with the other, but gets `{x.irreps.short}`",
            help="give every irrep an even number of channels with a `linear`",
        )
        return None

    def grid(self, irreps: Irreps) -> int:
        """The degree that the grid integrates exactly."""
        return (4 if self.form == "s2" else 3) * irreps.lmax if self.degree is None else self.degree

    def _on_sphere(self, x: Type, site: Site) -> Type | None:
        found = functions_of(x, site, f"`form: {self.form}`")
        if found is None:
            return None
        channels, sign = found
        degrees, grid = degrees_of(x.irreps), self.grid(x.irreps)
        holds = dict(result_like((x,)).holds)
        if self.form == "s2":
            smooth = min(x.smooth, SMOOTHNESS.get(self.f, x.smooth))
            holds = summed(holds, site, (degrees,), degrees, (self.f,), grid)
            holds = kept_by_inversion(holds, site, sign, (self.f,))
            return result_like((x,), holds=holds, smooth=smooth, fades=faded(x, self.f))
        if self._halved(x, site) is None:
            return None
        holds = summed(holds, site, (degrees, degrees), degrees, (), grid)
        rep = functions(channels // 2, degrees, 1)
        return result_like((x,), rep=rep, unit=x.unit**2, holds=holds, fades=x.fades)

    def _gate(self, x: Type, site: Site, smooth: float) -> Type | None:
        rest = Irreps(tuple(block for block in x.irreps if not block.irrep.is_invariant))
        gated = gated_part(rest, self.odd)
        scalars = x.irreps.mul_of(Irrep(0, 1))
        if scalars < gated.count:
            site.error(
                Code.GATE_COUNT,
                f"the gate has {count_of(scalars, 'scalar')}, but {count_of(gated.count, 'irrep')} to scale",
                help=f"give it {gated.count - scalars} more `0e`, such as `{gated.count}x0e`; "
                "what is left over passes through `f`",
            )
            return None
        kept = scalars - gated.count
        first = (Block(kept, Irrep(0, 1)),) if kept else ()
        smooth = min(smooth, SMOOTHNESS.get(self.gate, smooth))
        return result_like((x,), rep=Irreps(first + rest.blocks), smooth=smooth, fades=faded(x, self.f))

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        x = types[0]
        if isinstance(x.rep, Sphere):
            return {result.index: Work(x.rep.points * x.dim, 2 * x.rep.points * x.dim)}
        if self.form not in ("s2", "s2_product"):
            return {result.index: Work(result.dim, result.dim)}
        points = math.prod(grid_for(self.grid(x.irreps)))
        return {result.index: Work(2 * points * (x.dim + result.dim), 3 * points * (x.irreps.channels or 0))}

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        params = {"form": self.form, "f": self.f, "in": str(types[0].rep), "out": str(result.rep)}
        if self.form in ("s2", "s2_product"):
            return {**params, "degree": self.grid(types[0].irreps)}
        return {**params, "gate": self.gate, "odd": self.odd} if self.form == "gate" else params


def gated_part(irreps: Irreps, odd: str | None) -> Irreps:
    """What a gate scales: all but 0e, and but 0o where `odd` is a function of those."""
    kept = (block for block in irreps if not block.irrep.is_invariant and not (odd and block.irrep.is_scalar))
    return Irreps(tuple(kept))
