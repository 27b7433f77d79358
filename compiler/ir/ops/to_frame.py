"""Features in the axes of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ..types import Axes, Index, Type
from .base import Op, Ref, Scope, Site, Work, expect_irreps, result_like

LEFT = "the axes of two vectors are right-handed: mirror images have other components"


class ToFrame(Op):
    """The components of features along the axes of a frame: y = D(Q) x.

    Along an edge (`edge_z`) the result keeps its irreps, which from then on live in this frame: ops that keep
    SO(3) act on them as before, `so2` mixes degrees, `from_frame` brings them back, and scalars may be taken
    out at any time. In the other frames the components are invariants, for any network; a frame of two vectors
    breaks inversion there.

    Type: R, axes -> R in the frame, or dim(R) x 0e. Verdict: exact; inversion broken by `gram_schmidt`.
    """

    kind: Literal["to_frame"] = "to_frame"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "passaro2023escn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        x, axes = types
        if not expect_irreps(x, site, "`to_frame`") or not expect_axes(x, axes, x.irreps, site, "`to_frame`"):
            return None
        assert isinstance(axes.rep, Axes)
        unit = x.unit
        if axes.rep.free:
            return result_like(types, unit=unit, fades=types[0].fades, frame=self.of[1])
        result = result_like(types, rep=Irreps((Block(x.dim, Irrep(0, 1)),)), unit=unit, fades=types[0].fades)
        if not axes.rep.mirrored:
            result = result.with_(holds=site.broken(result.holds, ("inversion",), LEFT))
        return result

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        return turn_work(types[0].irreps, result)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return turn_params(types[0].irreps, types, back=False)


def expect_axes(x: Type, axes: Type, irreps: Irreps, site: Site, what: str) -> bool:
    """Report unless `axes` are axes that can turn `irreps` on the set of x."""
    fits = axes.index is x.index or (axes.index is Index.SYSTEM and x.index is Index.NODE)
    if not isinstance(axes.rep, Axes) or not fits:
        site.error(
            Code.REP_MISMATCH,
            f"{what} needs a frame on {x.index}s, but gets {axes}",
            help="write `of: [FEATURES, FRAME]` with the result of a `frame` op on the same set, or of its systems",
        )
        return False
    if irreps.lmax > axes.rep.lmax:
        site.error(
            Code.REP_MISMATCH,
            f"{what} turns `{irreps.short}`, but the frame goes to degree {axes.rep.lmax}",
            help=f"write `lmax: {irreps.lmax}` in the `frame`",
        )
        return False
    return True


def turn_work(irreps: Irreps, result: Type) -> dict[Index, Work]:
    """One matrix of each degree times all copies."""
    flops = sum(2 * block.irrep.dim * block.dim for block in irreps)
    return {result.index: Work(flops, 2 * result.dim, ways=2)}


def turn_params(irreps: Irreps, types: Sequence[Type], *, back: bool) -> dict[str, Any]:
    """The parameters of the plan step, into a frame or back."""
    axes = types[1].rep
    assert isinstance(axes, Axes)
    spread = types[1].index is not types[0].index
    return {
        "irreps": str(irreps), "back": back, "lmax": axes.lmax, "mirrors": axes.mirrored, "spread": spread
    }  # fmt: skip
