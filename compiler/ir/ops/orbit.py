"""Features in many orientations at once, for ops that keep no symmetry, and the average that restores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...symmetry.irreps import Irreps
from ...symmetry.orientations import (
    ALL,
    MOST_DEGREE,
    GroupText,
    NotAGroupError,
    Rows,
    average_error,
    closed,
    generators_of,
    quadrature,
)
from ..types import EXACT, Hold, Index, Type
from ..types import Orbit as Orientations
from .base import IrrepsField, Op, Ref, Scope, Site, Work, expect_irreps, result_like
from .sphere import ALLOWANCE

Row = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
Matrix = Annotated[tuple[Row, ...], Field(min_length=3, max_length=3)]


class Orbit(Op):
    """Features turned by every element of a set of rotations and reflections, side by side.

        y_g = rho(g) x

    Ops that act row by row then act on every copy, with the same weights; whatever they break, `average` restores as
    far as the set allows.

    - a finite group by its name, or by `generators`, matrices [3, 3];
    - SO(3), O(3): a quadrature that integrates irreps up to `degree` exactly.

    Type: R -> R, in as many orientations. Verdict: exact.
    """

    kind: Literal["orbit"] = "orbit"
    of: Ref
    group: GroupText | None = None
    generators: tuple[Matrix, ...] = ()
    degree: Annotated[int, Field(ge=1, le=MOST_DEGREE, strict=True)] = 4

    reference: ClassVar[str] = "puny2022frame"

    def elements(self) -> tuple[Rows, tuple[float, ...]]:
        """The matrices, flat, and their weights. Raises `NotAGroupError`."""
        if self.group in ALL:
            return quadrature(self.degree, self.group == "O(3)")
        flat = tuple(tuple(x for row in one for x in row) for one in self.generators)
        rows = closed(flat if self.group is None else generators_of(self.group))
        return rows, (1.0 / len(rows),) * len(rows)

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`orbit`") or not site.scope.is_points:
            return None
        if x.affine:
            site.error(
                Code.REP_MISMATCH,
                "`orbit` turns features about themselves, but gets positions",
                help="turn differences of them: read a `relative` op",
            )
            return None
        if (self.group is None) == (not self.generators):
            site.error(
                Code.MISSING_KEY,
                "`orbit` needs a `group`, or `generators` of one",
                help="write `group: octahedral`, or matrices: `generators: [[[-1, 0, 0], [0, -1, 0], [0, 0, -1]]]`",
            )
            return None
        try:
            rows, weights = self.elements()
        except NotAGroupError as error:
            site.error(
                Code.REP_MISMATCH, str(error), help="write rotations and reflections of a small finite group"
            )
            return None
        orientations = Orientations(
            self.group or "generators", rows, weights, self.degree, dict(x.holds), x.irreps
        )
        return result_like(types, orbit=orientations, fades=x.fades)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        assert result.orbit is not None
        return {"in": str(types[0].irreps), "elements": [list(row) for row in result.orbit.rows]}


class Average(Op):
    """The mean over the orientations of an `orbit`, each turned back.

        y = sum_g w_g rho(g)^-1 x_g

    `irreps` says how the numbers of x are to transform; without it, as they are called. Whatever was broken inside:

    - inversion is exact where the set has the negative of every element;
    - SO(3) is approximate for a quadrature, to an error measured with random networks, and broken still for a finite
      group: its own elements are held exactly, other rotations are not.

    Type: R in many orientations -> irreps. For an exact average that jumps see `frame` with `form: pca`.
    """

    kind: Literal["average"] = "average"
    of: Ref
    irreps: IrrepsField | None = None

    reference: ClassVar[str] = "puny2022frame"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`average`"):
            return None
        rep = x.irreps if self.irreps is None else self.irreps
        if x.orbit is None or rep.dim != x.dim:
            site.error(
                Code.REP_MISMATCH,
                f"`average` takes the mean over orientations, but `{self.of}` has one"
                if x.orbit is None
                else f"`{rep.short}` has {rep.dim} components, but `{self.of}` has {x.dim}",
                help="start with `{kind: orbit, of: FEATURES, group: octahedral}`"
                if x.orbit is None
                else "write `irreps:` with as many components as there are numbers",
            )
            return None
        result = result_like(types, rep=rep, fades=x.fades, orbit=None)
        return result.with_(holds=self._holds(x, rep, x.orbit, site))

    def _holds(self, x: Type, rep: Irreps, orbit: Orientations, site: Site) -> dict[str, Hold]:
        """What held before the orbit, where the average restores it, and else what is left inside."""
        holds = dict(x.holds)
        inside = [name for name, hold in x.holds.items() if hold != orbit.outer.get(name, EXACT)]
        renamed = rep != x.irreps
        if orbit.improper:
            holds["inversion"] = orbit.outer.get("inversion", EXACT)
        if "SO(3)" not in inside and not renamed:
            return holds
        if orbit.name in ALL:
            holds["SO(3)"] = orbit.outer.get("SO(3)", EXACT)
            eps = average_error(orbit.source, rep, orbit.through, orbit.degree, orbit.improper) * ALLOWANCE
            reason = f"a mean over {orbit.count} orientations is not one over all"
            holds = site.approximate(holds, ("SO(3)",), eps, reason)
        else:
            reason = f"a mean over {orbit.count} orientations keeps those, and no others"
            holds = site.broken(holds | {"SO(3)": orbit.outer.get("SO(3)", EXACT)}, ("SO(3)",), reason)
        if renamed and not orbit.improper and any(block.irrep.p < 0 for block in rep):
            holds = site.broken(holds, ("inversion",), f"it reads `{x.irreps.short}` as `{rep.short}`")
        return {name: hold for name, hold in holds.items() if hold != EXACT}

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        orbit = types[0].orbit
        assert orbit is not None
        return {
            "out": str(result.irreps),
            "elements": [list(row) for row in orbit.rows],
            "weights": list(orbit.weights),
        }

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        assert types[0].orbit is not None
        flops = sum(2 * block.irrep.dim * block.dim for block in result.irreps)
        return {result.index: Work(flops * types[0].orbit.count, result.dim)}
