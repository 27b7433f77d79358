"""`equic cite`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from .options import JsonOption, SetOption, SpecArgument, compiled


def cite(
    spec: SpecArgument,
    overrides: SetOption = None,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="print BibTeX entries")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the papers behind a spec: its architecture and the ops that it compiles to.

    Example: [bold]equic cite spec.yaml --bibtex > references.bib[/bold]
    """
    from equic.compiler.citations import citations_of

    done = compiled(spec, overrides)
    assert done.plan is not None
    found = citations_of(done.plan["citations"])
    if as_json:
        facts = [{"key": key, **asdict(one)} for key, one in found.items()]
        print(json.dumps(facts, ensure_ascii=False, indent=1))
    elif bibtex:
        print("\n\n".join(one.bibtex(key) for key, one in found.items()))
    else:
        for one in found.values():
            print(f"- {one.text()}")
