"""Prove what a Hamiltonian spec promises: separability, sizes, and what is conserved.

H is separable when it is a sum of terms that each read coordinates only or momenta only. Leapfrog needs that.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Graph
from ..ir.ops import Add, Scale, Slice
from ..ir.types import Verdict
from ..language.codes import Code
from ..language.wording import count_of
from .context import Context


@dataclass(frozen=True, slots=True)
class Conserved:
    """A quantity with the symmetry it follows from (Noether), and what destroys it, if anything."""

    quantity: str
    because: str
    holds: bool
    broken_by: str | None = None


def is_separable(graph: Graph) -> bool:
    """Is `hamiltonian` a sum of terms in q alone and terms in p alone?"""
    if "hamiltonian" not in graph:
        return False
    reads = _reads(graph)
    terms = ["hamiltonian"]
    while terms:
        name = terms.pop()
        op = graph[name].op
        if isinstance(op, (Add, Scale)):
            terms.extend(source for _, source in op.inputs())
        elif len(reads[name]) > 1:
            return False
    return True


def _reads(graph: Graph) -> dict[str, frozenset[str]]:
    """Per value: does it depend on coordinates (q), momenta (p), or both?"""
    reads: dict[str, frozenset[str]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Slice):
            reads[node.name] = frozenset("q" if node.op.affine else "p")
        else:
            reads[node.name] = frozenset().union(*(reads[source] for _, source in node.op.inputs()))
    return reads


def check_dynamics(graph: Graph, ctx: Context) -> Graph:
    """Report promises about the dynamics that the graph does not keep; returns the graph as it is."""
    if ctx.scope.kind != "phase_space":
        return graph
    hamiltonian = ctx.spec.constraints.hamiltonian
    flows = [name for name, target in ctx.spec.targets.items() if target.flow_of]
    path = ("constraints", "hamiltonian")
    if flows and hamiltonian is None:
        ctx.report.error(
            Code.NO_HAMILTONIAN,
            ctx.source.span(("targets", flows[0], "flow_of")),
            f"`{flows[0]}` is the flow of a Hamiltonian, but no such constraint is declared",
            help="add `constraints: {hamiltonian: {separable: false, integrator: rk4}}`",
        )
    if hamiltonian is None:
        return graph
    if not flows:
        ctx.report.error(
            Code.FLOW_NOT_ASKED,
            ctx.source.span(path, key=True),
            "the spec constrains a Hamiltonian, but no target is its flow",
            help="write `targets: {derivatives: {flow_of: hamiltonian}}`, or remove the constraint",
        )
        return graph
    separable = is_separable(graph)
    if hamiltonian.separable and not separable:
        ctx.report.error(
            Code.NOT_SEPARABLE,
            ctx.source.span((*path, "separable")),
            "H is declared separable, but a term of it reads coordinates and momenta together",
            help="let every term read `[coordinates]` or `[momenta]`, or write `separable: false`",
        )
    elif hamiltonian.integrator == "leapfrog" and not separable:
        ctx.report.error(
            Code.NOT_SEPARABLE,
            ctx.source.span((*path, "integrator")),
            "leapfrog needs a separable H = T(p) + V(q), but this H couples q and p",
            help="write `separable: true` for two networks T(p) + V(q), or `integrator: rk4`",
        )
    if hamiltonian.masses is not None and len(hamiltonian.masses) != len(ctx.scope.coordinates):
        ctx.report.error(
            Code.BAD_MASSES,
            ctx.source.span((*path, "masses")),
            f"{count_of(len(hamiltonian.masses), 'mass', 'masses')} for "
            f"{count_of(len(ctx.scope.coordinates), 'coordinate')}",
            help="give one mass per coordinate, in the declared order",
        )
    elif hamiltonian.masses is not None and not _kinetic_term(graph):
        ctx.report.warning(
            Code.MASSES_UNUSED,
            ctx.source.span((*path, "masses")),
            "these masses are not used: the kinetic energy of this model is learned",
            help="remove them, or use `pairwise_energy` or a `kinetic` block",
        )
    return graph


def _kinetic_term(graph: Graph) -> bool:
    """Does a term of H have fixed coefficients, as p^2 / 2m has?"""
    return any(isinstance(node.op, Scale) for node in graph)


def conserved_quantities(graph: Graph, ctx: Context) -> tuple[Conserved, ...]:
    """Noether: what the flow of this H conserves, and for the rest, what destroys it."""
    if ctx.scope.kind != "phase_space":
        return ()
    if not any(target.flow_of for target in ctx.spec.targets.values()):
        why = "the field is not the flow of a Hamiltonian"
        return (Conserved("energy", "time translation", False, why),)
    found = [Conserved("energy", "time translation", True)]
    type_ = graph.type("hamiltonian")
    same_size = len({dim for _, dim in ctx.scope.coordinates}) == 1
    for factor, quantity in (("translation", "momentum"), ("SO(2)", "angular momentum")):
        if factor not in ctx.scope.factors or not same_size:
            continue
        hold = type_.hold(factor)
        exact = hold.verdict is Verdict.EXACT
        culprit = min(hold.ops, default="")
        reason = ctx.reasons.get((culprit, factor), "breaks it")
        found.append(Conserved(quantity, factor, exact, None if exact else f"`{culprit}`: {reason}"))
    return tuple(found)
