"""Level 2 to ops for phase spaces: terms of a Hamiltonian, or a vector field."""

from __future__ import annotations

from itertools import combinations

from ..ir.ops import Add, Concat, Difference, Inner, Mlp, Poisson, Scale, Slice
from .blocks import KineticBlock, MlpBlock, PairsBlock, StateModel
from .builder import Builder
from .codes import Code
from .diagnostics import Report
from .levels import ModelSource
from .schema import PhaseSpaceSystem, Spec


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
                terms.extend(_pairs(graph, block, k, parts["coordinates"], where, report))
    if not flow and any(not isinstance(block, MlpBlock) for block in model.blocks):
        k = next(k for k, block in enumerate(model.blocks) if not isinstance(block, MlpBlock))
        report.error(
            Code.CONFLICTING_KEYS,
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
            Code.BAD_MASSES,
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
    graph: Builder, block: PairsBlock, k: int, names: tuple[str, ...], where: ModelSource, report: Report
) -> list[str]:
    if len(names) != 2:
        report.error(
            Code.BAD_COORDINATES,
            where.span(k),
            f"`pairs` works for two bodies in this version, but the system has {len(names)} coordinates",
            help="declare two coordinates, or use the `hnn` architecture",
        )
        return []
    terms = []
    for a, b in combinations(names, 2):
        apart = graph.add(f"{a}-{b}", Difference(of=(a, b)), where.span(k))
        square = graph.add(f"|{a}-{b}|2", Inner(of=(apart, apart)), where.span(k))
        op = Mlp(
            of=square, widths=block.hidden, out=1, activation=block.activation, bias=True, init="orthogonal"
        )
        terms.append(graph.add(f"{a}-{b}.energy", op, where.span(k)))
    return terms
