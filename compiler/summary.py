"""What a compiled spec promises, on one screen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .cost import ATOMS, default_sizes, estimate, peak_memory
from .ir.graph import Graph, graph_hash
from .ir.ops.base import Scope
from .passes.check_dynamics import Conserved, conserved_quantities
from .passes.context import mode_name
from .pipeline import Compilation


@dataclass(frozen=True, slots=True)
class FactorLine:
    """One factor of the group: how it is declared, what the types say, and which ops are responsible.

    `eps` is the sum of their relative errors where the verdict is approximate.
    """

    factor: str
    mode: str
    verdict: str
    ops: tuple[str, ...]
    eps: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The facts that `equic check` prints.

    `reach` is the receptive field, in units of `length`, None where there is none; `parameters` counts trainable
    numbers by op.
    `neighbors`, `flops` and `memory` (bytes) are the estimate for a system of `elements` atoms (or a batch of
    as many states): what one evaluation with its derivatives takes.
    """

    name: str
    kind: str
    architecture: str
    factors: tuple[FactorLine, ...]
    targets: tuple[tuple[str, str, str], ...]
    conserved: tuple[Conserved, ...]
    parameters: int
    largest: tuple[tuple[str, int], ...]
    ops: int
    reach: float | None
    length: str
    graph_hash: str
    searched: tuple[str, ...]
    elements: int
    neighbors: float | None
    flops: float
    memory: float


def count_parameters(graph: Graph, scope: Scope) -> Counter[str]:
    """Trainable numbers per op, from the types alone."""
    counts: Counter[str] = Counter()
    for node in graph.nodes:
        types = [graph.type(source) for _, source in node.op.inputs()]
        counts[node.name] = node.op.parameters(types, graph.type(node.name), scope)
    return counts


def summarize(done: Compilation) -> Summary:
    """The summary of a compilation that succeeded."""
    assert done.ok
    assert done.spec is not None
    assert done.graph is not None
    assert done.context is not None
    assert done.model is not None
    assert done.plan is not None
    graph, context = done.graph, done.context
    counts = count_parameters(graph, context.scope)
    factors = []
    for claim in done.plan["claims"]:
        mode, _ = context.mode(claim["factor"])
        factors.append(
            FactorLine(claim["factor"], mode_name(mode), claim["verdict"], tuple(claim["ops"]), claim["eps"])
        )
    assert done.optimised is not None
    sizes = default_sizes(context.scope, done.spec.train.precision)
    costs = estimate(done.optimised, context.scope, sizes)
    radii = [graph.type(name).radius for name in graph.outputs.values()]
    return Summary(
        name=done.spec.name,
        kind=done.spec.system.kind,
        architecture=done.model.preset or "explicit",
        factors=tuple(factors),
        targets=tuple(_target(done, name) for name in done.spec.targets),
        conserved=conserved_quantities(graph, context),
        parameters=sum(counts.values()),
        largest=tuple((name, count) for name, count in counts.most_common(3) if count),
        ops=len(graph.nodes),
        reach=max(radii) or None,
        length="" if str(context.scope.length) == "1" else str(context.scope.length),
        graph_hash=graph_hash(graph),
        searched=tuple(space.name for space in done.spaces),
        elements=ATOMS,
        neighbors=sizes.neighbors if context.scope.cutoff else None,
        flops=sum(cost.total for cost in costs),
        memory=peak_memory(costs, sizes),
    )


def _target(done: Compilation, name: str) -> tuple[str, str, str]:
    assert done.graph is not None
    assert done.spec is not None
    found = done.graph.type(done.graph.outputs[name])
    declared = done.spec.targets[name]
    smooth = "analytic" if found.smooth == float("inf") else f"C{found.smooth:g}"
    if declared.gradient_of:
        scale = (
            "" if declared.scale in (None, 1.0) else ("-" if declared.scale == -1 else f"{declared.scale:g} ")
        )
        per = "/V" if declared.wrt == "strain" else ""
        origin = f"{scale}d({declared.gradient_of})/d({declared.wrt}){per}"
    else:
        origin = f"flow of the {declared.flow_of}" if declared.flow_of else "computed"
    rep = str(found.rep).replace("1x", "")
    unit = "" if str(found.unit) == "1" else f" [{found.unit}]"
    return name, f"{found.index}: {rep}{unit}", f"{origin}, {smooth}"
