"""`equic show`."""

import json
from typing import Annotated

import typer

from .options import SetOption, SpecArgument, compiled, complaints, console

FORMS = ("graph", "spec", "plan", "torch", "svg")


def show(
    spec: SpecArgument,
    overrides: SetOption = None,
    emit: Annotated[str, typer.Option(help=f"one of {', '.join(FORMS)}")] = "graph",
    level: Annotated[
        int | None, typer.Option(help="print the model as a preset (1), blocks (2) or ops (3)", min=1, max=3)
    ] = None,
    why: Annotated[str | None, typer.Option(help="an output: print what decides its verdicts")] = None,
    after: Annotated[str | None, typer.Option(help="print the graph as it is after this pass")] = None,
    cost: Annotated[bool, typer.Option("--cost", help="print what every op costs")] = False,
    atoms: Annotated[int, typer.Option(help="with --cost: atoms of the system, or states", min=1)] = 100,
    neighbors: Annotated[
        float | None, typer.Option(help="with --cost: neighbours of an atom; 0.05 atoms/Å^3 without", min=0)
    ] = None,
) -> None:
    """Print the compiled graph, what it costs, or what decides the verdicts of an output.

    Forms: `graph` is level 3 of the spec language and parses back, `spec` the resolved spec, `plan` the JSON
    that the runtime reads, `torch` a readable Python module that needs torch alone,
    `svg` a picture of the graph.

    Example: [bold]equic show spec.yaml --why forces[/bold]
    """
    from equic.compiler.passes import OPTIMISATIONS, PASSES

    if emit not in FORMS:
        _refuse(f"there is no `--emit {emit}`; choose {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    names = tuple(dict.fromkeys(one.__name__ for one in PASSES + OPTIMISATIONS))
    if after is not None and after not in names:
        _refuse(f"there is no pass `{after}`; in order they are {', '.join(names)}")
    done = compiled(spec, overrides)
    assert done.graph is not None
    if level is not None:
        from .show import level_of, model_yaml

        if level < (own := level_of(done)):
            _refuse(f"this model is written at level {own}, and cannot be told at level {level}")
        print(model_yaml(done, level), end="")
    elif why is not None:
        from equic.compiler.why import render_why

        if why not in done.graph.outputs:
            _refuse(f"there is no output `{why}`; choose {', '.join(done.graph.outputs)}")
        print(render_why(done, why), end="")
    elif cost:
        from equic.compiler.cost import default_sizes

        from .show import print_cost

        assert done.context is not None
        assert done.spec is not None
        sizes = default_sizes(done.context.scope, done.spec.train.precision, atoms, neighbors)
        print_cost(done, sizes, console)
    elif after is not None:
        from equic.compiler.ir.text import render_graph
        from equic.compiler.pipeline import graph_after

        from .show import picture

        graph = graph_after(done, after)
        print(picture(done, graph) if emit == "svg" else render_graph(graph), end="")
    elif emit == "graph":
        from .show import graph_yaml

        print(graph_yaml(done), end="")
    elif emit == "spec":
        from equic.compiler.source_text import resolved_text

        print(resolved_text(done), end="")
    elif emit == "svg":
        from .show import picture

        print(picture(done, done.graph), end="")
    elif emit == "torch":
        from equic.runtime.emit import emit_torch
        from equic.runtime.plan import Plan

        assert done.plan is not None
        print(emit_torch(Plan.from_json(done.plan)), end="")
    else:
        print(json.dumps(done.plan, ensure_ascii=False, indent=1))


def _refuse(message: str) -> None:
    complaints.print("[red]error[/red]: ", end="")
    complaints.print(message, markup=False)
    raise typer.Exit(2)
