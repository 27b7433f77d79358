"""Forces and stress: derivatives of the energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.wording import listed
from ...symmetry.irreps import Irreps
from ...symmetry.units import Unit
from ..types import Cartesian, Index, Type
from .base import Op, Ref, Scope, Site, result_like


class Grad(Op):
    """Derivative of the energy: scale dE/dx (forces), dE/d(strain) / volume (stress), or by an input.

    Type: system 0e [U], wrt positions -> node 1o [U/Å]; wrt strain -> system 0e+2e as 3x3 [U/Å^3]; wrt an input
    of R [V] -> R [U/V]. Verdict: that of the energy; conservative by construction. Smooth: one order less by
    positions and strain.
    """

    kind: Literal["grad"] = "grad"
    of: Ref
    wrt: str
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
        known = site.scope.known(self.wrt)
        if known is not None:
            unit = _named(energy.unit / known.unit)
            return result_like(types, index=known.index, rep=known.rep, unit=unit)
        length = site.scope.length
        if self.wrt not in ("positions", "strain"):
            site.error(
                Code.UNKNOWN_REFERENCE,
                f"nothing is called `{self.wrt}` that a derivative could be taken by",
                help=f"write {listed(['positions', 'strain', *(one.name for one in site.scope.inputs)])}",
            )
            return None
        if self.wrt == "positions":
            return result_like(
                types,
                index=Index.NODE,
                rep=Irreps.parse("1o"),
                unit=energy.unit / length,
                smooth=energy.smooth - 1,
            )
        unit = energy.unit / length**3 if self.per_volume else energy.unit
        matrix = Cartesian(Irreps.parse("1x0e+1x2e"))
        return result_like(types, rep=matrix, unit=unit, smooth=energy.smooth - 1)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"wrt": self.wrt, "scale": self.scale, "per_volume": self.per_volume}


def _named(unit: Unit) -> Unit:
    """A dipole is an energy over a field, but is called e*Å."""
    for text in ("e*Å", "e"):
        usual = Unit.parse(text)
        if unit.same_dimension(usual) and abs(unit.factor / usual.factor - 1) < 1e-9:
            return usual
    return unit
