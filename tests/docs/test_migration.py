"""The page for those who come from another program: what it names on our side exists."""

import json
import re
from functools import lru_cache
from pathlib import Path

import pytest
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.presets import load_preset, preset_names
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from typer.main import get_command

from equic.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "specs/MIGRATION.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "specs/schema.json").read_text(encoding="utf-8"))
SECTIONS = {part.split("\n", 1)[0]: part for part in PAGE.split("\n## ")[1:]}
ROW = re.compile(r"^\| (.+?) \| (.+?) \|(.*)\|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    """(section, their key, our cell) for every line of a table."""
    return [
        (name, match[1], match[2])
        for name, text in SECTIONS.items()
        for match in ROW.finditer(text)
        if match[1] != "---" and match[2] != "here"
    ]


def ours() -> list[tuple[str, str]]:
    return sorted({(name, code) for name, _, cell in rows() for code in re.findall(r"`([^`]+)`", cell)})


@lru_cache(maxsize=1)
def definitions():
    return SCHEMA["$defs"]


def members(node):
    """Every schema that a node stands for: itself, what it refers to, and the members of its unions."""
    node = dict(node)
    yield node
    if "$ref" in node:
        yield from members(definitions()[node["$ref"].rsplit("/", 1)[1]])
    branches = [node[word] for word in ("then", "else") if word in node]
    for part in [*branches, *(one for word in ("anyOf", "oneOf", "allOf") for one in node.get(word, ()))]:
        yield from members(part)


def exists(path: tuple[str, ...]) -> bool:
    """Whether a dotted path leads somewhere in the schema; names of targets and labels are free."""
    nodes = list(members(SCHEMA))
    for part in path:
        below = []
        for node in nodes:
            if part in node.get("properties", {}):
                below += members(node["properties"][part])
            elif isinstance(node.get("additionalProperties"), dict):
                below += members(node["additionalProperties"])
        if not below:
            return False
        nodes = below
    return True


@pytest.mark.parametrize(("section", "code"), ours())
def test_what_we_name_exists(section, code):
    if code.startswith("equic "):
        words = code.split()
        command = get_command(app).commands[words[1]]
        if len(words) > 2 and not words[2].startswith("-"):
            command = command.commands[words[2]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
        return
    path = tuple(code.split("."))
    assert exists(path), code
    if (
        path[0] == "model"
        and len(path) == 2
        and path[1] not in ("architecture", "features", "blocks", "graph")
    ):
        name = {
            "MACE": "mace",
            "NequIP": "nequip",
            "Hamiltonian": "hnn",
            "apax": "mace",
            "metatrain": "pet",
            "DeePMD-kit": "deepmd_se_e2_a",
            "Allegro": "nequip_allegro",
        }[section.split(" ")[0]]
        assert path[1] in load_preset(name).parameters, code


def test_a_path_that_leads_nowhere_is_noticed():
    assert exists(("train", "loss", "anything", "weight"))
    assert not exists(("train", "lerning_rate"))
    assert not exists(("data", "train", "labels", "energy", "keys"))


def test_every_row_says_something():
    found = rows()
    assert len(found) > 100
    for section, theirs, cell in found:
        assert cell == "–" or "`" in cell, (section, theirs)
    for section in ("MACE", "NequIP", "Hamiltonian", "escnn", "apax", "metatrain", "DeePMD-kit", "Allegro"):
        assert any(name.startswith(section) for name, _, _ in found)


@pytest.mark.parametrize(
    "text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL), ids=lambda text: text.split("\n")[1]
)
def test_every_spec_compiles(text):
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report)
    report.raise_if_errors()
    assert done.ok


def test_architectures_that_are_named_exist():
    named = set(re.findall(r"architecture: (\w+)", PAGE))
    assert named <= set(preset_names())
    assert {"mace", "nequip", "hnn"} <= named


def test_the_page_can_be_found():
    for place in ("README.md", "specs/README.md"):
        assert "MIGRATION.md" in (ROOT / place).read_text(encoding="utf-8"), place
