"""Give every value its type, from the inputs onward.

Before:  %2 = linear(%1) {out: 16x0e}
After:   %2 = linear(%1) {out: 16x0e} : node: 16x0e

Changes nothing else. What has no type is reported, and what depends on it stays untyped.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops.base import Site
from ..ir.types import Cartesian, Categories, Sphere, Type
from ..language.codes import Code
from ..language.diagnostics import Report
from .context import Context
from .frames import TURNING, frame_of, one_frame
from .orbits import BOUNDARY, one_orbit, orbit_of


def infer_types(graph: Graph, ctx: Context) -> Graph:
    """The same graph with types; the reasons of broken symmetries go to `ctx.reasons`."""
    types: dict[str, Type] = {}
    nodes = [replace(node, type=infer_node(node, types, ctx)) for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def infer_missing(graph: Graph, ctx: Context) -> Graph:
    """Types for the nodes that have none, from those of the others, which keep theirs; without reports."""
    quiet = replace(ctx, report=Report(), reasons={})
    types = graph.types()
    return graph.map(
        lambda node: node if node.type is not None else replace(node, type=infer_node(node, types, quiet))
    )


def infer_node(node: Node, types: dict[str, Type], ctx: Context) -> Type | None:
    """The type of one node from those of the values it reads; it is also put into `types`."""
    known = [types[name] for _, name in node.op.inputs() if name in types]
    found: Type | None = None
    if (
        len(known) == len(list(node.op.inputs()))
        and _numbers(node, known, ctx)
        and one_frame(node, known, ctx)
        and one_orbit(node, known, ctx)
    ):
        site = Site(node.name, node.span, ctx.scope, ctx.report, ctx.reasons)
        found = node.op.infer(known, site)
        if found is not None and found.affine and node.op.kind in _FROM_THE_ORIGIN:  # type: ignore[attr-defined]
            reason = "it computes with absolute positions, not with differences"
            found = found.with_(affine=False, holds=site.broken(found.holds, ("translation",), reason))
        if found is not None and node.op.kind not in TURNING:  # type: ignore[attr-defined]
            found = found.with_(frame=frame_of(node, known))
        if found is not None and node.op.kind not in BOUNDARY:  # type: ignore[attr-defined]
            found = found.with_(orbit=orbit_of(node, known))
    if found is not None:
        types[node.name] = found
    return found


# The ops whose result does not move with the system where their input does.
_FROM_THE_ORIGIN = frozenset({"linear", "act", "product", "power", "norm"})
# The ops that read labels; `input` makes them.
_LABELS = {
    ("embed", "of"),
    ("resnet", "species"),
    ("filters", "species"),
    ("unfilled", "species"),
    ("ones", "of"),
    ("pair_kind", "of"),
    ("linear", "species"),
    ("power", "species"),
    ("shift_scale", "species"),
    ("all_species", "of"),
    ("lookup", "species"),
    ("density", "species"),
    ("transform", "pairs"),
    ("zbl", "pairs"),
}
# The ops that treat the components of a matrix one by one, in whatever basis.
_ANY_BASIS = frozenset({"tensor", "reduce", "gather", "add", "scale", "difference"})
# The ops that treat the points of a sphere one by one; `unsample` sums over them.
_ON_SPHERES = frozenset({"mlp", "act", "unsample", "reduce", "gather", "add", "scale", "difference"})


def _numbers(node: Node, types: list[Type], ctx: Context) -> bool:
    """Report an op that would compute with labels, or with matrices or functions in place of irreps."""
    kind = node.op.kind  # type: ignore[attr-defined]
    for (port, name), type_ in zip(node.op.inputs(), types, strict=True):
        if isinstance(type_.rep, Cartesian) and kind not in _ANY_BASIS:
            ctx.report.error(
                Code.REP_MISMATCH,
                node.span,
                f"`{kind}` computes with irreps, but `{name}` is a matrix: {type_}",
                help=f"bring it to irreps first: `{{kind: tensor, of: {name}, to: irreps}}`",
            )
            return False
        if isinstance(type_.rep, Sphere) and kind not in _ON_SPHERES:
            ctx.report.error(
                Code.REP_MISMATCH,
                node.span,
                f"`{kind}` computes with irreps, but `{name}` holds {type_.rep}",
                help=f"bring them to irreps first: `{{kind: unsample, of: {name}}}`",
            )
            return False
        if isinstance(type_.rep, Categories) and (kind, port) not in _LABELS:
            ctx.report.error(
                Code.LABELS_NOT_NUMBERS,
                node.span,
                f"`{kind}` computes with numbers, but `{name}` holds labels",
                help=f"embed them first: `{{kind: embed, of: {name}, out: 16}}`",
            )
            return False
    return True
