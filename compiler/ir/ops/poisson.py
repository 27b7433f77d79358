"""The flow of a Hamiltonian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ..types import Index, Plain, Type
from .base import Op, Ref, Scope, Site, result_like


class Poisson(Op):
    """The Hamiltonian vector field z' = (dH/dp, -dH/dq).

    Type: state scalar -> state of the system. Verdict: that of H; exact, since the canonical form is
    invariant. Smooth: one order less than H.
    """

    kind: Literal["poisson"] = "poisson"
    of: tuple[Ref, Ref]

    reference: ClassVar[str] = "greydanus2019hamiltonian"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        h, z = types
        if h.dim != 1 or h.index is not Index.STATE:
            site.error(
                Code.REP_MISMATCH,
                f"a Hamiltonian is one number per state, but gets {h}",
                help="let the network end in one number: `out: 1`",
            )
            return None
        if z.index is not Index.STATE or z.dim != 2 * sum(dim for _, dim in site.scope.coordinates):
            site.error(
                Code.REP_MISMATCH,
                f"a Hamiltonian flows through the whole state, but gets {z}",
                help=f"write `of: [{self.of[0]}, state]`",
            )
            return None
        return result_like((h, z), rep=Plain(z.dim), smooth=h.smooth - 1, affine=False)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {"dim": types[1].dim}
