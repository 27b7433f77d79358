"""Multilayer perceptrons and activations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.wording import count_of
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.units import Unit
from ..types import Index, Plain, Type
from .base import IrrepsField, Op, Ref, Scope, Site, Size, expect_irreps, result_like

Activation = Literal["silu", "tanh", "relu", "sigmoid", "softplus", "abs", "identity"]
ODD = frozenset({"tanh", "identity"})
EVEN = frozenset({"abs"})
SMOOTHNESS = {"relu": 0.0, "abs": 0.0}


class Mlp(Op):
    """Dense layers with an activation between them.

    On invariants: exact. On anything else every factor that moves the input is broken, because a dense
    layer mixes components that must stay apart; on positions translation is broken too. Smooth: that of
    the activation.
    """

    kind: Literal["mlp"] = "mlp"
    of: Ref
    widths: tuple[Size, ...]
    out: Size
    activation: Activation = "silu"
    bias: bool = False
    init: Literal["normal", "orthogonal"] = "normal"

    reference: ClassVar[str] = "hornik1989mlp"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        result = result_like(
            types,
            unit=Unit.parse("1"),
            affine=False,
            smooth=min(x.smooth, SMOOTHNESS.get(self.activation, x.smooth)),
        )
        holds = dict(result.holds)
        if isinstance(x.rep, Irreps):
            scalar = Irrep(0, 0 if x.rep.group == "SO(2)" else 1)
            rep: Irreps | Plain = Irreps((Block(self.out, scalar),), x.rep.group)
            if not x.rep.all_scalar:
                moving = "SO(2)" if x.rep.group == "SO(2)" else "SO(3)"
                reason = f"a dense layer mixes the components of `{x.rep.simplified()}`"
                holds = site.broken(holds, (moving,), reason)
            if any(block.irrep.p < 0 for block in x.rep):
                holds = site.broken(
                    holds, ("inversion",), f"a dense layer mixes parities of `{x.rep.simplified()}`"
                )
        else:
            rep = Plain(self.out)
        if x.affine:
            holds = site.broken(
                holds, ("translation",), "a dense layer sees absolute positions, not differences"
            )
        return result.with_(rep=rep, holds=holds)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {
            "in": types[0].dim,
            "widths": list(self.widths),
            "out": self.out,
            "act": self.activation,
            "bias": self.bias,
            "init": self.init,
        }

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        sizes = [types[0].dim, *self.widths, self.out]
        weights = sum(a * b for a, b in pairwise(sizes))
        return weights + (sum(sizes[1:]) if self.bias else 0)


class Act(Op):
    """A nonlinearity on features.

    - pointwise: f on every number. Exact on invariants; breaks SO(3) on l > 0; on 0o exact only for odd f.
    - gate: f on the scalars, and sigmoid(g_u) x_u for each other irrep, g the last scalars. Exact.
    - norm: x f(|x|) per irrep. Exact.
    """

    kind: Literal["act"] = "act"
    of: Ref
    form: Literal["pointwise", "gate", "norm"] = "pointwise"
    f: Activation = "silu"
    out: IrrepsField | None = None

    reference: ClassVar[str] = "weiler2018steerable"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`act`"):
            return None
        smooth = min(x.smooth, SMOOTHNESS.get(self.f, x.smooth))
        if self.form == "gate":
            return self._gate(x, site, smooth)
        result = result_like(types, smooth=smooth)
        if self.form == "norm":
            return result
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
        gated = Irreps(tuple(block for block in x.irreps if not block.irrep.is_invariant))
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
        return result_like((x,), rep=Irreps(first + gated.blocks), smooth=smooth)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"form": self.form, "f": self.f, "in": str(types[0].rep), "out": str(result.rep)}


class Poisson(Op):
    """The Hamiltonian vector field z' = (dH/dp, -dH/dq).

    Type: state scalar -> state of the system. Verdict: that of H; exact, since the canonical form is
    invariant. Smooth: one order less than H.
    """

    kind: Literal["poisson"] = "poisson"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "greydanus2019hamiltonian"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        h, z = types
        if h.dim != 1 or h.index is not Index.STATE:
            site.error(
                Code.REP_MISMATCH,
                f"a Hamiltonian is one number per state, but gets {h}",
                help="let the network end in one number: `out: 1`",
            )
            return None
        if z.index is not Index.STATE or z.dim != 2 * sum(dim for _, dim in site.scope.coordinates):
            site.error(
                Code.REP_MISMATCH,
                f"a Hamiltonian flows through the whole state, but gets {z}",
                help=f"write `of: [{self.of[0]}, state]`",
            )
            return None
        return result_like((h, z), rep=Plain(z.dim), smooth=h.smooth - 1, affine=False)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"dim": types[1].dim}


class Grad(Op):
    """Derivative of the energy: scale dE/dx (forces), or dE/d(strain) / volume (stress).

    Type: system 0e [U], wrt positions -> node 1o [U/Å]; wrt strain -> system 0e+2e [U/Å^3]. Verdict: that
    of the energy; conservative by construction. Smooth: one order less.
    """

    kind: Literal["grad"] = "grad"
    of: Ref
    wrt: Literal["positions", "strain"]
    scale: float = 1.0
    per_volume: bool = False

    ports: ClassVar[tuple[str, ...]] = ("of",)
    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (energy,) = types
        if energy.index is not Index.SYSTEM or energy.dim != 1:
            site.error(
                Code.GRADIENT_OF_FIELD,
                f"a gradient needs one number per system, but gets {energy}",
                help="reduce it first",
            )
            return None
        length = Unit.parse("Å")
        if self.wrt == "positions":
            return result_like(
                types,
                index=Index.NODE,
                rep=Irreps.parse("1o"),
                unit=energy.unit / length,
                smooth=energy.smooth - 1,
            )
        unit = energy.unit / length**3 if self.per_volume else energy.unit
        return result_like(types, rep=Irreps.parse("1x0e+1x2e"), unit=unit, smooth=energy.smooth - 1)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"wrt": self.wrt, "scale": self.scale, "per_volume": self.per_volume}
