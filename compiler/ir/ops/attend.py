"""Attention: values added up with weights that compete."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from ...language.codes import Code
from ..types import Index, Type, join_holds
from .activations import SMOOTHNESS, Activation
from .base import Op, Ref, Scope, Site, Size, Work, expect_irreps, result_like

COUNTS = {"mlp": 1, "dot": 2, "inner": 2}
WHAT = {"mlp": "features of every edge", "dot": "queries and keys", "inner": "queries and keys"}


class Attend(Op):
    """A sum of values with weights from a softmax, for each head by itself.

        y_i = sum_j a_ij v_ij,   a_ij = u_ij exp(s_ij) / sum_k u_ik exp(s_ik)

    The heads share the channels of every irrep of v. `by` says what the logits s are made of:

    - mlp: s = w f(LN(x)) / sqrt(n), x the features of an edge, an equal part for each head, w learned.
    - dot: s = q k / sqrt(n), q of the target and k of the edge, an equal part of the numbers for each head.
    - inner: s = <q, k> / sqrt(n) over the channels of all irreps that belong to a head.

    With `scope: tokens` every token attends to all tokens around the same node, itself among them: all edges that
    lead there, or, of `tokens`, the node too, whose own u is 1.

    Without the envelope u, or where the last neighbour takes its weight of 1 along, the result jumps when an atom
    passes the cutoff: name `envelope`, and let the values end there too (`weigh`).

    Type: edge R -> node R; of tokens R -> R. Verdict: exact where the logits are invariant. Smooth: as envelope
    and values end.
    """

    kind: Literal["attend"] = "attend"
    of: Ref
    by: tuple[Ref, ...] = Field(min_length=1, max_length=2)
    logit: Literal["mlp", "dot", "inner"] = "mlp"
    scope: Literal["neighbour", "tokens"] = "neighbour"
    heads: Size = 1
    activation: Activation = "smooth_leaky_relu"
    envelope: Ref | None = None

    ports: ClassVar[tuple[str, ...]] = ("of", "by", "envelope")
    reference: ClassVar[str] = "liao2024equiformerv2"

    def cites(self) -> str:
        return {"mlp": "liao2024equiformerv2", "dot": "vaswani2017attention"}.get(
            self.logit, "fuchs2020se3transformer"
        )

    def infer(self, types: Sequence[Type], site: Site) -> Type | None:
        values, logits = types[0], types[1 : 1 + len(self.by)]
        if not all(expect_irreps(one, site, "`attend`") for one in types) or not self._fits(types, site):
            return None
        if not self._shared(types, site):
            return None
        holds = self._kept(logits, dict(join_holds(tuple(types))), site)
        smooth = min(one.smooth for one in types)
        if self.logit == "mlp":
            smooth = min(smooth, SMOOTHNESS.get(self.activation, math.inf))
        ends = self._ends(types, site)
        index = Index.NODE if self.scope == "neighbour" else values.index
        return result_like(types, index=index, unit=values.unit, holds=holds, smooth=min(smooth, ends))

    def _fits(self, types: Sequence[Type], site: Site) -> bool:
        """Report unless every input lives where it belongs."""
        if len(self.by) != COUNTS[self.logit]:
            site.error(
                Code.INDEX_MISMATCH,
                f"`logit: {self.logit}` reads {WHAT[self.logit]}, but `by` names {len(self.by)}",
                help="write `by: [FEATURES]` for `mlp`, `by: [QUERIES, KEYS]` for `dot` and `inner`",
            )
            return False
        if self.scope == "tokens" and self.logit == "mlp":
            site.error(
                Code.INDEX_MISMATCH,
                "`logit: mlp` gives one number to every edge, but tokens have one for every pair of them",
                help="write `logit: dot` and `by: [QUERIES, KEYS]`",
            )
            return False
        where = Index.EDGE
        if self.scope == "tokens" and types[0].index is Index.TOKEN:
            where = Index.TOKEN
        places = [("values", where)]
        if self.logit == "mlp":
            places.append(("features", where))
        else:
            places.append(("queries", Index.NODE if self.scope == "neighbour" else where))
            places.append(("keys", where))
        if self.envelope is not None:
            places.append(("the envelope", Index.EDGE))
        for (what, index), one in zip(places, types, strict=True):
            if one.index is not index or one.affine:
                site.error(
                    Code.INDEX_MISMATCH,
                    f"{what} of `attend` live on {index}s, but this is {one}",
                    help="`gather` takes values from nodes to edges, `reduce` sums edges into nodes",
                )
                return False
        return True

    def _shared(self, types: Sequence[Type], site: Site) -> bool:
        """Report unless heads share channels evenly, and queries match keys."""
        values, logits = types[0], types[1 : 1 + len(self.by)]
        odd = next((block for block in values.irreps if block.mul % self.heads), None)
        if odd is None and self.logit == "inner":
            odd = next((block for block in logits[0].irreps if block.mul % self.heads), None)
        uneven = self.logit != "inner" and logits[0].dim % self.heads
        if odd is not None or uneven:
            have = f"`{odd}`" if odd is not None else f"{logits[0].dim} numbers"
            site.error(
                Code.CHANNELS_UNEQUAL,
                f"{have} cannot be shared by {self.heads} heads",
                help=f"give every irrep a multiple of {self.heads} channels, or choose other `heads`",
            )
            return False
        if len(logits) == 2 and logits[0].rep != logits[1].rep:
            site.error(
                Code.REP_MISMATCH,
                f"queries and keys need equal types, but these are {logits[0]} and {logits[1]}",
                help="bring both to one representation with a `linear`",
            )
            return False
        if self.envelope is not None and types[-1].dim != 1:
            site.error(
                Code.REP_MISMATCH,
                f"the envelope is one number of every edge, but `{self.envelope}` is {types[-1]}",
                help="read an `envelope` op",
            )
            return False
        return True

    def _kept(self, logits: Sequence[Type], holds: dict[str, Any], site: Site) -> dict[str, Any]:
        """The verdicts, broken where the logits are not invariant."""
        irreps, name = logits[0].irreps, self.by[0]
        if self.logit == "inner" or (self.logit == "dot" and self.heads == 1):
            return holds
        if not irreps.all_scalar:
            reason = (
                f"its logits mix the components of `{irreps.short}`"
                if self.logit == "mlp"
                else f"its heads cut through the components of `{irreps.short}`: `logit: inner` does not"
            )
            holds = site.broken(holds, ("SO(3)",), reason)
        if self.logit == "mlp" and any(block.irrep.p < 0 for block in irreps):
            holds = site.broken(
                holds, ("inversion",), f"its logits are made of odd numbers, those of `{name}`"
            )
        return holds

    def _ends(self, types: Sequence[Type], site: Site) -> float:
        """k of C^k where a neighbour comes or goes, with the reason why it jumps."""
        if site.scope.pairs == "all":  # nobody comes or goes
            return math.inf
        if site.scope.pairs == "nearest":
            site.jumps("another neighbour takes the place of one at once")
            return -1.0
        inside = -1.0 if self.envelope is None else types[-1].fades
        if inside < 0:
            site.jumps(
                "a neighbour at the cutoff has a share of the weights, and takes it along: name `envelope`"
            )
            return -1.0
        if self.scope == "tokens":  # the token of a node, or an edge's own, stays
            return inside
        if types[0].fades < 0:
            site.jumps(
                "the last neighbour has all of the weight until it is gone: `weigh` the values by the envelope too"
            )
        return min(inside, types[0].fades)

    def lower(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[str, Any]:
        params = {
            "in": str(types[0].irreps),
            "logit": self.logit,
            "by": str(types[1].irreps),
            "scope": self.scope,
            "nodes": types[0].index is Index.TOKEN,
            "heads": self.heads,
            "envelope": self.envelope is not None,
        }
        return {**params, "act": self.activation} if self.logit == "mlp" else params

    def parameters(self, types: Sequence[Type], result: Type, scope: Scope) -> int:
        return types[1].dim + 2 * (types[1].dim // self.heads) if self.logit == "mlp" else 0

    def work(self, types: Sequence[Type], result: Type, scope: Scope) -> dict[Index, Work]:
        read = types[1].dim
        if self.scope == "tokens":
            pairs = Work(2 * (types[0].dim + read), 3 * read + 2 * types[0].dim + 6 * self.heads, ways=2)
            return {Index.ANGLE: pairs, result.index: Work(0, result.dim + 2 * self.heads)}
        edge = Work(2 * (types[0].dim + read), 3 * read + types[0].dim + 6 * self.heads, ways=2)
        return {Index.EDGE: edge, Index.NODE: Work(0, result.dim + 2 * self.heads)}
