"""Compare the type of every output with its target's declaration: index, representation, unit."""

from __future__ import annotations

from typing import get_args

from ..ir.graph import Graph
from ..ir.types import Cartesian, Index, Type
from ..language.codes import Code
from ..language.schema import Per, Target
from ..language.wording import clip
from ..symmetry.cartesian import cartesian_shape
from ..symmetry.irreps import Irreps, IrrepsError
from ..symmetry.units import Unit
from .context import Context

PER = get_args(Per)


def check_targets(graph: Graph, ctx: Context) -> Graph:
    """Report every target whose declaration does not fit what the graph computes; changes nothing."""
    for name, target in ctx.spec.targets.items():
        if name in graph.outputs and graph[graph.outputs[name]].type is not None:
            _check(name, target, graph.type(graph.outputs[name]), ctx)
    return graph


def _check(name: str, target: Target, found: Type, ctx: Context) -> None:
    path = ("targets", name)
    if target.per is not None and Index(target.per) is not found.index:
        ctx.report.error(
            Code.TARGET_INDEX,
            ctx.source.span((*path, "per")),
            f"`{name}` is declared per {target.per}, but the model computes it per {found.index}",
            help=f"write `per: {found.index}`" if found.index in PER else "remove `per`",
        )
    if target.rep is not None and ctx.scope.is_points:
        try:
            declared = Irreps.parse(target.rep).simplified()
        except IrrepsError as error:
            code = Code.IRREPS_TOO_LARGE if error.too_large else Code.BAD_IRREPS
            ctx.report.error(code, ctx.source.span((*path, "rep")), error.message, help=error.help)
            return
        computed = found.rep.irreps if isinstance(found.rep, Cartesian) else found.rep
        if isinstance(computed, Irreps) and declared != computed.simplified():
            ctx.report.error(
                Code.TARGET_REP,
                ctx.source.span((*path, "rep")),
                f"`{name}` is declared as `{clip(target.rep)}`, but the model computes "
                f"`{computed.simplified().short}`",
                help=f"write `rep: {_short(computed)}`",
            )
    if target.form is not None:
        _check_form(name, target, found, ctx)
    if target.unit is None:
        return
    declared_unit = Unit.parse(target.unit)
    span = ctx.source.span((*path, "unit"))
    if declared_unit.dimension != found.unit.dimension:
        gradient = target.gradient_of is not None
        ctx.report.error(
            Code.GRADIENT_UNIT if gradient else Code.UNIT_MISMATCH,
            span,
            f"`{name}` is declared in {target.unit}, but it comes out in {found.unit}",
            help=f"write `unit: {found.unit}`"
            + (f": a gradient of {target.gradient_of}" if gradient else ""),
        )
    elif declared_unit != found.unit and abs(declared_unit.factor / found.unit.factor - 1) > 1e-9:
        ctx.report.error(
            Code.UNIT_NOT_COMPUTED,
            span,
            f"models compute in {found.unit}, not in {target.unit}",
            help=f"write `unit: {found.unit}` here; labels may be in {target.unit}, they are converted",
        )


def _check_form(name: str, target: Target, found: Type, ctx: Context) -> None:
    """The numbers of a target are those of a Cartesian tensor, or of irreps, as declared."""
    is_matrix = isinstance(found.rep, Cartesian)
    message = help = None
    if target.form == "irreps" and is_matrix:
        message, help = (
            f"`{name}` comes out as a matrix 3x3",
            "write `form: cartesian`, or read it with a `tensor` op",
        )
    elif target.form == "cartesian" and isinstance(found.rep, Irreps):
        shape = cartesian_shape(found.rep)
        if shape is None:
            message = f"`{found.rep.simplified().short}` is no Cartesian tensor, which `form` asks for"
            help = "a vector is `1o`, a symmetric matrix `0e+2e`, a general one `0e+1e+2e`; or write `form: irreps`"
        elif shape == (3, 3):
            message = f"`{name}` comes out as irreps, not as a matrix"
            help = f"let the graph end in `{name}: {{kind: tensor, of: ..., to: cartesian}}`, or write `form: irreps`"
    elif target.form == "cartesian" and not is_matrix:
        message, help = f"`{name}` is no Cartesian tensor, which `form` asks for", "remove `form`"
    if message is not None:
        ctx.report.error(Code.TARGET_FORM, ctx.source.span(("targets", name, "form")), message, help=help)


def _short(irreps: Irreps) -> str:
    return "+".join(str(block).removeprefix("1x") for block in irreps.simplified())
