"""Differences of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from ...language.codes import Code
from ..types import Type
from .base import Op, Ref, Site, result_like


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
        result = result_like(types, affine=a.affine != b.affine, fades=min(a.fades, b.fades))
        if b.affine and not a.affine:
            reason = "minus a position moves against the system"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result
