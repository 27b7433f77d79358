"""Between irreps and Cartesian tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...symmetry.cartesian import cartesian_shape
from ..types import Cartesian, Type
from .base import Op, Ref, Scope, Site, expect_irreps, result_like


class Tensor(Op):
    """The same tensor in another basis: irreps (`0e+2e`, ...) as a matrix [3, 3], or the other way round.

        T_ab = sum_(l,m) Q^l_(m,ab) x_(l,m),   Q orthonormal: |T|^2 = |x|^2

    Type: R irreps <-> R Cartesian, unit kept. Verdict: exact. A vector (`1o`, `1e`) is its own Cartesian form.
    """

    kind: Literal["tensor"] = "tensor"
    of: Ref
    to: Literal["cartesian", "irreps"]

    reference: ClassVar[str] = "geiger2022e3nn"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if self.to == "irreps":
            if isinstance(x.rep, Cartesian):
                return result_like(types, rep=x.rep.irreps)
            site.error(
                Code.REP_MISMATCH,
                f"`tensor` to irreps needs a 3x3 matrix, but gets {x}",
                help="read a `tensor` to Cartesian, or the gradient by `strain`",
            )
            return None
        if not expect_irreps(x, site, "`tensor`"):
            return None
        if cartesian_shape(x.irreps) != (3, 3):
            site.error(
                Code.REP_MISMATCH,
                f"`{x.irreps.short}` is no matrix: a symmetric one is `0e+2e`, a general one `0e+1e+2e`",
                help="bring it to one of these with a `linear`; a vector (`1o`) is its own Cartesian form",
            )
            return None
        return result_like(types, rep=Cartesian(x.irreps))

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        rep = types[0].rep
        return {"to": self.to, "irreps": str(rep.irreps if isinstance(rep, Cartesian) else rep)}
