"""Sums of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ..types import Type
from .base import Op, Ref, Site, result_like


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
        result = result_like(types, fades=min(one.fades for one in types))
        if sum(one.affine for one in types) > 1:
            reason = "the sum of two positions moves twice as far as the system"
            result = result.with_(holds=site.broken(result.holds, ("translation",), reason))
        return result
