"""The table of citations and its users name the same papers; both renderings keep every fact."""

import json
import re
from pathlib import Path

import pytest
from equic.compiler.citations import CITATIONS
from equic.compiler.ir.ops import OPS
from equic.compiler.language.presets import load_preset, preset_names
from typer.testing import CliRunner

from equic.cli import app

ROOT = Path(__file__).parents[2]
KEY = re.compile(r"\b[a-z]{2,}(?:19|20)\d\d[a-z]\w*\b")
ARXIV = re.compile(r"\d{4}\.\d{4,5}")
SPEC = str(ROOT / "examples/03_pendulum/spec.yaml")


def declared_keys() -> set[str]:
    ops = {op.reference for op in OPS} - {"definition"}
    return ops | {key for name in preset_names() for key in load_preset(name).cites}


def docstring_keys() -> set[str]:
    files = (path for folder in ("runtime", "equic") for path in (ROOT / folder).rglob("*.py"))
    lines = (line for path in files for line in path.read_text(encoding="utf-8").splitlines())
    return {key for line in lines if "Reference:" in line for key in KEY.findall(line)}


def test_every_key_is_in_the_table_and_every_paper_is_used():
    assert declared_keys() <= set(CITATIONS)
    assert docstring_keys() <= set(CITATIONS)
    assert set(CITATIONS) <= declared_keys() | docstring_keys()


def test_the_search_for_keys_finds_some():
    assert {"shoemake1992uniform", "geiger2022e3nn"} <= docstring_keys()


@pytest.mark.parametrize("key", CITATIONS)
def test_a_key_is_made_of_the_first_author_and_the_year(key):
    one = CITATIONS[key]
    family = one.authors[0].split()[-1].lower().replace("ü", "u")
    assert key.startswith(f"{family}{one.year}")
    assert one.doi or one.arxiv or one.kind == "incollection"
    assert not one.arxiv or ARXIV.fullmatch(one.arxiv)
    assert not one.doi or one.doi.startswith("10.")


@pytest.mark.parametrize("key", CITATIONS)
def test_bibtex_is_balanced_ascii_with_every_fact(key):
    one, entry = CITATIONS[key], CITATIONS[key].bibtex(key)
    assert entry.isascii()
    assert entry.count("{") == entry.count("}")
    for line in entry.splitlines()[1:-1]:
        assert re.fullmatch(r"  \w+ = \{.+\},", line), line
    for fact in (str(one.year), one.doi, one.arxiv, one.pages.replace("–", "--")):
        assert fact in entry
    assert entry.count(" and ") >= len(one.authors) - 1


def test_names_are_shortened_to_initials():
    assert CITATIONS["schutt2017schnet"].text().startswith("K. T. Schütt, P.-J. Kindermans, H. E. Sauceda")


def cite(*arguments):
    return CliRunner().invoke(app, ["cite", *arguments])


def test_cite_lists_the_papers_of_a_spec():
    run = cite(SPEC)
    assert run.exit_code == 0, run.output
    assert "Hamiltonian Neural Networks" in run.output
    assert "Steerable" not in run.output


def test_cite_writes_bibtex_and_json():
    entries = cite(SPEC, "--bibtex").output
    assert "@inproceedings{greydanus2019hamiltonian," in entries
    facts = json.loads(cite(SPEC, "--json").output)
    assert {one["key"] for one in facts} == set(re.findall(r"@\w+\{(\w+),", entries))
    assert facts[0].keys() >= {"key", "authors", "title", "year"}


def test_cite_refuses_a_wrong_spec(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("equic: 1\nname: wrong\n", encoding="utf-8")
    assert cite(str(wrong)).exit_code == 2
