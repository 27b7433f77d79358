"""Components along axes of their own: who may compute with them, and where a result lives."""

from __future__ import annotations

from ..ir.graph import Node
from ..ir.types import Axes, Sphere, Type
from ..language.codes import Code
from ..symmetry.irreps import Irreps
from .context import Context

# The ops that take values into a frame and back, and those that act there as they do in space.
TURNING = frozenset({"to_frame", "from_frame"})
_IN_FRAMES = frozenset(
    {
        "linear",
        "merged",
        "part",
        "act",
        "norm",
        "product",
        "cross",
        "inner",
        "so2",
        "add",
        "difference",
        "scale",
        "concat",
        "arrange",
        "mlp",
        "weigh",
        "norms",
        "gram",
        "keep",
        "bias",
        "sample",
        "unsample",
    }
)


def _moving(types: list[Type]) -> set[str | None]:
    """The axes (None: those of space) of all inputs that have components; scalars are the same in all."""
    return {
        one.frame
        for one in types
        if isinstance(one.rep, Sphere) or (isinstance(one.rep, Irreps) and not one.rep.all_scalar)
    }


def frame_of(node: Node, types: list[Type]) -> str | None:
    """The axes of a result, of inputs that `one_frame` has passed."""
    if moving := _moving(types):
        return moving.pop()
    return types[0].frame if types and node.op.kind in _IN_FRAMES else None  # type: ignore[attr-defined]


def one_frame(node: Node, types: list[Type], ctx: Context) -> bool:
    """Report an op that would mix components along different axes, or take them out of their frame."""
    kind, moving = node.op.kind, _moving(types)  # type: ignore[attr-defined]
    axes = any(isinstance(one.rep, Axes) for one in types) and kind not in TURNING
    if not axes and (kind == "from_frame" or moving <= {None} or (len(moving) == 1 and kind in _IN_FRAMES)):
        return True
    where = " and ".join(sorted(one or "space" for one in moving))
    ctx.report.error(
        Code.OTHER_FRAME,
        node.span,
        f"`{kind}` computes with numbers, but gets axes"
        if axes
        else f"`{kind}` needs components along the axes of space, but gets some of {where}"
        if len(moving) == 1
        else f"`{kind}` gets components along different axes: those of {where}",
        help="only `to_frame` and `from_frame` read axes"
        if axes
        else "bring them back before: `{kind: from_frame, of: [VALUE, FRAME]}`; scalars need not be",
    )
    return False
