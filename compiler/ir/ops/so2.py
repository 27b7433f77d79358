"""Linear maps in the frame of an edge that keep rotations about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ...language.codes import Code
from ...language.wording import count_of
from ...symmetry.irreps import Irreps
from ..types import Index, Type
from .base import MAX_SIZE, Degree, IrrepsField, Op, Ref, Scope, Site, Work, expect_irreps, result_like


class So2(Op):
    """Mix degrees and channels of features in the frame of an edge, order by order m about the edge.

        y_0 = W_0 x_0;   y_(+-m) = R_m x_(+-m) -+ I_m x_(-+m),   0 < m <= mmax

    Between `to_frame` and `from_frame` this is every tensor product with harmonics of the edge at once, at the
    cost of a matrix. `weights` names numbers that weight every element by itself; without it they are learned.
    With `keep: O(3)` mirror images in planes through the edge are kept too: I_m between blocks of natural
    parity, (-1)^l, and R_m between natural and unnatural ones, are left out.

    Type: R in an edge's frame -> out in that frame. Verdict: SO(3) exact; inversion broken, exact with `keep: O(3)`.
    """

    kind: Literal["so2"] = "so2"
    of: Ref
    out: IrrepsField
    mmax: Degree | None = None
    weights: Ref | None = None
    keep: Literal["SO(3)", "O(3)"] = "SO(3)"

    ports: ClassVar[tuple[str, ...]] = ("of", "weights")
    reference: ClassVar[str] = "passaro2023escn"

    def weight_count(self, x: Irreps) -> int:
        """How many weights the map takes, on every element or in all."""
        kinds = (False, True) if self.keep == "O(3)" else (None,)
        total = sum(_channels(x, 0, kind) * _channels(self.out, 0, kind) for kind in kinds)
        each = 1 if self.keep == "O(3)" else 2
        orders = range(1, self._top(x) + 1)
        return total + sum(each * _channels(x, m) * _channels(self.out, m) for m in orders)

    def _top(self, x: Irreps) -> int:
        top = min(x.lmax, self.out.lmax)
        return top if self.mmax is None else min(top, self.mmax)

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        x = types[0]
        if not expect_irreps(x, site, "`so2`") or not site.expect_one_set(types, "`so2`"):
            return None
        if x.frame is None and not x.irreps.all_scalar:
            site.error(
                Code.OTHER_FRAME,
                f"`so2` mixes degrees about an edge, but `{self.of}` does not live in the frame of one",
                help="write `{kind: frame, of: [VECTORS], lmax: ...}` and `{kind: to_frame, of: [X, FRAME]}` before",
            )
            return None
        count = self.weight_count(x.irreps)
        if count > MAX_SIZE * 64 or (self.weights is not None and count > MAX_SIZE):
            site.error(
                Code.IRREPS_TOO_LARGE,
                f"the map has {count:,} weights, too many",
                help="ask for fewer channels, or a smaller `mmax`",
            )
            return None
        result = result_like(types, rep=self.out, unit=x.unit, fades=x.fades)
        holds = dict(result.holds)
        if self.weights is not None:
            weights = types[1]
            if weights.dim != count or not isinstance(weights.rep, Irreps):
                site.error(
                    Code.PATH_WEIGHTS,
                    f"the map has {count_of(count, 'weight')}, but `{self.weights}` gives "
                    f"{count_of(weights.dim, 'number')}",
                    help=f"let it end in {count_of(count, 'number')}: `out: {count}`",
                )
                return None
            if not weights.irreps.all_invariant:
                reason = f"its weights, `{weights.irreps.short}`, are not invariant"
                holds = site.broken(holds, ("SO(3)", "inversion"), reason)
        if self.keep == "SO(3)" and (
            self._top(x.irreps) > 0 or _parities(x.irreps) | _parities(self.out) != {1}
        ):
            reason = "it mixes +m and -m about the edge: mirror images differ"
            holds = site.broken(holds, ("inversion",), reason)
        return result.with_(holds=holds)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        x = types[0].irreps
        return {
            "in": str(x),
            "out": str(self.out),
            "mmax": self._top(x),
            "mirror": self.keep == "O(3)",
            "learned": self.weights is None,
        }

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        # every weight of an order m > 0 acts on +m and on -m
        return {result.index: Work(4 * self.weight_count(types[0].irreps), types[0].dim + 2 * result.dim)}

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        return 0 if self.weights is not None else self.weight_count(types[0].irreps)


def _channels(irreps: Irreps, m: int, odd: bool | None = None) -> int:
    """How many channels have a component of order m; `odd`: of unnatural (natural) parity only."""
    return sum(
        block.mul
        for block in irreps
        if block.irrep.l >= m and (odd is None or odd == (block.irrep.p != (-1) ** block.irrep.l))
    )


def _parities(irreps: Irreps) -> set[int]:
    """1 for natural parity, -1 for unnatural."""
    return {block.irrep.p * (-1) ** block.irrep.l for block in irreps}
