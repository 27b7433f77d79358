"""`equic schema`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import console


def schema(
    write: Annotated[
        bool,
        typer.Option("--write", help="write specs/schema.json and the tables of the pages beside it instead"),
    ] = False,
) -> None:
    """Print the JSON Schema of the language, for editors: it completes keys and marks mistakes.

    Example: [bold]equic schema > schema.json[/bold], and `# yaml-language-server: $schema=schema.json` as the first
    line of a spec.
    """
    from equic.compiler.language.json_schema import schema_text

    if not write:
        print(schema_text(), end="")
        return
    from importlib.resources import files

    from equic.compiler.language.page_tables import PAGES, with_tables

    folder = Path(str(files("equic.specs")))
    (folder / "schema.json").write_text(schema_text(), encoding="utf-8")
    for page in (folder / name for name in PAGES):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    console.print(f"wrote {folder / 'schema.json'} and the tables of {', '.join(PAGES)}")
