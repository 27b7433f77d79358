"""Atomic energies with their units and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.scalar_types import UnitText
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.units import Unit
from ..types import Categories, Type
from .base import Op, Ref, Scope, Site, result_like


class ShiftScale(Op):
    """Atomic energies from dimensionless ones: E_i = E0[z_i] + scale x_i + shift, in float64.

    E0, scale and shift are statistics of the training data; with `per: species` scale and shift are one for each
    species. Type: node 1x0e -> node 1x0e [eV]. Verdict: exact on invariants.
    """

    kind: Literal["shift_scale"] = "shift_scale"
    of: Ref
    species: Ref
    unit: UnitText
    per: Literal["species"] | None = None

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "batatia2022mace"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        x = types[0]
        if not isinstance(x.rep, Irreps) or x.rep != Irreps((Block(1, Irrep(0, 1)),)):
            site.error(
                Code.REP_MISMATCH,
                f"an energy is one invariant (1x0e), but gets {x}",
                help="bring it to one with a `linear`: `out: 1x0e`",
            )
            return None
        if not isinstance(types[1].rep, Categories):
            site.error(
                Code.REP_MISMATCH,
                f"`species` of a shift_scale needs species, but gets {types[1]}",
                help="write `species: species`",
            )
            return None
        if not site.expect_one_set(types, "`shift_scale`"):
            return None
        return result_like(types, unit=Unit.parse(self.unit))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"species": len(scope.species)} | ({"per": self.per} if self.per else {})
