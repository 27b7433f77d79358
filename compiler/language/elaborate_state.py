"""Level 2 to ops for phase spaces: terms of a Hamiltonian, or a vector field."""

from __future__ import annotations

import re

from ..ir.ops import Add, Concat, Distances, Inner, Mlp, Poisson, Reduce, Scale, Slice
from .blocks import KineticBlock, MlpBlock, PairsBlock
from .builder import Builder
from .codes import Code
from .diagnostics import Report
from .levels import ModelSource
from .schema import PhaseSpaceSystem, Spec
from .schema_model import StateModel


def coordinate_dims(system: PhaseSpaceSystem) -> tuple[tuple[str, int], ...]:
    """(name, number of components) of every coordinate, in the declared order."""
    from ..symmetry.irreps import Irreps

    return tuple(
        (name, int(rep) if rep.isdigit() else Irreps.parse(rep, "SO(2)").dim)
        for name, rep in system.coordinates.items()
    )


def elaborate_state(model: StateModel, where: ModelSource, spec: Spec, report: Report) -> Builder:
    """Terms as ops. The last op is `hamiltonian` with `derivatives` from it, or `derivatives` alone.

    The state is z = (q_1, q_2, ..., p_1, p_2, ...), each part a slice of it.
    """
    assert isinstance(spec.system, PhaseSpaceSystem)
    graph = Builder()
    if not _names_are_free(where, spec, report) or not _terms_are_single(model, where, report):
        return graph
    top = where.anchor
    dims = coordinate_dims(spec.system)
    size = sum(dim for _, dim in dims)
    start = 0
    momenta: dict[str, str] = {}
    for name, dim in dims:
        rep = spec.system.coordinates[name]
        graph.add(name, Slice(of="state", start=start, stop=start + dim, rep=rep, affine=True), top)
        momenta[name] = f"{name}.momentum"
        part = Slice(of="state", start=size + start, stop=size + start + dim, rep=rep, affine=False)
        graph.add(momenta[name], part, top)
        start += dim
    parts = {"coordinates": tuple(name for name, _ in dims), "momenta": tuple(momenta.values())}
    flow = any(target.flow_of for target in spec.targets.values())
    out = 1 if flow else 2 * size
    terms: list[str] = []
    for k, block in enumerate(model.blocks):
        match block:
            case MlpBlock():
                terms.append(_mlp(graph, block, k, parts, out, where))
            case KineticBlock():
                terms.extend(_kinetic(graph, k, momenta, spec, where, report))
            case PairsBlock():
                terms.extend(_pairs(graph, block, k, spec.system, where, report))
    if not flow and any(not isinstance(block, MlpBlock) for block in model.blocks):
        k = next(k for k, block in enumerate(model.blocks) if not isinstance(block, MlpBlock))
        report.error(
            Code.TERM_WITHOUT_ENERGY,
            where.span(k),
            f"`{model.blocks[k].kind}` is a term of an energy, but no target is the flow of one",
            help="write `targets: {derivatives: {flow_of: hamiltonian}}`",
        )
        return graph
    name = "hamiltonian" if flow else "derivatives"
    if len(terms) == 1:
        graph.nodes[-1] = type(graph.nodes[-1])(name, graph.nodes[-1].op, graph.nodes[-1].span)
    elif terms:
        graph.add(name, Add(of=tuple(terms)), top)
    if flow and terms:
        graph.add("derivatives", Poisson(of=(name, "state")), top)
    return graph


_TAKEN = re.compile(r"state|hamiltonian|derivatives|distances|pair_energ(y|ies)|term\d+")


def _names_are_free(where: ModelSource, spec: Spec, report: Report) -> bool:
    """Coordinates become values of the graph, beside those of the model."""
    assert isinstance(spec.system, PhaseSpaceSystem)
    taken = [name for name in spec.system.coordinates if _TAKEN.fullmatch(name)]
    for name in taken:
        report.error(
            Code.NAME_TAKEN,
            where.source.span(("system", "coordinates", name), key=True),
            f"a coordinate cannot be called `{name}`: a value of the model is",
            help=f"give it another name, such as `q_{name}`",
        )
    return not taken


def _terms_are_single(model: StateModel, where: ModelSource, report: Report) -> bool:
    """Two networks may add up; the same kinetic energy twice, or two pair potentials, are a slip."""
    fine = True
    for kind in ("kinetic", "pairs"):
        found = [k for k, block in enumerate(model.blocks) if block.kind == kind]
        if len(found) > 1:
            report.error(
                Code.TERM_TWICE,
                where.span(found[1]),
                f"the term `{kind}` stands twice, and would count twice",
                help="keep one of them",
                related=((where.span(found[0]), "the first one"),),
            )
            fine = False
    return fine


def _mlp(
    graph: Builder, block: MlpBlock, k: int, parts: dict[str, tuple[str, ...]], out: int, where: ModelSource
) -> str:
    names = tuple(name for part in ("coordinates", "momenta") if part in block.of for name in parts[part])
    value = names[0]
    if len(names) > 1:
        value = graph.add(f"term{k + 1}.input", Concat(of=names), where.span(k))
    op = Mlp(
        of=value, widths=block.hidden, out=out, activation=block.activation, bias=True, init="orthogonal"
    )
    return graph.add(f"term{k + 1}", op, where.span(k))


def _kinetic(
    graph: Builder, k: int, momenta: dict[str, str], spec: Spec, where: ModelSource, report: Report
) -> list[str]:
    hamiltonian = spec.constraints.hamiltonian
    masses = hamiltonian.masses if hamiltonian is not None else None
    if masses is None:
        report.error(
            Code.MASSES_MISSING,
            where.span(k),
            "a kinetic energy needs the masses",
            help=f"write `constraints: {{hamiltonian: {{masses: {[1] * len(momenta)}}}}}`",
        )
        return []
    terms = []
    for (name, momentum), mass in zip(momenta.items(), masses, strict=False):
        square = graph.add(f"{name}.p2", Inner(of=(momentum, momentum)), where.span(k))
        terms.append(graph.add(f"{name}.kinetic", Scale(of=square, by=0.5 / mass), where.span(k)))
    return terms


def _pairs(
    graph: Builder, block: PairsBlock, k: int, system: PhaseSpaceSystem, where: ModelSource, report: Report
) -> list[str]:
    """One network for all pairs, so that bodies of equal mass cannot be told apart."""
    names = tuple(system.coordinates)
    if len(names) < 2:
        report.error(
            Code.TOO_FEW_BODIES,
            where.span(k),
            "`pairs` needs at least two bodies, but the system has one coordinate",
            help="declare a coordinate for each body, or use the `hnn` architecture",
        )
        return []
    reps = system.coordinates
    other = next((name for name in names if reps[name] != reps[names[0]]), None)
    if other is not None:
        report.error(
            Code.COORDINATES_DO_NOT_PAIR,
            where.source.span(("system", "coordinates", other)),
            f"`pairs` measures distances between bodies, but `{names[0]}` is `{reps[names[0]]}` and "
            f"`{other}` is `{reps[other]}`",
            help="give every body the same representation, or use the `hnn` architecture",
        )
        return []
    apart = graph.add("distances", Distances(of=names), where.span(k))
    op = Mlp(of=apart, widths=block.hidden, out=1, activation=block.activation, bias=True, init="orthogonal")
    each = graph.add("pair_energies", op, where.span(k))
    return [graph.add("pair_energy", Reduce(of=each, to="state"), where.span(k))]
