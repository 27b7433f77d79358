"""Products by a canonical polyadic factorisation of all couplings at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...language.codes import Code
from ...symmetry.coupling import factor_error, factors
from ...symmetry.irreps import Block, Irreps
from ..types import Hold, Type, join_holds
from .base import Site
from .paths import Path

if TYPE_CHECKING:
    from .product import Product

# above it the fit of the factors takes longer than anybody waits for a check
_MOST_DEGREE = 4


def factored_paths(left: Irreps, right: Irreps, wanted: Irreps) -> list[Path]:
    """All couplings that parity allows, channel by channel; those to one irrep add up."""
    reached = [c for c in wanted.kinds if any(c in a * b for a in left.kinds for b in right.kinds)]
    return [
        Path(i, j, Block(a.mul, irrep), 1.0, k)
        for k, irrep in enumerate(reached)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if irrep in a.irrep * b.irrep
    ]


def infer_factored(op: Product, types: Sequence[Type], site: Site) -> tuple[Irreps, dict[str, Hold]] | None:
    """The result of a product by factors, with the error of their truncation; None after a report."""
    left, right = types[0].irreps, types[1].irreps
    if left.channels is None or right.channels not in (1, left.channels):
        site.error(
            Code.CHANNELS_UNEQUAL,
            f"`mode: cp` multiplies channel by channel, but gets `{left.short}` and `{right.short}`",
            help="give both sides one number of channels with a `linear`, or the second side one channel",
        )
        return None
    if max(left.lmax, right.lmax, op.irreps.lmax) > _MOST_DEGREE:
        site.error(
            Code.IRREPS_TOO_LARGE,
            f"`mode: cp` factorises couplings of degrees up to {_MOST_DEGREE}, but gets "
            f"`{left.short}` and `{right.short}` to `{op.irreps.short}`",
            help="ask for lower degrees, or write `mode: uuu` or `mode: s2grid`",
        )
        return None
    rep = Irreps(tuple(Block(left.channels, irrep) for irrep in op.irreps.kinds))
    sides = _one_copy(left, right, rep)
    terms = factors(*sides, op.rank)[0].shape[1]
    eps = factor_error(*sides, op.rank, square=op.of[0] == op.of[1])
    reason = f"its couplings are not a sum of {terms} products, but near one"
    return rep, site.approximate(join_holds(tuple(types)), ("SO(3)", "inversion"), eps, reason)


def factor_lists(op: Product, types: Sequence[Type], result: Type) -> dict[str, list[list[float]]]:
    """The factors, for each component of one copy of every block a row with one number for each product."""
    out, left, right = factors(*_one_copy(types[0].irreps, types[1].irreps, result.irreps), op.rank)
    return {"left": left.tolist(), "right": right.tolist(), "out": out.tolist()}


def factored_work(op: Product, types: Sequence[Type], result: Type) -> tuple[float, float]:
    """Operations, and numbers kept, for one element."""
    left, right, out = sides = _one_copy(types[0].irreps, types[1].irreps, result.irreps)
    terms = factors(*sides, op.rank)[0].shape[1]
    channels, others = types[0].irreps.channels or 0, types[1].irreps.channels or 0
    flops = 2 * terms * (channels * (left.dim + out.dim) + others * right.dim) + terms * channels
    return flops, terms * (2 * channels + others) + result.dim


def _one_copy(*sides: Irreps) -> tuple[Irreps, Irreps, Irreps]:
    first, second, third = (Irreps(tuple(Block(1, block.irrep) for block in side)) for side in sides)
    return first, second, third
