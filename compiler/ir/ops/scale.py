"""Multiples of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..types import Type
from .base import Op, Ref, Scope, Site, result_like


class Scale(Op):
    """y = by x, a fixed number. Verdict: exact."""

    kind: Literal["scale"] = "scale"
    of: Ref
    by: Annotated[float, Field(strict=True)]

    reference: ClassVar[str] = "definition"

    def infer(self, types: Sequence[Type], site: Site) -> Type:
        result = result_like(types, fades=types[0].fades)
        if types[0].affine and self.by != 1:
            reason = f"{self.by:g} times a position moves {self.by:g} times as far as the system"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"by": self.by}
