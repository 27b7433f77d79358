"""Functions of the length of an edge and of the two elements at its ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...language.elements import COVALENT_RADII, SYMBOLS
from ...language.scalar_types import UnitText
from ...symmetry.units import Unit, conversion_factor
from ..types import Categories, Index, Type
from .base import Op, Ref, Scope, Site, result_like
from .radial import SCALAR, Order, envelope_zeros

_ELECTRONVOLT = Unit.parse("eV")


def _reads_pairs(types: Sequence[Type], site: Site, what: str) -> bool:
    """Report unless the inputs are lengths of edges and the pairs of elements at their ends."""
    r, pairs = types
    if r.rep != SCALAR or r.unit.dimension != site.scope.length.dimension or r.index is not Index.EDGE:
        site.error(
            Code.UNIT_MISMATCH, f"`{what}` needs lengths in Å, but gets {r}", help="read a `length` op"
        )
        return False
    if not isinstance(pairs.rep, Categories) or pairs.index is not Index.EDGE:
        site.error(
            Code.REP_MISMATCH,
            f"`pairs` of `{what}` needs pairs of species, but gets {pairs}",
            help="read a `pair_kind` op",
        )
        return False
    unknown = [name for name in site.scope.species if name not in COVALENT_RADII]
    if unknown or not site.scope.species:
        names = ", ".join(f"`{name}`" for name in unknown) or "particles"
        site.error(
            Code.UNKNOWN_ELEMENT,
            f"`{what}` needs covalent radii, and there are none of {names}",
            help="radii are known of the elements from H to Cm; leave it out",
        )
        return False
    return True


def _radii(scope: Scope) -> list[float]:
    return [COVALENT_RADII[name] for name in scope.species]


class Transform(Op):
    """The length of an edge on a scale of the two atoms: what radial functions are functions of instead.

        agnesi:  1 / (1 + a x^q / (1 + x^(q - p))),  x = 2 r / (R_i + R_j);  a = 1.0805, q = 0.9183, p = 4.5791
        soft:    s + (r - s) (1 + tanh(48/7 (r - m) / R)) / 2,  R = R_i + R_j,  s = 3/4 R,  m = 25/24 R

    R_i are covalent radii; `soft` stays near s where atoms overlap, and is r / Å where they do not. Type: edge
    0e [Å], edge categories -> edge 0e. Verdict: exact. Smooth: analytic, and it does not end at the cutoff.
    """

    kind: Literal["transform"] = "transform"
    of: Ref
    pairs: Ref
    form: Literal["agnesi", "soft"]

    ports: ClassVar[tuple[str, ...]] = ("of", "pairs")
    reference: ClassVar[str] = "witt2023acepotentials"

    def cites(self) -> str:
        return self.reference if self.form == "agnesi" else "batatia2023foundation"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        if not _reads_pairs(types, site, "transform"):
            return None
        return result_like(types, unit=Unit.parse("1"))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"form": self.form, "radii": _radii(scope)}


class Zbl(Op):
    """The repulsion of two screened nuclei, one half for each direction of an edge.

        E = strength e^2 / (4 pi eps0) Z_i Z_j / (2 r) phi(r / a) u(r / (R_i + R_j))
        a = 0.4543 · 0.529 Å / (Z_i^0.3 + Z_j^0.3),  phi: four exponentials

    u is a polynomial of order `envelope` that ends it where the covalent radii touch. Type: edge 0e [Å], edge
    categories -> edge 0e [`unit`], float64 as atomic energies are. Verdict: exact. Smooth: C2 where it ends, if
    that is within the cutoff.
    """

    kind: Literal["zbl"] = "zbl"
    of: Ref
    pairs: Ref
    unit: UnitText
    envelope: Order = 6
    strength: Annotated[float, Field(strict=True)] = 1.0

    ports: ClassVar[tuple[str, ...]] = ("of", "pairs")
    reference: ClassVar[str] = "ziegler1985stopping"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        if not _reads_pairs(types, site, "zbl"):
            return None
        unit = Unit.parse(self.unit)
        if not unit.same_dimension(_ELECTRONVOLT):
            site.error(
                Code.UNIT_MISMATCH, f"a repulsion is an energy, not in {self.unit}", help="write `unit: eV`"
            )
            return None
        ends = envelope_zeros(self.envelope) - 1
        reach = 2 * max(_radii(site.scope))
        return result_like(
            types,
            unit=unit,
            smooth=min(types[0].smooth, ends),
            fades=ends if reach <= site.scope.cutoff else -1.0,
        )

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        factor = conversion_factor(_ELECTRONVOLT, Unit.parse(self.unit))
        return {
            "numbers": [SYMBOLS.index(name) + 1 for name in scope.species],
            "radii": _radii(scope),
            "envelope": self.envelope,
            "factor": self.strength * factor,
        }
