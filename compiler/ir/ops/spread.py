"""From systems to their nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from ...language.codes import Code
from ..types import Index, Type
from .base import Op, Ref, Site, result_like


class Spread(Op):
    """A value of the whole system at each of its nodes. Type: system R -> node R. Verdict: exact."""

    kind: Literal["spread"] = "spread"
    of: Ref

    reference: ClassVar[str] = "gilmer2017neural"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if x.index is not Index.SYSTEM:
            site.error(
                Code.INDEX_MISMATCH,
                f"`spread` gives values of systems to their nodes, but gets {x}",
                help="read a value per system, such as an input",
            )
            return None
        return result_like(types, index=Index.NODE)
