"""From values on a sphere back to features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ..types import Index, Sphere, Type
from .base import Degree, Op, Ref, Scope, Site, Work, result_like
from .sphere import functions, summed


class Unsample(Op):
    """The expansion of functions on a sphere in harmonics, by sums over their grid: x_l = mean of s Y_l.

    `lmax`: the highest degree kept, by default that of the features that were sampled.

    Type: C functions on the sphere -> C x (0..lmax). Verdict: exact where nothing nonlinear has acted since
    `sample` and the grid is exact to the sum of the degrees; else approximate, to an error measured with random
    functions that pass the nonlinear ones one after the other, times 5 for weights that are not known yet.
    """

    kind: Literal["unsample"] = "unsample"
    of: Ref
    lmax: Degree | None = None

    reference: ClassVar[str] = "cohen2018spherical"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not isinstance(x.rep, Sphere):
            site.error(
                Code.REP_MISMATCH,
                f"`unsample` needs values on a sphere, but gets {x}",
                help="read a `sample`, or what a network made of one",
            )
            return None
        degrees = x.rep.degrees if self.lmax is None else tuple(range(self.lmax + 1))
        rep = functions(x.rep.channels, degrees, x.rep.sign)
        holds = dict(result_like(types).holds)
        holds = summed(holds, site, (x.rep.degrees,), degrees, x.rep.through, x.rep.grid, network=True)
        return result_like(types, rep=rep, holds=holds, fades=x.fades)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        assert isinstance(types[0].rep, Sphere)
        return {result.index: Work(2 * types[0].rep.points * result.dim, result.dim)}

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        rep = types[0].rep
        assert isinstance(rep, Sphere)
        return {"out": str(result.rep), "degree": rep.grid, "count": len(rep.degrees)}
