"""Products of features as functions on the sphere, exactly or by the points of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...language.codes import Code
from ...symmetry.irreps import Block, Irrep, Irreps
from ...symmetry.sphere import MAX_GRID
from ..types import Hold, Type, join_holds
from .base import Site
from .paths import Path
from .sphere import degrees_of, functions, functions_of, summed

if TYPE_CHECKING:
    from .product import Product


def sphere_paths(left: Irreps, right: Irreps, wanted: Irreps) -> list[Path]:
    """The couplings in a product of functions: l1 + l2 + l3 even, parities multiply; all to one irrep add up."""
    kinds = [irrep for irrep in wanted.kinds if _couples(left, right, irrep)]
    return [
        Path(i, j, Block(a.mul, irrep), 1.0, k)
        for k, irrep in enumerate(kinds)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if irrep in a.irrep * b.irrep and (a.irrep.l + b.irrep.l + irrep.l) % 2 == 0
    ]


def _couples(left: Irreps, right: Irreps, irrep: Irrep) -> bool:
    return any(irrep in a * b and (a.l + b.l + irrep.l) % 2 == 0 for a in left.kinds for b in right.kinds)


def infer_on_sphere(op: Product, types: Sequence[Type], site: Site) -> tuple[Irreps, dict[str, Hold]] | None:
    """The result of a product on the sphere, with its verdict; None after a report."""
    what = f"`mode: {op.mode}`"
    first, second = (functions_of(one, site, what) for one in types[:2])
    if first is None or second is None:
        return None
    (channels, sign), (others, other_sign) = first, second
    if others not in (1, channels):
        site.error(
            Code.CHANNELS_UNEQUAL,
            f"{what} multiplies channel by channel, but gets `{types[0].irreps.short}` and `{types[1].irreps.short}`",
            help="give both sides one number of channels with a `linear`, or the second side one channel",
        )
        return None
    left, right = types[0].irreps, types[1].irreps
    if missing := [irrep for irrep in op.irreps.kinds if not _couples(left, right, irrep)]:
        _unreachable(op, left, right, sign * other_sign, missing, site)
        return None
    degrees = tuple(irrep.l for irrep in op.irreps.kinds)
    rep = functions(channels, degrees, sign * other_sign)
    holds = join_holds(tuple(types))
    if op.mode == "s2grid":
        grid = grid_degree(op, types)
        if grid > MAX_GRID:
            site.error(
                Code.IRREPS_TOO_LARGE,
                f"the grid would be of degree {grid}, above {MAX_GRID}",
                help="ask for lower degrees, or write `mode: gaunt`",
            )
            return None
        holds = summed(holds, site, (degrees_of(left), degrees_of(right)), degrees, (), grid)
    return rep, holds


def grid_degree(op: Product, types: Sequence[Type]) -> int:
    """The degree that the grid integrates exactly: as asked for, or the least that makes the product exact."""
    if op.degree is not None:
        return op.degree
    return types[0].irreps.lmax + types[1].irreps.lmax + op.irreps.lmax


def _unreachable(
    op: Product, left: Irreps, right: Irreps, sign: int, missing: Sequence[Irrep], site: Site
) -> None:
    names = " and ".join(f"`{irrep}`" for irrep in missing)
    coupled = [irrep for irrep in missing if any(irrep in a * b for a in left.kinds for b in right.kinds)]
    message = f"no product of functions on the sphere with `{left.short}` and `{right.short}` reaches {names}"
    if coupled:
        message += ": l1 + l2 + l3 is odd, as in a cross product"
    reached = [one.irrep for one in functions(1, range(left.lmax + right.lmax + 1), sign)]
    some = ", ".join(f"`{irrep}`" for irrep in reached if _couples(left, right, irrep))
    site.error(
        Code.UNREACHABLE_IRREPS,
        message,
        help=("write `mode: uuu`, which has these couplings, or " if coupled else "")
        + f"ask for some of {some}",
    )
