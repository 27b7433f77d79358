"""Values that enter the graph from outside, and the geometry made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.units import Unit
from ..types import Categories, Index, Plain, Type
from .base import Degree, Op, Ref, Scope, Site, Size, result_like

VECTOR = Irreps((Block(1, Irrep(1, -1)),))
SCALAR = Irreps((Block(1, Irrep(0, 1)),))


class Input(Op):
    """A field of the system: positions, species, the state of a phase space, or a declared input.

    Type: positions are `1o`, affine, in Å; species are categories; a state lists its coordinates and momenta;
    an input is what its declaration says.
    """

    kind: Literal["input"] = "input"
    field: str

    ports: ClassVar[tuple[str, ...]] = ()
    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        match self.field:
            case "positions" if site.scope.is_points:
                return Type(Index.NODE, VECTOR, site.scope.length, affine=True)
            case "species" if site.scope.is_points:
                return Type(Index.NODE, Categories(site.scope.species))
            case "state" if not site.scope.is_points:
                size = sum(dim for _, dim in site.scope.coordinates)
                return Type(Index.STATE, Plain(2 * size), affine=True)
        known = site.scope.known(self.field)
        if known is None:
            fields = ["positions", "species"] if site.scope.is_points else ["state"]
            there = [*fields, *(one.name for one in site.scope.inputs)]
            site.error(
                Code.UNKNOWN_REFERENCE,
                f"the system has no field `{self.field}`",
                help=f"its fields are: {', '.join(there)}; declare others under `inputs:` of the system",
            )
            return None
        return Type(known.index, known.rep, known.unit)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"field": self.field}


class Relative(Op):
    """Edge vectors v = x_target - x_source, the periodic image included.

    Type: node 1o affine -> edge 1o. Verdict: exact; differences do not move with translations.
    """

    kind: Literal["relative"] = "relative"
    of: Ref

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not x.affine or x.index is not Index.NODE:
            site.error(
                Code.REP_MISMATCH, f"`relative` needs positions, but gets {x}", help="write `of: positions`"
            )
            return None
        return result_like(types, index=Index.EDGE, affine=False, radius=site.scope.cutoff)


class Length(Op):
    """r = |v|. Type: edge 1o -> edge 0e, same unit. Verdict: exact."""

    kind: Literal["length"] = "length"
    of: Ref

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (v,) = types
        if v.rep != VECTOR or v.affine:
            site.error(
                Code.REP_MISMATCH, f"`length` needs vectors (1o), but gets {v}", help="read a `relative` op"
            )
            return None
        return result_like(types, rep=SCALAR)


class Sph(Op):
    """Real spherical harmonics of the edge direction, component normalised, degrees 0..lmax.

    Type: edge 1o -> edge 1x0e+1x1o+...; verdict: exact.
    """

    kind: Literal["sph"] = "sph"
    of: Ref
    lmax: Degree

    reference: ClassVar[str] = "geiger2022e3nn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (v,) = types
        if v.rep != VECTOR or v.affine:
            site.error(
                Code.REP_MISMATCH,
                f"spherical harmonics need vectors (1o), but get {v}",
                help="read a `relative` op",
            )
            return None
        rep = Irreps(tuple(Block(1, Irrep(l, (-1) ** l)) for l in range(self.lmax + 1)))
        return result_like(types, rep=rep, unit=Unit.parse("1"))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"lmax": self.lmax}


class Embed(Op):
    """One learned vector of invariants per species: x_i = W[z_i].

    Type: node categories -> node out x 0e. Verdict: exact.
    """

    kind: Literal["embed"] = "embed"
    of: Ref
    out: Size

    reference: ClassVar[str] = "schutt2017schnet"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (z,) = types
        if not isinstance(z.rep, Categories):
            site.error(Code.REP_MISMATCH, f"`embed` needs species, but gets {z}", help="write `of: species`")
            return None
        return result_like(types, rep=Irreps((Block(self.out, Irrep(0, 1)),)), smooth=math.inf)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"count": _count(types[0]), "out": self.out}

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        return _count(types[0]) * self.out


def _count(categories: Type) -> int:
    assert isinstance(categories.rep, Categories)
    return len(categories.rep.names)


class PairKind(Op):
    """The ordered pair of species at the ends of an edge: (source, target), one of n^2.

    Type: node categories -> edge categories. Verdict: exact.
    """

    kind: Literal["pair_kind"] = "pair_kind"
    of: Ref

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (z,) = types
        if not isinstance(z.rep, Categories) or z.index is not Index.NODE:
            site.error(
                Code.REP_MISMATCH, f"`pair_kind` needs species, but gets {z}", help="write `of: species`"
            )
            return None
        names = tuple(f"{a}-{b}" for a in z.rep.names for b in z.rep.names)
        return result_like(types, index=Index.EDGE, rep=Categories(names), radius=site.scope.cutoff)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"species": len(scope.species)}
