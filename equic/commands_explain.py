"""`equic explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import complaints


def _complete(incomplete: str) -> list[tuple[str, str]]:
    """Codes that start with what is typed, each with its title."""
    from equic.compiler.language.codes import pages

    return [
        (str(code), page.title) for code, page in pages().items() if str(code).startswith(incomplete.upper())
    ]


def explain(
    code: Annotated[
        str | None,
        typer.Argument(help="a code such as T204; all are listed without one", autocompletion=_complete),
    ] = None,
) -> None:
    """Print the page of a diagnostic code, or the title of every code, or of those of a letter.

    Example: [bold]equic explain T204[/bold]
    """
    from equic.compiler.language.codes import Code
    from equic.compiler.language.codes import explain as page

    if code is None or len(code) == 1:
        listed = _complete(code or "")
        if listed:
            print("\n".join(f"{one}  {title}" for one, title in listed))
            return
    try:
        found = Code((code or "").upper())
    except ValueError:
        complaints.print(f"[red]error[/red]: there is no code `{code}`; codes look like T204")
        raise typer.Exit(2) from None
    print(page(found))
