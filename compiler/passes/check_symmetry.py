"""Compare the verdict of every output with what the spec demands of each factor.

A factor held `hard` must be exact, or, `within` an error, approximate with no more than that; the first op that
breaks it is shown at its line, with the reason and a way out.
"""

from __future__ import annotations

import math

from ..ir.graph import Graph
from ..ir.ops import Product
from ..ir.types import Hold, Verdict
from ..language.codes import Code
from ..language.schema import HardWithin
from .context import Context, factors_of, mode_name

_CURES = {
    (
        "act",
        "inversion",
    ): "use an odd function (`tanh`), `form: gate` or `form: norm`, or write `{group}: free`",
    ("act", ""): "use `form: gate` or `form: norm`, which act on lengths, or write `{group}: free`",
    ("", "translation"): "subtract positions first (`difference`, `relative`), or write `{group}: free`",
    ("", "permutation"): "give these bodies one mass and one network for all pairs, or write `mode: free`",
    ("so2", "inversion"): "write `keep: O(3)`, or `{group}: free`; `SO(3): hard` asks for rotations alone",
    ("mlp", ""): "feed it invariants (lengths, inner products), or write `{group}: free`",
}
_CURE = "use an op that keeps it, or write `{group}: free`"


def check_symmetry(graph: Graph, ctx: Context) -> Graph:
    """Report every op that breaks a factor which the spec holds hard; the graph is returned as it is."""
    shown: set[tuple[str, str]] = set()
    for factor in ctx.scope.factors:
        mode, path = ctx.mode(factor)
        if mode == "free" or mode_name(mode).startswith("relaxed"):
            continue
        for target in ctx.spec.targets:
            name = graph.outputs.get(target)
            if name is None or name not in graph:
                continue
            hold = graph.type(name).hold(factor)
            if hold.verdict is Verdict.APPROXIMATE:
                _approximate(graph, ctx, factor, hold, shown)
            if hold.verdict is not Verdict.BROKEN:
                continue
            for op in sorted(hold.ops, key=lambda one: _position(graph, one)):
                if (op, factor) not in shown:
                    shown.add((op, factor))
                    _report(graph, ctx, factor, op, path)
    return graph


def _approximate(graph: Graph, ctx: Context, factor: str, hold: Hold, shown: set[tuple[str, str]]) -> None:
    """Report a factor that is held to an error above the one that the spec accepts, at the op that adds most."""
    mode, path = ctx.mode(factor)
    eps = hold.eps or 0.0
    within = mode.hard.within if isinstance(mode, HardWithin) else 0.0
    worst, here = max(hold.errors, key=lambda pair: (pair[1], -_position(graph, pair[0])))
    group = path[-1] if path else factor
    if eps <= within or (worst, group) in shown:
        return
    shown.add((worst, group))
    accepted = 10.0 ** math.ceil(math.log10(eps))
    others = f", {eps:.1e} with {len(hold.ops) - 1} more" if len(hold.ops) > 1 else ""
    ctx.report.error(
        Code.ONLY_APPROXIMATE,
        graph[worst].span,
        f"`{worst}` keeps {factor} only to {here:.1e}{others}: {ctx.reasons[(worst, factor)]}",
        help=f"write `{group}: {{hard: {{within: {accepted:.0e}}}}}` to accept it, {_finer(graph[worst].op)}, or "
        "an op that is exact",
        related=((ctx.source.span(path), f"{group} is declared {mode_name(mode)} here"),) if path else (),
    )


def _finer(op: object) -> str:
    return "more terms (`rank`)" if isinstance(op, Product) and op.mode == "cp" else "a finer grid (`degree`)"


def _code(kind: str, factor: str) -> Code:
    if factor == "translation":
        return Code.ABSOLUTE_POSITIONS
    if kind == "act":
        return Code.EVEN_FUNCTION_ON_ODD if factor == "inversion" else Code.ACTIVATION_ON_NONSCALAR
    return Code.BROKEN_SYMMETRY


def _position(graph: Graph, name: str) -> int:
    return next((k for k, node in enumerate(graph.nodes) if node.name == name), -1)


def _report(graph: Graph, ctx: Context, factor: str, op: str, path: tuple[str, ...]) -> None:
    node = graph[op]
    group = path[-1] if path else factor
    also = [one for one in factors_of(group) if one != factor]
    # One line per op is enough: O(3) declared as a whole is reported for the first factor that breaks.
    if also and factor != factors_of(group)[0] and (op, factors_of(group)[0]) in ctx.reasons:
        return
    kind = node.op.kind  # type: ignore[attr-defined]
    cure = next((_CURES[key] for key in ((kind, factor), ("", factor), (kind, "")) if key in _CURES), _CURE)
    cure = cure.format(group=group)
    if not path:  # implied by the system: it cannot be freed
        cure = cure.partition(", or write")[0]
    related = (
        ((ctx.source.span(path), f"{group} is declared {mode_name(ctx.mode(factor)[0])} here"),)
        if path
        else ()
    )
    ctx.report.error(
        _code(kind, factor),
        node.span,
        f"`{op}` breaks {factor}: {ctx.reasons[(op, factor)]}",
        help=cure,
        related=related,
    )
