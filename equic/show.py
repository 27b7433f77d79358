"""Printing for people: the summary, the graph, the diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from equic.compiler.cost import Sizes
    from equic.compiler.ir.graph import Graph
    from equic.compiler.pipeline import Compilation
    from equic.compiler.summary import Summary
    from equic.runtime.data.audit.audit import Audit

COLORS = {"exact": "green", "approximate": "yellow", "broken": "red"}
_ELEMENTS = {"atoms": "atoms", "particles": "particles", "phase_space": "states"}


def _neighbors(summary: Summary) -> str:
    """How many neighbours the estimates count with, and why."""
    from equic.compiler.cost import DENSITY

    if summary.kind == "atoms":
        return f"{summary.neighbors:.0f} of an atom, at {DENSITY} atoms/Å³"
    if summary.reach == float("inf"):
        return f"all others: {summary.neighbors:.0f} among {summary.elements} particles"
    return f"{summary.neighbors:.0f} of a particle, at {DENSITY} in a unit of volume"


def print_summary(summary: Summary, console: Console, *, data: Sequence[Mapping[str, Any]] = ()) -> None:
    """What was declared, what was proven, what it costs; and which files were read, if any were."""
    console.print(f"[bold]{summary.name}[/bold]: {summary.kind}, {summary.architecture}")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for k, line in enumerate(summary.factors):
        verdict = f"[{COLORS[line.verdict]}]{line.verdict}[/]"
        if line.eps is not None:
            verdict += f" to {line.eps:.1e}"
        why = ""
        if line.ops:
            shown = ", ".join(line.ops[:3]) + (f" and {len(line.ops) - 3} more" if len(line.ops) > 3 else "")
            why = f"  by {shown}"
        table.add_row("symmetry" if k == 0 else "", f"{line.factor:<12} {line.mode:<14} {verdict}{why}")
    for k, (name, type_, origin) in enumerate(summary.targets):
        table.add_row("targets" if k == 0 else "", f"{name:<12} {type_:<22} {origin}".replace("[", r"\["))
    for k, one in enumerate(summary.conserved):
        state = "[green]conserved[/]" if one.holds else f"[red]not conserved[/]: {one.broken_by}"
        table.add_row("conserved" if k == 0 else "", f"{one.quantity:<18} {state} ({one.because})")
    largest = ", ".join(f"{name} {count:,}" for name, count in summary.largest)
    table.add_row("parameters", f"{summary.parameters:,}" + (f"  ({largest})" if largest else ""))
    if summary.reach is not None:
        everywhere = summary.reach == float("inf")
        table.add_row("reach", "everything" if everywhere else f"{summary.reach:g} {summary.length}".rstrip())
    if summary.neighbors is not None:
        table.add_row("neighbours", _neighbors(summary))
    what = f"{summary.elements} {_ELEMENTS[summary.kind]} with derivatives"
    table.add_row("memory", f"{quantity(summary.memory, 'B')}, {quantity(summary.flops, 'FLOP')} for {what}")
    if summary.searched:
        table.add_row("searched", ", ".join(summary.searched))
    for k, row in enumerate(data):
        low, high = row["atoms"]
        sizes = f" of {low} to {high} atoms" if low != high else f" of {low} atoms" if low else ""
        words = f"{row['set']:<12} {row['frames']:,} frames{sizes}, {row['file']}"
        table.add_row("data" if k == 0 else "", words.replace("[", r"\["))
    table.add_row("graph", f"{summary.ops} ops, {summary.graph_hash[:12]}")
    console.print(table)


def quantity(value: float, unit: str) -> str:
    """A number of three digits with a prefix: 1.23 GB."""
    for prefix in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:.3g} T{unit}"


def print_cost(done: Compilation, sizes: Sizes, console: Console) -> None:
    """What every op of the optimised graph costs, and all of them."""
    from equic.compiler.cost import estimate, peak_memory

    assert done.optimised is not None
    assert done.context is not None
    costs = estimate(done.optimised, done.context.scope, sizes)
    if done.context.scope.cutoff:
        given = f"{sizes.atoms} atoms with {sizes.neighbors:.3g} neighbours each"
    else:
        given = f"{sizes.systems} states"
    console.print(f"For {given}; numbers of {sizes.bytes} bytes; as the reference layers compute.")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("op", "kind", "on every"):
        table.add_column(head, overflow="fold")
    for head in ("parameters", "forward", "and backward", "moved", "kept"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in costs:
        work = (quantity(one.forward, "FLOP"), quantity(one.total, "FLOP"))
        bytes_ = (quantity(one.traffic, "B"), quantity(one.kept, "B"))
        table.add_row(
            one.name, one.kind, one.index, f"{one.parameters:,}" if one.parameters else "", *work, *bytes_
        )
    table.add_section()
    totals = (sum(one.forward for one in costs), sum(one.total for one in costs))
    moved, peak = sum(one.traffic for one in costs), peak_memory(costs, sizes)
    table.add_row(
        "total",
        "",
        "",
        f"{sum(one.parameters for one in costs):,}",
        *(quantity(value, "FLOP") for value in totals),
        quantity(moved, "B"),
        quantity(peak, "B"),
        style="bold",
    )
    console.print(table)


def data_rows(audit: Audit | None) -> list[dict[str, Any]]:
    """Each set that has a file: its name, file, frames and sizes."""
    sets = audit.sets if audit is not None else ()
    return [
        {"set": one.name, "file": one.file, "frames": one.facts.frames, "atoms": list(one.facts.atoms)}
        for one in sets
    ]


def print_diagnostics(done: Compilation, console: Console, *, concise: bool = False) -> None:
    """Every diagnostic, errors last so that they stay in view."""
    from equic.compiler.language.render import print_report, render_concise

    if concise:
        for diagnostic in done.report.diagnostics:
            console.print(render_concise(diagnostic), markup=False, highlight=False, soft_wrap=True)
        return
    print_report(done.report, console)


def graph_yaml(done: Compilation, *, types: bool = True) -> str:
    """The compiled graph as a level-3 `model:` section: one op a line, its type as a comment. Parses back."""
    assert done.graph is not None
    from equic.compiler.ir.text import render_graph

    return render_graph(done.graph, types=types)


def level_of(done: Compilation) -> int:
    """The level that the model of a compiled spec is written at: 1 a preset, 2 blocks, 3 ops."""
    assert done.spec is not None
    model = done.spec.model
    return 1 if "architecture" in model else 2 if "blocks" in model else 3


def model_yaml(done: Compilation, level: int) -> str:
    """The `model:` section at this level, which is not below that of the spec; it compiles to the same graph."""
    from equic.compiler.language.nodes import node_from
    from equic.compiler.language.yaml_writer import write_yaml

    assert done.source is not None
    assert done.model is not None
    if level == 3:
        return graph_yaml(done)
    source = done.source if level == level_of(done) else done.model.source
    return write_yaml(node_from({"model": source.data["model"]}, source.root.span))


def picture(done: Compilation, graph: Graph) -> str:
    """One of the compilation's typed graphs as SVG."""
    from equic.compiler.ir.graph import graph_hash
    from equic.compiler.picture import render_svg

    assert done.context is not None
    assert done.spec is not None
    assert done.graph is not None
    return render_svg(graph, done.context.scope, f"{done.spec.name}  ·  {graph_hash(done.graph)[:12]}")
