"""Parts of a phase-space state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...language.scalar_types import RepText
from ...symmetry.irreps import Irreps
from ..types import Index, Plain, Type
from .base import Op, Ref, Scope, Site, result_like


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
