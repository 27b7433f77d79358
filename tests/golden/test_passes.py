"""Golden files of the passes: `PASS.md` holds a spec, and the graph before and after the pass.

`UPDATE_GOLDEN=1 pytest tests/golden` rewrites the blocks; continuous integration refuses to.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from equic.compiler.ir.graph import Graph, graph_hash, validate_graph
from equic.compiler.ir.text import parse_graph
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.elaborate import elaborate
from equic.compiler.language.levels import read_model
from equic.compiler.language.source import source_from_text
from equic.compiler.passes import OPTIMISATIONS, PASSES, Context
from equic.compiler.passes.context import scope_of
from equic.compiler.pipeline import parse_spec

FILES = sorted(Path(__file__).parent.glob("*.md"))
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)
REWRITES = ("relax_symmetry", "infer_types", "prove_permutation", "prune_dead_irreps")
BOTH = PASSES + OPTIMISATIONS


def before_and_after(text: str, name: str) -> tuple[Graph, Graph, Context]:
    report = Report()
    source = source_from_text(text, report=report)
    spec = parse_spec(source, report)
    model = read_model(spec, source, report)
    graph = elaborate(spec, model, source, report)
    context = Context(spec, source, scope_of(spec), report)
    for one in BOTH:
        after = one(graph, context)
        validate_graph(after)
        assert parse_graph(str(after)) == after.map(lambda node: replace(node, type=None))
        if one.__name__ == name:
            return graph, after, context
        graph = after
    raise AssertionError(f"no pass is called {name}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file):
    text = file.read_text(encoding="utf-8")
    blocks = dict(BLOCK.findall(text))
    before, after, _ = before_and_after(blocks["yaml"], file.stem)
    got = {"before": str(before), "after": str(after)}
    if os.environ.get("UPDATE_GOLDEN"):
        assert not os.environ.get("CI"), "golden files are not rewritten in continuous integration"
        for name, content in got.items():
            old, new = f"```{name}\n{blocks[name]}```", f"```{name}\n{content}```"
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
    else:
        assert got == {name: blocks[name] for name in got}


def test_every_rewriting_pass_has_a_golden_file():
    assert {file.stem for file in FILES} == {*REWRITES, *(one.__name__ for one in OPTIMISATIONS)}


def test_checks_change_nothing():
    text = dict(BLOCK.findall(FILES[0].read_text(encoding="utf-8")))["yaml"]
    for one in PASSES:
        if one.__name__.startswith("check_"):
            before, after, _ = before_and_after(text, one.__name__)
            assert graph_hash(before) == graph_hash(after)
