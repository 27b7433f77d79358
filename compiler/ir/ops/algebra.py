"""Arithmetic on features: sums, movement between index sets, parts of a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...language.scalar_types import RepText, UnitText
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Categories, Index, Plain, Type
from .base import Op, Ref, Scope, Site, result_like


class Add(Op):
    """Sum of values of one type. Verdict: exact. Two positions cannot be added (affine + affine)."""

    kind: Literal["add"] = "add"
    of: tuple[Ref, ...] = Field(min_length=1)

    commutative: ClassVar[bool] = True
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
                    Code.UNIT_MISMATCH,
                    f"`add` needs equal units, but gets {first.unit} and {other.unit}",
                    help="add values of one unit; a `radial` or an `mlp` gives plain numbers",
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
            site.error(
                Code.INDEX_MISMATCH,
                f"`gather` moves node features to edges, but gets {x}",
                help="read features of nodes; positions go to edges by `relative`",
            )
            return None
        return result_like(types, index=Index.EDGE, radius=x.radius + site.scope.cutoff)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"role": self.role}


class Reduce(Op):
    """Sum over the edges into a node, over the nodes of a system, or over the pairs of bodies of a state.

    `average` divides by the mean number of neighbours in the training data (a constant, so sums stay
    extensive). Type: edge R -> node R, node R -> system R, pair R -> state R. Verdict: exact.
    """

    kind: Literal["reduce"] = "reduce"
    of: Ref
    to: Literal["node", "system", "state"]
    norm: Literal["sum", "average"] = "sum"

    reference: ClassVar[str] = "gilmer2017neural"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        wanted = {"node": Index.EDGE, "system": Index.NODE, "state": Index.PAIR}[self.to]
        if x.index is not wanted or x.affine:
            site.error(
                Code.INDEX_MISMATCH,
                f"`reduce` to {self.to} sums values on {wanted}s, but gets {x}",
                help=f"sum values on {wanted}s, or write another `to`",
            )
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
    unit: UnitText

    ports: ClassVar[tuple[str, ...]] = ("of", "species")
    reference: ClassVar[str] = "batatia2022mace"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        from ...symmetry.units import Unit

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
        return {"species": len(scope.species)}


class Slice(Op):
    """Part of a phase-space state: numbers start..stop of it, holding copies of one irrep. Verdict: exact.

    `affine` says that the part moves with translations (a coordinate) or not (a momentum).
    """

    kind: Literal["slice"] = "slice"
    of: Ref
    start: Annotated[int, Field(ge=0, strict=True)]
    stop: Annotated[int, Field(ge=1, strict=True)]
    rep: RepText
    affine: Annotated[bool, Field(strict=True)]

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        rep = Plain(int(self.rep)) if self.rep.isdigit() else Irreps.parse(self.rep, "SO(2)")
        if not self.start < self.stop <= x.dim or x.index is not Index.STATE:
            site.error(
                Code.BAD_SLICE,
                f"numbers {self.start} to {self.stop} do not lie in `{self.of}`, which is {x}",
                help=f"count from 0, and stop at {x.dim} or before",
            )
            return None
        if rep.dim != self.stop - self.start:
            site.error(
                Code.BAD_SLICE,
                f"`{self.rep}` has {rep.dim} components, but {self.start} to {self.stop} are "
                f"{self.stop - self.start} numbers",
                help=f"write `stop: {self.start + rep.dim}`, or the irreps of these numbers",
            )
            return None
        return result_like(types, rep=rep, affine=self.affine)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"start": self.start, "stop": self.stop}


class Concat(Op):
    """Values side by side. Verdict: exact; the result keeps its irreps where all parts have them."""

    kind: Literal["concat"] = "concat"
    of: tuple[Ref, ...] = Field(min_length=1)

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        if not site.expect_one_set(types, "`concat`"):
            return None
        reps = [one.rep for one in types]
        if len({rep.group if isinstance(rep, Irreps) else None for rep in reps}) == 1 and isinstance(
            reps[0], Irreps
        ):
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
            site.error(
                Code.REP_MISMATCH,
                f"`difference` needs equal types, but gets {a} and {b}",
                help="subtract values of one representation",
            )
            return None
        if not site.expect_one_set(types, "`difference`"):
            return None
        result = result_like(types, affine=a.affine != b.affine)
        if b.affine and not a.affine:
            reason = "minus a position moves against the system"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result


class Inner(Op):
    """Inner products of equal irreps, channel by channel: y_u = <a_u, b_u>. Verdict: exact (invariants)."""

    kind: Literal["inner"] = "inner"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "satorras2021egnn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        a, b = types
        if a.rep != b.rep:
            site.error(
                Code.REP_MISMATCH,
                f"`inner` needs equal types, but gets {a} and {b}",
                help="multiply values of one representation",
            )
            return None
        if not site.expect_one_set(types, "`inner`"):
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
    by: Annotated[float, Field(strict=True)]

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type:
        result = result_like(types)
        if types[0].affine and self.by != 1:
            reason = f"{self.by:g} times a position moves {self.by:g} times as far as the system"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"by": self.by}
