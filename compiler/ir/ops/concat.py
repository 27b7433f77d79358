"""Values side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from ...symmetry.irreps import Irreps
from ..types import Plain, Type
from .base import Op, Ref, Site, result_like


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
        fades = min(one.fades for one in types)
        return result_like(types, rep=rep, affine=any(one.affine for one in types), fades=fades)
