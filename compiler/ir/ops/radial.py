"""Functions of the length of an edge: bases, and the envelopes that end them at the cutoff."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.units import Unit
from ..types import DIMENSIONLESS, Type
from .base import Op, Ref, Scope, Site, Size, result_like

SCALAR = Irreps((Block(1, Irrep(0, 1)),))

Start = Annotated[float, Field(ge=0, lt=1, strict=True)]
_START = "where it begins to fall, in parts of the cutoff"


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CosineEnvelope(_Shape):
    """(1 + cos pi u) / 2, u from 0 at `start` to 1 at the cutoff."""

    kind: Literal["cosine"] = Field(description="half a wave of the cosine")
    start: Start = Field(default=0.0, description=_START)


class SwitchEnvelope(_Shape):
    """1 + u^3 (-6 u^2 + 15 u - 10), u from 0 at `start` to 1 at the cutoff."""

    kind: Literal["switch"] = Field(description="a polynomial of fifth degree, triple zeros at both ends")
    start: Start = Field(default=0.0, description=_START)


class BumpEnvelope(_Shape):
    """(1 + tanh cot pi u) / 2, u from 0 at `start` to 1 at the cutoff."""

    kind: Literal["bump"] = Field(description="smooth to every order at both ends")
    start: Start = Field(default=0.0, description=_START)


class ExponentialEnvelope(_Shape):
    """exp(-x^2 / (1 - x^2)), x = r/rc."""

    kind: Literal["exponential"] = Field(description="smooth to every order at the cutoff")


Order = Annotated[int, Field(ge=2, le=1000, strict=True)]
Shaped = Annotated[
    CosineEnvelope | SwitchEnvelope | BumpEnvelope | ExponentialEnvelope, Field(discriminator="kind")
]
EnvelopeField = Order | Shaped
Basis = Literal["bessel", "gaussian", "chebyshev", "bernstein", "monomial", "inverse", "spline"]

# How many times a function and its derivatives vanish at the cutoff: (1 - x)^n near x = 1.
_ZEROS_OF_BASIS = {"bessel": 1.0, "spline": 3.0}
_ZEROS_OF_ENVELOPE = {"cosine": 2.0, "switch": 3.0, "bump": math.inf, "exponential": math.inf}
_TRAINABLE = frozenset({"bessel", "gaussian", "bernstein"})
_REFERENCES = {
    "bessel": "gasteiger2020dimenet",
    "gaussian": "schutt2017schnet",
    "chebyshev": "drautz2019ace",
    "bernstein": "unke2021spookynet",
    "inverse": "zhang2018deeppotse",
    "spline": "boor1978guide",
}


def envelope_zeros(envelope: int | _Shape | None) -> float:
    """n of (1 - x)^n, the way an envelope goes to zero at the cutoff; 0 where there is none."""
    if envelope is None:
        return 0.0
    return 3.0 if isinstance(envelope, int) else _ZEROS_OF_ENVELOPE[envelope.kind]  # type: ignore[attr-defined]


def envelope_smoothness(envelope: int | _Shape | None) -> float:
    """k of C^k of an envelope between 0 and the cutoff, where it starts to fall."""
    start = getattr(envelope, "start", 0.0)
    if not start:
        return math.inf
    return {"cosine": 1.0, "switch": 2.0}.get(envelope.kind, math.inf)  # type: ignore[union-attr]


def envelope_json(envelope: int | _Shape | None) -> dict[str, Any] | None:
    """As it stands in a plan: `{"polynomial": order}`, or its kind with its start."""
    if envelope is None:
        return None
    if isinstance(envelope, int):
        return {"polynomial": envelope}
    return {envelope.kind: getattr(envelope, "start", 0.0)}  # type: ignore[attr-defined]


def is_transformed(r: Type, scope: Scope) -> bool:
    """A plain number where lengths have a unit, read as if in Å: no cutoff ends what is made of it."""
    return r.rep == SCALAR and r.unit == DIMENSIONLESS != scope.length and math.isfinite(scope.cutoff)


def _reads_lengths(r: Type, site: Site, what: str) -> bool:
    if not math.isfinite(site.scope.cutoff):
        site.error(
            Code.NO_CUTOFF,
            f"`{what}` ends at a cutoff, and this system has none",
            help="write `interactions: {within: ...}`, or give lengths to an `mlp` through a `normalize`",
        )
        return False
    if r.rep == SCALAR and r.unit.dimension == site.scope.length.dimension:
        return True
    site.error(Code.UNIT_MISMATCH, f"`{what}` needs lengths in Å, but gets {r}", help="read a `length` op")
    return False


class Radial(Op):
    """Functions of the edge length times an envelope, zero beyond the cutoff.

        bessel:     sqrt(2/rc) sin(n pi x) / r,  n = 1..count     gaussian:  exp(-(r - c_n)^2 / (2 w_n^2))
        chebyshev:  T_n(2x - 1),  n = 0..count-1                  monomial:  x^n,  n = 0..count-1
        bernstein:  C(N,n) y^n (1-y)^(N-n), y = exp(-a r)         inverse:   (1 Å / r)^n,  n = 1..count
        spline:     cubic B-splines on equal knots, the last of which ends at the cutoff

    x = r/rc, N = count - 1. `trainable`: frequencies, centres and widths, or a. Type: edge 0e [Å] -> edge
    count x 0e; of plain numbers, such as transformed lengths, functions without an end, which a `weigh` by an
    `envelope` gives them. Verdict: exact. Smooth: zeros of the functions and of the envelope add up, so the Bessel
    functions under a polynomial are C3 at the cutoff, whatever its order.
    """

    kind: Literal["radial"] = "radial"
    of: Ref
    basis: Basis = "bessel"
    count: Size
    envelope: EnvelopeField | None = None
    trainable: bool = False

    reference: ClassVar[str] = "gasteiger2020dimenet"

    def cites(self) -> str:
        return _REFERENCES.get(self.basis, "definition")

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (r,) = types
        transformed = is_transformed(r, site.scope)
        if not transformed and not _reads_lengths(r, site, "radial"):
            return None
        if self.trainable and self.basis not in _TRAINABLE:
            site.error(
                Code.INVALID_VALUE,
                f"`{self.basis}` functions have nothing to train",
                help=f"remove `trainable`, or choose {', '.join(f'`{one}`' for one in sorted(_TRAINABLE))}",
            )
            return None
        if transformed and self.envelope is not None:
            site.error(
                Code.UNIT_MISMATCH,
                f"an envelope ends at a length, but `radial` gets {r}",
                help="make an `envelope` of the lengths, and multiply by it with a `weigh`",
            )
            return None
        inside = 2.0 if self.basis == "spline" else math.inf
        # trained frequencies have no zero at the cutoff any more
        zeros = 0.0 if self.trainable or transformed else _ZEROS_OF_BASIS.get(self.basis, 0.0)
        return result_like(
            types,
            rep=Irreps((Block(self.count, Irrep(0, 1)),)),
            unit=Unit.parse("1"),
            smooth=min(r.smooth, inside, envelope_smoothness(self.envelope)),
            fades=zeros + envelope_zeros(self.envelope) - 1,
        )

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {
            "basis": self.basis,
            "count": self.count,
            "cutoff": scope.cutoff,
            "envelope": {"open": 0.0} if is_transformed(types[0], scope) else envelope_json(self.envelope),
            "trainable": self.trainable,
        }

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        if not self.trainable:
            return 0
        return {"bessel": self.count, "gaussian": 2 * self.count, "bernstein": 1}[self.basis]


class Envelope(Op):
    """The function f(r/rc) alone that takes a message to zero at the cutoff.

    Type: edge 0e [Å] -> edge 1x0e. Verdict: exact. Smooth: as said of its shape.
    """

    kind: Literal["envelope"] = "envelope"
    of: Ref
    shape: EnvelopeField

    reference: ClassVar[str] = "gasteiger2020dimenet"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (r,) = types
        if not _reads_lengths(r, site, "envelope"):
            return None
        return result_like(
            types,
            rep=SCALAR,
            unit=Unit.parse("1"),
            smooth=min(r.smooth, envelope_smoothness(self.shape)),
            fades=envelope_zeros(self.shape) - 1,
        )

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"shape": envelope_json(self.shape), "cutoff": scope.cutoff}
