"""What ops on functions of the sphere share: which features are functions, and what a grid costs in exactness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.sphere import MAX_GRID, grid_error, grid_for
from ..types import Hold, Type
from .activations import ODD
from .base import Site

# the error of a network with other weights, in that of a random one with unit variances: networks of a few channels
# have reached 4.5
ALLOWANCE = 5.0
GridDegree = Annotated[int, Field(ge=0, le=MAX_GRID, strict=True)]


def functions_of(x: Type, site: Site, what: str) -> tuple[int, int] | None:
    """The number of functions on the sphere that features are, and their sign; None after a report.

    Functions have one block for each degree, all of one multiplicity, with parity (-1)^l (sign 1), or all with
    parity -(-1)^l (sign -1).
    """
    blocks = x.irreps.blocks
    signs = {block.irrep.p * (-1) ** block.irrep.l for block in blocks}
    degrees = {block.irrep.l for block in blocks}
    if x.irreps.channels is not None and len(signs) == 1 and len(degrees) == len(blocks):
        return x.irreps.channels, signs.pop()
    site.error(
        Code.REP_MISMATCH,
        f"{what} takes features as functions on the sphere, but gets {x}",
        help="give every degree the same number of channels, with parity (-1)^l: `8x0e+8x1o+8x2e`",
    )
    return None


def functions(channels: int, degrees: Sequence[int], sign: int) -> Irreps:
    """The irreps of functions on the sphere."""
    return Irreps(tuple(Block(channels, Irrep(l, sign * (-1) ** l)) for l in degrees))


def degrees_of(irreps: Irreps) -> tuple[int, ...]:
    return tuple(block.irrep.l for block in irreps)


def summed(
    holds: dict[str, Hold],
    site: Site,
    inputs: tuple[tuple[int, ...], ...],
    out: tuple[int, ...],
    through: tuple[str, ...],
    grid: int,
    *,
    network: bool = False,
) -> dict[str, Hold]:
    """`holds` after sums over a grid of products of functions, taken `through` others, times harmonics.

    Between the functions of a `network` weights act that are not known here: its error has an allowance.
    """
    through = tuple(f for f in through if f != "identity")
    needed = sum(max(one) for one in inputs) + max(out)
    if not through and grid >= needed:
        return holds
    n_b, n_a = grid_for(grid)
    made_of = f"{' of '.join(reversed(through))} of degree {needed - max(out)}" if through else "a product"
    reason = f"sums over {n_b}x{n_a} points of a sphere are not exact for {made_of}"
    eps = grid_error(inputs, out, through, grid, network) * (ALLOWANCE if network else 1.0)
    return site.approximate(holds, ("SO(3)", "inversion"), eps, reason)


def kept_by_inversion(
    holds: dict[str, Hold], site: Site, sign: int, through: Sequence[str], bias: bool = False
) -> dict[str, Hold]:
    """`holds` after functions of values that change sign under reflections: only odd ones may act."""
    even = [f for f in through if f not in ODD]
    if sign > 0 or not (even or bias):
        return holds
    what = f"{even[0]} is not an odd function" if even else "a bias does not change sign"
    return site.broken(holds, ("inversion",), f"{what}, and these change sign under reflections")
