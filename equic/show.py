"""Printing for people: the summary, the graph, the diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from equic.compiler.pipeline import Compilation
    from equic.compiler.summary import Summary
    from equic.runtime.data.audit.audit import Audit

COLORS = {"exact": "green", "approximate": "yellow", "broken": "red"}


def print_summary(summary: Summary, console: Console, *, data: Sequence[Mapping[str, Any]] = ()) -> None:
    """What was declared, what was proven, what it costs; and which files were read, if any were."""
    console.print(f"[bold]{summary.name}[/bold]: {summary.kind}, {summary.architecture}")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for k, line in enumerate(summary.factors):
        verdict = f"[{COLORS[line.verdict]}]{line.verdict}[/]"
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
        table.add_row("reach", f"{summary.reach:g} Å")
    if summary.searched:
        table.add_row("searched", ", ".join(summary.searched))
    for k, row in enumerate(data):
        low, high = row["atoms"]
        sizes = f" of {low} to {high} atoms" if low != high else f" of {low} atoms" if low else ""
        words = f"{row['set']:<12} {row['frames']:,} frames{sizes}, {row['file']}"
        table.add_row("data" if k == 0 else "", words.replace("[", r"\["))
    table.add_row("graph", f"{summary.ops} ops, {summary.graph_hash[:12]}")
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
