"""Sums over neighbours, divided by how many there are in a learned sense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from ...language.codes import Code
from ...symmetry.irreps import Irreps
from ..types import Type
from .base import Op, Ref, Site, expect_irreps, result_like


class Saturate(Op):
    """y = tanh(x^2), between 0 and 1: how much a neighbour counts.

    Type: n x 0e -> n x 0e. Verdict: exact on invariants. Smooth: the zeros of x double.
    """

    kind: Literal["saturate"] = "saturate"
    of: Ref

    reference: ClassVar[str] = "batatia2023foundation"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        (x,) = types
        if not _invariant(x, site, "`saturate`"):
            return None
        return result_like(types, fades=2 * x.fades + 1)


class Dilute(Op):
    """Features over one more than a number: y_(m,u) = x_(m,u) / (1 + n). Type: R, 1x0e -> R. Verdict: exact."""

    kind: Literal["dilute"] = "dilute"
    of: Ref
    by: Ref

    ports: ClassVar[tuple[str, ...]] = ("of", "by")
    reference: ClassVar[str] = "batatia2023foundation"

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        x, n = types
        if not (expect_irreps(x, site, "`dilute`") and _invariant(n, site, "`by` of `dilute`")):
            return None
        if not site.expect_one_set(types, "`dilute`"):
            return None
        if n.dim != 1:
            site.error(
                Code.REP_MISMATCH, f"`dilute` divides by one number, but gets {n}", help="bring it to `1x0e`"
            )
            return None
        if x.affine:
            site.error(
                Code.ABSOLUTE_POSITIONS, "a position divided by a number moves otherwise than its system"
            )
            return None
        return result_like(types, fades=x.fades)


def _invariant(x: Type, site: Site, what: str) -> bool:
    if not expect_irreps(x, site, what):
        return False
    if isinstance(x.rep, Irreps) and all(block.irrep.is_invariant for block in x.rep):
        return True
    site.error(
        Code.FEATURES_NOT_INVARIANT,
        f"{what} needs invariants (0e), but gets {x}",
        help="read a `linear` to 0e",
    )
    return False
