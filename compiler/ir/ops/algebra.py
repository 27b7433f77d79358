"""Arithmetic on features: sums, movement between index sets, parts of a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Index, Plain, Type
from .base import Op, Ref, Scope, Site, result_like


class Add(Op):
    """Sum of values of one type. Verdict: exact. Two positions cannot be added (affine + affine)."""

    kind: Literal["add"] = "add"
    of: tuple[Ref, ...]

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        first = types[0]
        for other in types[1:]:
            if other.rep != first.rep or other.index != first.index:
                site.error(
                    Code.REP_MISMATCH,
                    f"`add` needs equal types, but gets {first} and {other}",
                    help="bring both to the same irreps with a `linear`",
                )
                return None
            if other.unit.dimension != first.unit.dimension:
                site.error(
                    Code.UNIT_MISMATCH, f"`add` needs equal units, but gets {first.unit} and {other.unit}"
                )
                return None
        result = result_like(types)
        if sum(one.affine for one in types) > 1:
            reason = "the sum of two positions moves twice as far as the system"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result


class Gather(Op):
    """x at the source (or target) of every edge. Type: node R -> edge R. Verdict: exact."""

    kind: Literal["gather"] = "gather"
    of: Ref
    role: Literal["source", "target"] = "source"

    reference: ClassVar[str] = "gilmer2017neural"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if x.index is not Index.NODE or x.affine:
            site.error(Code.INDEX_MISMATCH, f"`gather` moves node features to edges, but gets {x}")
            return None
        return result_like(types, index=Index.EDGE, radius=x.radius + site.scope.cutoff)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"role": self.role}


class Reduce(Op):
    """Sum over the edges into a node, or over the nodes of a system.

    `average` divides by the mean number of neighbours in the training data (a constant, so sums stay
    extensive). Type: edge R -> node R, node R -> system R. Verdict: exact.
    """

    kind: Literal["reduce"] = "reduce"
    of: Ref
    to: Literal["node", "system"]
    norm: Literal["sum", "average"] = "sum"

    reference: ClassVar[str] = "gilmer2017neural"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        wanted = Index.EDGE if self.to == "node" else Index.NODE
        if x.index is not wanted or x.affine:
            site.error(Code.INDEX_MISMATCH, f"`reduce` to {self.to} sums values on {wanted}s, but gets {x}")
            return None
        return result_like(types, index=Index(self.to))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"from": str(types[0].index), "to": self.to, "norm": self.norm}


class ShiftScale(Op):
    """Atomic energies from dimensionless ones: E_i = E0[z_i] + scale x_i + shift, in float64.

    E0, scale and shift are statistics of the training data. Type: node 1x0e -> node 1x0e [eV]. Verdict:
    exact on invariants.
    """

    kind: Literal["shift_scale"] = "shift_scale"
    of: Ref
    species: Ref
    unit: str

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "batatia2022mace"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        from ...symmetry.units import Unit

        x = types[0]
        if not isinstance(x.rep, Irreps) or x.rep != Irreps((Block(1, Irrep(0, 1)),)):
            site.error(Code.REP_MISMATCH, f"an energy is one invariant (1x0e), but gets {x}")
            return None
        return result_like(types, unit=Unit.parse(self.unit))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"species": len(scope.species)}


class Slice(Op):
    """Part of a phase-space state: numbers start..stop of it, holding copies of one irrep. Verdict: exact.

    `affine` says that the part moves with translations (a coordinate) or not (a momentum).
    """

    kind: Literal["slice"] = "slice"
    of: Ref
    start: int
    stop: int
    rep: str
    affine: bool

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type:
        rep = Plain(int(self.rep)) if self.rep.isdigit() else Irreps.parse(self.rep, "SO(2)")
        return result_like(types, rep=rep, affine=self.affine)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"start": self.start, "stop": self.stop}


class Concat(Op):
    """Values side by side. Verdict: exact; the result keeps its irreps where all parts have them."""

    kind: Literal["concat"] = "concat"
    of: tuple[Ref, ...]

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type:
        reps = [one.rep for one in types]
        if all(isinstance(rep, Irreps) for rep in reps):
            rep: Irreps | Plain = sum((r for r in reps[1:]), start=reps[0])  # type: ignore[type-var,assignment]
        else:
            rep = Plain(sum(one.dim for one in types))
        return result_like(types, rep=rep, affine=any(one.affine for one in types))


class Difference(Op):
    """a - b. Type: two positions give a vector that ignores translations. Verdict: exact."""

    kind: Literal["difference"] = "difference"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        a, b = types
        if a.rep != b.rep:
            site.error(Code.REP_MISMATCH, f"`difference` needs equal types, but gets {a} and {b}")
            return None
        return result_like(types, affine=a.affine != b.affine)


class Inner(Op):
    """Inner products of equal irreps, channel by channel: y_u = <a_u, b_u>. Verdict: exact (invariants)."""

    kind: Literal["inner"] = "inner"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "satorras2021egnn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        a, b = types
        if a.rep != b.rep:
            site.error(Code.REP_MISMATCH, f"`inner` needs equal types, but gets {a} and {b}")
            return None
        if isinstance(a.rep, Plain):
            result = result_like(types, rep=Plain(1), unit=a.unit * b.unit, affine=False)
        else:
            group = a.irreps.group
            scalar = Irrep(0, 0 if group == "SO(2)" else 1)
            rep = Irreps((Block(a.irreps.count, scalar),), group)
            result = result_like(types, rep=rep, unit=a.unit * b.unit, affine=False)
        if a.affine or b.affine:
            reason = "the inner product of positions depends on the origin"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"in": str(types[0].rep)}


class Scale(Op):
    """y = by x, a fixed number. Verdict: exact."""

    kind: Literal["scale"] = "scale"
    of: Ref
    by: float

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type:
        result = result_like(types)
        if types[0].affine and self.by != 1:
            reason = f"{self.by:g} times a position moves {self.by:g} times as far as the system"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"by": self.by}
