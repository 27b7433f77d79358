"""`equic check`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, SetOption, SpecArgument, complaints, console, read_data

if TYPE_CHECKING:
    from .fixing import Fixed


def check(
    spec: SpecArgument,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    concise: Annotated[bool, typer.Option(help="one line a diagnostic")] = False,
    data: Annotated[
        bool, typer.Option("--data", help="read the data files too, still without torch")
    ] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="make the changes that are beyond doubt, and show them")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="show what --fix would change, and write nothing")
    ] = False,
) -> None:
    """Check a spec without torch: types, symmetry, units, structure; with --data also the files that it names.

    Example: [bold]equic check spec.yaml --data[/bold]
    """
    from equic.compiler.language.render import render_json
    from equic.compiler.summary import summarize

    from . import api
    from .show import data_rows, print_diagnostics, print_summary

    fixed = None
    if fix or diff:
        from .fixing import fix_spec, write_fixed

        fixed = fix_spec(spec, overrides or [])
        if fix and not diff:
            write_fixed(fixed)
    done = fixed.done if fixed is not None and not diff else api.check(spec, overrides or [])
    read = read_data(done) if data and done.ok else None
    if as_json:
        from dataclasses import asdict

        facts = asdict(summarize(done)) if done.ok else None
        text = {
            "ok": done.ok,
            "diagnostics": render_json(done.report),
            "left_out": done.report.left_out,
            "summary": facts,
        }
        if data:
            text["data"] = data_rows(read)
        if fixed is not None:
            text["fixed"] = {"diagnostics": render_json(fixed.mended), "diff": fixed.diff()}
        print(json.dumps(text, ensure_ascii=False, indent=1))
    else:
        if fixed is not None:
            _print_fixed(fixed, written=not diff)
        print_diagnostics(done, complaints, concise=concise)
        if done.ok:
            print_summary(summarize(done), console, data=data_rows(read) if data else ())
    if not done.ok:
        raise typer.Exit(2)


def _print_fixed(fixed: Fixed, *, written: bool) -> None:
    """The changes as a diff, coloured on a terminal, and a line that says what became of them."""
    from rich.text import Text

    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in fixed.diff().splitlines():
        if console.is_terminal:
            console.print(Text(line, style=styles.get(line[:1], "")), soft_wrap=True)
        else:
            sys.stdout.write(f"{line}\n")
    count = len(fixed.mended)
    if count:
        verb = "mended" if written else "--fix would mend"
        complaints.print(
            f"{verb} {count} problem{'s' if count > 1 else ''} in {', '.join(fixed.after)}", soft_wrap=True
        )
    else:
        complaints.print("nothing can be mended without a guess", soft_wrap=True)
