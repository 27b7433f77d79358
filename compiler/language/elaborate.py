"""Spec to graph: the model's ops, the inputs they read, and the targets derived from them."""

from __future__ import annotations

from pydantic import ValidationError

from ..ir.graph import CycleError, Graph, Node, ordered
from ..ir.ops import Add, Grad, Input, Reduce, ShiftScale
from .builder import MOST_OPS, Builder, TooManyOpsError
from .codes import Code
from .diagnostics import Report
from .elaborate_atoms import elaborate_atoms
from .elaborate_state import elaborate_state
from .levels import ModelSource
from .schema import PhaseSpaceSystem, Spec, System
from .schema_model import AtomsModel, GraphModel, StateModel
from .source import Source

_POINTS = ("positions", "species")


def input_names(system: System) -> tuple[str, ...]:
    """The fields that a graph may read."""
    return ("state",) if isinstance(system, PhaseSpaceSystem) else (*_POINTS, *system.inputs)


def elaborate(spec: Spec, where: ModelSource, source: Source, report: Report) -> Graph | None:
    """The typed layer graph before inference, or None after a report.

    Every target becomes an output: computed by the model, or a gradient of one that is.
    """
    fields = input_names(spec.system)
    builder = Builder()
    try:
        match where.model:
            case GraphModel():
                builder = _explicit(where.model, source)
            case AtomsModel():
                builder = elaborate_atoms(where.model, where, spec, report)
            case StateModel():
                builder = elaborate_state(where.model, where, spec, report)
    except TooManyOpsError:
        report.error(
            Code.MODEL_TOO_LARGE,
            where.anchor,
            f"this model has more than {MOST_OPS:,} operations",
            help="write fewer layers or hidden widths",
        )
    except ValidationError as error:
        # blocks keep of their irreps what products reach, and an op refuses irreps without a feature
        if not all("holds no features" in one["msg"] for one in error.errors()):
            raise
        report.error(
            Code.UNREACHABLE_IRREPS,
            source.span(("model", "blocks"), key=True) if "blocks" in spec.model else where.anchor,
            "a layer of this model is left without features: no product reaches any of its irreps",
            help="ask for irreps that features times harmonics reach, `0e` or `1o` among them",
        )
    if report.has_errors:
        return None
    for name in fields:
        if name in builder:
            report.error(
                Code.NAME_TAKEN,
                next(node.span for node in builder.nodes if node.name == name),
                f"`{name}` is the name of an input",
                help="give this value another name",
            )
    inputs = [Node(name, Input(field=name), where.anchor) for name in fields]
    nodes = inputs + [node for node in builder.nodes if node.name not in fields]
    outputs = _targets(spec, nodes, source, report)
    outputs.update(_node_energies(nodes, outputs))
    if "hamiltonian" in {node.name for node in nodes}:
        outputs.setdefault("hamiltonian", "hamiltonian")
    if not _known_names(nodes, report):
        return None
    try:
        return ordered(nodes, outputs)
    except CycleError as error:
        first = next(node for node in nodes if node.name == error.cycle[0])
        report.error(
            Code.CIRCULAR_VALUES,
            first.span,
            f"these values need each other: {error}",
            help="let one of them read something else; a graph runs from the inputs to the targets",
        )
        return None


def _node_energies(nodes: list[Node], outputs: dict[str, str]) -> dict[str, str]:
    """Energies that are sums over atoms show the terms too: `node_energy` beside `energy`."""
    ops = {node.name: node.op for node in nodes}
    found = {}
    for target, name in outputs.items():
        total = ops[name]
        if not isinstance(total, Reduce) or total.to != "system":
            continue
        terms = ops.get(total.of)
        read = [ops.get(one) for one in terms.of] if isinstance(terms, Add) else [terms]
        if any(isinstance(one, ShiftScale) for one in read):
            found[f"node_{target}"] = total.of
    return {name: node for name, node in found.items() if name not in outputs}


def _explicit(model: GraphModel, source: Source) -> Builder:
    builder = Builder()
    for name, op in model.graph.items():
        if not isinstance(op, Input):
            builder.add(name, op, source.span(("model", "graph", name)))
    return builder


def _known_names(nodes: list[Node], report: Report) -> bool:
    import difflib

    names = {node.name for node in nodes}
    fine = True
    for node in nodes:
        for port, name in node.op.inputs():
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                report.error(
                    Code.UNKNOWN_REFERENCE,
                    node.span,
                    f"`{node.name}` reads `{name}` ({port}), which does not exist",
                    help=f"did you mean `{close[0]}`?"
                    if close
                    else f"values: {', '.join(sorted(names)[:12])}",
                )
                fine = False
    return fine


def _targets(spec: Spec, nodes: list[Node], source: Source, report: Report) -> dict[str, str]:
    """Add a gradient op for every derived target; map each target to its node."""
    names = {node.name for node in nodes}
    outputs: dict[str, str] = {}
    for target, declared in spec.targets.items():
        span = source.span(("targets", target), key=True)
        if declared.gradient_of is not None:
            base = spec.targets.get(declared.gradient_of)
            if base is None or (base.gradient_of is None and declared.gradient_of not in names):
                report.error(
                    Code.FORCES_WITHOUT_ENERGY,
                    source.span(("targets", target, "gradient_of")),
                    f"`{target}` is a gradient of `{declared.gradient_of}`, which is not a target",
                    help=f"add `{declared.gradient_of}: {{per: system, rep: 0e, unit: eV}}` to the targets",
                )
                continue
            if spec.targets[declared.gradient_of].gradient_of is not None:
                report.error(
                    Code.GRADIENT_OF_GRADIENT,
                    source.span(("targets", target, "gradient_of")),
                    f"`{target}` is a gradient of `{declared.gradient_of}`, which is itself one",
                    help="only the energy has gradients in this version: forces by `positions`, stress by `strain`",
                )
                continue
            if target in names:
                report.error(
                    Code.NAME_TAKEN,
                    source.span(("model", "graph", target), key=True),
                    f"`{target}` is computed by the graph, but declared as a gradient",
                    help="remove it from the graph: the gradient is taken for you",
                    related=((span, "declared here"),),
                )
                continue
            strain = declared.wrt == "strain"
            scale = declared.scale if declared.scale is not None else 1.0
            op = Grad(
                of=declared.gradient_of, wrt=declared.wrt or "positions", scale=scale, per_volume=strain
            )
            nodes.append(Node(target, op, span))
        elif target not in names or target in input_names(spec.system):
            computed = [name for name, one in spec.targets.items() if one.is_computed and name in names]
            known = ", ".join(
                computed or ["derivatives" if isinstance(spec.system, PhaseSpaceSystem) else "energy"]
            )
            report.error(
                Code.TARGET_NOT_COMPUTED,
                span,
                f"nothing computes the target `{target}`",
                help=f"this model computes `{known}`; gradients of it are declared by `gradient_of`",
            )
            continue
        outputs[target] = target
    return outputs


__all__ = ["Builder", "elaborate"]
