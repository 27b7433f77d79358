"""Every stop from a source text to a plan, in order: the compiler on one screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from .choices import check_choices
from .ir.graph import Graph, validate_graph
from .language.diagnostics import Report
from .language.elaborate import elaborate
from .language.levels import ModelSource, read_model
from .language.overrides import apply_overrides
from .language.schema import Spec
from .language.search import SearchSpace, extract_search
from .language.source import Source, load_source
from .language.validation import diagnose
from .lowering.lower import lower
from .passes import OPTIMISATIONS, PASSES, Context
from .passes.check_spec import check_spec
from .passes.context import scope_of

_SYSTEMS: dict[str, dict[str, Any]] = {
    "atoms": {"kind": "atoms", "species": ["H"], "cutoff": "1 Å"},
    "phase_space": {"kind": "phase_space", "coordinates": {"q": 1}},
}


@dataclass(frozen=True, slots=True)
class Compilation:
    """What came out of each stop; a stop that was not reached is None. `report` has every diagnostic.

    `graph` is what the spec means (shown, hashed, proven), `optimised` the one that the plan was made of.
    """

    source: Source | None
    report: Report
    spaces: tuple[SearchSpace, ...] = ()
    spec: Spec | None = None
    model: ModelSource | None = None
    graph: Graph | None = None
    context: Context | None = None
    optimised: Graph | None = None
    plan: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        return self.plan is not None and not self.report.has_errors


def compile_file(
    path: str, overrides: Sequence[str] = (), *, texts: Mapping[str, str] | None = None
) -> Compilation:
    """Read and compile a spec file; `overrides` are `key.path=value` texts, `texts` files known beforehand."""
    report = Report()
    source = load_source(path, report, texts=texts)
    if source is not None and overrides:
        source = apply_overrides(source, list(overrides), report)
    if source is None or report.has_errors:
        return Compilation(source, report)
    return compile_spec(source, report)


def compile_spec(
    source: Source, report: Report | None = None, *, debug: bool = False, optimised: bool = True
) -> Compilation:
    """Source -> Spec -> Graph -> Plan. Errors are values: look at `.ok` and `.report`.

    Without `optimised` the plan has the graph's own steps: the same weights and numbers, for comparison.
    """
    report = Report() if report is None else report
    report.texts.update(source.texts)
    source, spaces = extract_search(source, report)
    stop = partial(Compilation, source, report, spaces)
    spec = parse_spec(source, report)
    if spec is None:
        readable = spec_for_model(source)
        if readable is not None:
            read_model(readable, source, report)  # its mistakes are reported with the others
        return stop()
    check_spec(spec, source, report)
    model = read_model(spec, source, report)
    if model is None or report.has_errors:
        return stop(spec)
    graph = elaborate(spec, model, source, report)
    if graph is None or report.has_errors:
        return stop(spec, model)
    context = Context(spec, source, scope_of(spec), report)
    graph = run_passes(graph, context, debug=debug)
    if report.has_errors:
        return stop(spec, model, graph, context)
    fast = optimise(graph, context, debug=debug) if optimised else graph
    plan = lower(graph, context, steps=fast, cites=model.cites, architecture=model.preset)
    check_choices(source, spaces, report, _tried)
    return stop(spec, model, graph, context, fast, plan)


def _tried(source: Source) -> tuple[Report, int]:
    """What a spec with one choice changed gives: its diagnostics, and the size of its graph."""
    done = compile_spec(source)
    return done.report, len(done.graph.nodes) if done.graph is not None else 0


def parse_spec(source: Source, report: Report) -> Spec | None:
    """The frozen spec, or None after a diagnostic for each problem."""
    try:
        return Spec.model_validate({key: value for key, value in source.data.items() if key != "extends"})
    except ValidationError as error:
        diagnose(error, source, report, model=Spec)
        return None


def spec_for_model(source: Source) -> Spec | None:
    """What `read_model` needs of a spec with mistakes: wrong sections are left out, or filled in where they must be.

    None where the model itself is missing, or where it is not known what is modelled.
    """
    data = {key: value for key, value in source.data.items() if key != "extends"}
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        wrong = {item["loc"][0] for item in error.errors(include_url=False) if item["loc"]}
    system = data.get("system")
    kind = system.get("kind") if isinstance(system, dict) else None
    model = data.get("model")
    heads = isinstance(model, dict) and "heads" in model and "targets" in wrong
    if (
        not isinstance(kind, str) or kind not in _SYSTEMS or "model" in wrong or heads
    ):  # heads are named after targets
        return None
    filled = {"equic": 1, "name": "x", "system": _SYSTEMS[kind], "targets": {"energy": {}}}
    kept = {key: value for key, value in data.items() if key not in wrong}
    return Spec.model_validate({**{key: filled[key] for key in wrong if key in filled}, **kept})


def run_passes(graph: Graph, context: Context, *, after: str | None = None, debug: bool = False) -> Graph:
    """Run `PASSES` in order, or up to the pass called `after`.

    Checks only report, so all of them run and all errors come at once; nothing is rewritten after an error.
    """
    for one in PASSES:
        is_check = one.__name__.startswith("check_")
        if context.report.has_errors and not (is_check and graph.is_typed):
            break
        graph = one(graph, context)
        if debug:
            validate_graph(graph)
        if one.__name__ == after:
            break
    return graph


def optimise(graph: Graph, context: Context, *, after: str | None = None, debug: bool = False) -> Graph:
    """Run `OPTIMISATIONS` in order, or up to the one called `after`, on a graph that passed its checks."""
    for one in OPTIMISATIONS:
        graph = one(graph, context)
        if debug:
            validate_graph(graph)
        if one.__name__ == after:
            break
    return graph


def graph_after(done: Compilation, name: str) -> Graph:
    """The graph of a compiled spec as it is behind the (first) pass of this name."""
    assert done.spec is not None
    assert done.model is not None
    assert done.source is not None
    graph = elaborate(done.spec, done.model, done.source, Report())
    assert graph is not None
    context = Context(done.spec, done.source, scope_of(done.spec), Report())
    graph = run_passes(graph, context, after=name)
    return graph if name in {one.__name__ for one in PASSES} else optimise(graph, context, after=name)
