"""Normalisation of features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ...symmetry.units import Unit
from ..types import Index, Type
from .base import Op, Ref, Scope, Site, expect_irreps, result_like


class Norm(Op):
    """Features brought to unit size, then scaled by learned numbers.

        y_(m,u) = w_u (x_(m,u) - a) / sqrt(s + eps) + b_u

    - s is the mean of squares over the channels and components of an irrep, or with `statistic: merged` one
      number for all irreps, the mean of theirs.
    - `layer` subtracts the mean a over the channels of `0e`, and adds b there; `rms` has neither. Means of other
      irreps are not numbers but vectors: they are never subtracted.
    - `over: system` takes means over all nodes of a system too: the features of an atom then depend on all others.

    Type: R -> R, dimensionless. Verdict: exact. Local, but global with `over: system`.
    """

    kind: Literal["norm"] = "norm"
    of: Ref
    form: Literal["layer", "rms"] = "layer"
    statistic: Literal["irrep", "merged"] = "irrep"
    over: Literal["channels", "system"] = "channels"
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5

    reference: ClassVar[str] = "liao2024equiformerv2"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not expect_irreps(x, site, "`norm`"):
            return None
        if self.over == "system" and x.index is not Index.NODE:
            site.error(
                Code.INDEX_MISMATCH,
                f"`over: system` takes means over the nodes of a system, but gets {x}",
                help="normalise features of nodes, or write `over: channels`",
            )
            return None
        radius = math.inf if self.over == "system" else x.radius
        fades = x.fades if self.form == "rms" else -1.0  # a bias does not fade
        return result_like(types, unit=Unit.parse("1"), radius=radius, fades=fades)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        return {
            "in": str(types[0].irreps),
            "form": self.form,
            "statistic": self.statistic,
            "over": self.over,
            "eps": self.eps,
        }

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        x = types[0].irreps
        bias = sum(block.mul for block in x if block.irrep.is_invariant) if self.form == "layer" else 0
        return x.count + bias
