"""Golden files of what is chosen outside of the passes: `choices/NAME.md` holds a spec, and what `NAME` makes of it.

`UPDATE_GOLDEN=1 pytest tests/golden` rewrites the blocks; continuous integration refuses to.
"""

import os
import re
from pathlib import Path

import pytest
from equic.compiler.ir.graph import Graph, canonicalize, graph_hash
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import Compilation, compile_spec
from equic.compiler.symmetry.sphere import grid_for

FILES = sorted((Path(__file__).parent / "choices").glob("*.md"))
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)


def compiled(text: str) -> Compilation:
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report, debug=True)
    report.raise_if_errors()
    return done


def typed(text: str) -> Graph:
    graph = compiled(text).graph
    assert graph is not None
    return graph


def canonical(text: str) -> str:
    """The canonical text and the hash that it has."""
    graph = typed(text)
    return f"{canonicalize(graph)}{graph_hash(graph)}\n"


def grids(text: str) -> str:
    """Every op with a grid: the degree that it sums exactly, its points, and what that leaves of SO(3)."""
    done = compiled(text)
    types = done.graph.types()
    degrees = {
        step["name"]: step["params"]["degree"] for step in done.plan["steps"] if "degree" in step["params"]
    }
    lines = []
    for name, degree in degrees.items():
        points = "x".join(map(str, grid_for(degree)))
        lines.append(f"{name}: degree {degree}, {points} points, {types[name].hold('SO(3)')}\n")
    return "".join(lines)


MADE = {"canonicalize": ("canonical", canonical), "sphere_grids": ("grids", grids)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file):
    text = file.read_text(encoding="utf-8")
    blocks = dict(BLOCK.findall(text))
    name, make = MADE[file.stem]
    got = make(blocks["yaml"])
    if os.environ.get("UPDATE_GOLDEN"):
        assert not os.environ.get("CI"), "golden files are not rewritten in continuous integration"
        file.write_text(
            text.replace(f"```{name}\n{blocks[name]}```", f"```{name}\n{got}```"), encoding="utf-8"
        )
    else:
        assert got == blocks[name]
    if "same" in blocks:
        assert make(blocks["same"]) == got


def test_every_choice_has_a_golden_file():
    assert {file.stem for file in FILES} == set(MADE)
