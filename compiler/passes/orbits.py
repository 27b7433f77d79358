"""Values in many orientations: which ops act on every copy, and where a result lives."""

from __future__ import annotations

from functools import reduce

from ..ir.graph import Node
from ..ir.ops import Act, Linear, Mlp
from ..ir.types import Orbit, Type
from ..language.codes import Code
from .context import Context

# The ops that begin and end an orbit, and those that act on every row by itself or take rows elsewhere.
BOUNDARY = frozenset({"orbit", "average"})
_IN_ORBITS = frozenset(
    {
        *("linear", "mlp", "act", "add", "difference", "scale", "concat", "arrange"),
        *("norms", "inner", "weigh", "gather", "reduce", "merged", "part"),
    }
)


def orbit_of(node: Node, types: list[Type]) -> Orbit | None:
    """The orientations of a result, of inputs that `one_orbit` has passed, with the functions that acted here."""
    orbits = [one.orbit for one in types if one.orbit is not None]
    if not orbits:
        return None
    joined = reduce(Orbit.join, orbits)
    match node.op:
        case Mlp():
            acting = (node.op.activation,) * len(node.op.widths)
        case Act():
            acting = (node.op.f,)
        case _:
            acting = ()
    return joined if not acting else joined.then(acting)


def one_orbit(node: Node, types: list[Type], ctx: Context) -> bool:
    """Report an op that does not act row by row, or whose inputs are in different orientations."""
    inside = [one.orbit for one in types if one.orbit is not None]
    kind = node.op.kind  # type: ignore[attr-defined]
    if not inside or kind == "average":
        return True
    row_wise = kind in _IN_ORBITS and not (isinstance(node.op, Linear) and node.op.species)
    row_wise = row_wise and not (kind == "reduce" and any(one.index.value == "node" for one in types))
    if isinstance(node.op, Act):
        row_wise = node.op.form == "pointwise"
    together = len(inside) == len(types) and len({one.rows for one in inside}) == 1
    if row_wise and together:
        return True
    ctx.report.error(
        Code.OTHER_FRAME,
        node.span,
        f"`{kind}` gets values in different orientations"
        if row_wise
        else f"`{kind}` does not act on values in {inside[0].count} orientations",
        help="take all of them through one `orbit` (with `concat` before it)"
        if row_wise
        else "take the mean before: `{kind: average, of: VALUE}`",
    )
    return False
