"""Features from the axes of a frame back to those of space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Irreps
from ..types import Axes, Index, Type
from .base import IrrepsField, Op, Ref, Scope, Site, Work, expect_irreps, result_like
from .to_frame import LEFT, expect_axes, turn_params, turn_work


class FromFrame(Op):
    """Components along the axes of a frame as features in space: y = D(Q)^T x.

    From an `edge_z` frame: of values that live in it. From the other frames: of invariants, which `irreps` says
    how to read; numbers that are not invariant break what moves them.

    Type: R in the frame -> R; n x 0e -> irreps. Verdict: exact; inversion broken by `gram_schmidt`.
    """

    kind: Literal["from_frame"] = "from_frame"
    of: tuple[Ref, Ref]
    irreps: IrrepsField | None = None

    reference: ClassVar[str] = "passaro2023escn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        x, axes = types
        out = x.rep if self.irreps is None else self.irreps
        if not expect_irreps(x, site, "`from_frame`") or not isinstance(out, Irreps):
            return None
        if not expect_axes(x, axes, out, site, "`from_frame`"):
            return None
        assert isinstance(axes.rep, Axes)
        if axes.rep.free:
            if x.frame != self.of[1] and not x.irreps.all_scalar:
                site.error(
                    Code.OTHER_FRAME,
                    f"`{self.of[0]}` does not live in `{self.of[1]}`, but in {x.frame or 'space'}",
                    help=f"bring it there with `to_frame: [.., {self.of[1]}]`, or leave this op out",
                )
                return None
            if out != x.rep:
                site.error(
                    Code.REP_MISMATCH,
                    f"values in `{self.of[1]}` are `{x.irreps.short}`, not `{out.short}`",
                    help="leave `irreps` out, and change them with `so2` or `linear` before",
                )
                return None
            return result_like(types, unit=x.unit, fades=x.fades, frame=None)
        if out.dim != x.dim or self.irreps is None:
            site.error(
                Code.REP_MISMATCH,
                f"{x.dim} numbers are to be read as irreps, but `irreps` "
                + ("is missing" if self.irreps is None else f"has {out.dim} components"),
                help="write `irreps:` with as many components as there are numbers",
            )
            return None
        result = result_like(types, rep=out, unit=x.unit, fades=x.fades)
        holds = dict(result.holds)
        reason = f"it reads `{x.irreps.short}`, which is not invariant, as components along axes"
        if not x.irreps.all_scalar:
            holds = site.broken(holds, ("SO(3)",), reason)
        if any(block.irrep.p < 0 for block in x.irreps):
            holds = site.broken(holds, ("inversion",), reason)
        if not axes.rep.mirrored:
            holds = site.broken(holds, ("inversion",), LEFT)
        return result.with_(holds=holds)

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        return turn_work(result.irreps, result)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return turn_params(result.irreps, types, back=True)
