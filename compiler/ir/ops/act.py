"""Nonlinearities on features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.wording import count_of
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Type
from .activations import ODD, SMOOTHNESS, Activation, faded
from .base import IrrepsField, Op, Ref, Scope, Site, expect_irreps, result_like


class Act(Op):
    """A nonlinearity on features.

    - pointwise: f on every number. Exact on invariants; breaks SO(3) on l > 0; on 0o exact only for odd f.
    - gate: f on the scalars, and gate(g_u) x_u for each other irrep, g the last scalars. Exact. With `odd`,
      that function takes the scalars 0o, which are gated without it.
    - norm: x f(|x|) per irrep. Exact.
    """

    kind: Literal["act"] = "act"
    of: Ref
    form: Literal["pointwise", "gate", "norm"] = "pointwise"
    f: Activation = "silu"
    gate: Activation = "sigmoid"
    odd: Literal["tanh"] | None = None
    out: IrrepsField | None = None

    reference: ClassVar[str] = "weiler2018steerable"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`act`"):
            return None
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

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        params = {"form": self.form, "f": self.f, "in": str(types[0].rep), "out": str(result.rep)}
        return {**params, "gate": self.gate, "odd": self.odd} if self.form == "gate" else params


def gated_part(irreps: Irreps, odd: str | None) -> Irreps:
    """What a gate scales: all but 0e, and but 0o where `odd` is a function of those."""
    kept = (block for block in irreps if not block.irrep.is_invariant and not (odd and block.irrep.is_scalar))
    return Irreps(tuple(kept))
