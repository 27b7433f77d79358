"""The page of the language, its schema and the compiler agree."""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from equic.compiler.ir.ops.activations import Activation
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.json_schema import schema_text, spec_schema
from equic.compiler.language.nodes import plain
from equic.compiler.language.page_tables import PAGES as PAGE_NAMES
from equic.compiler.language.page_tables import preset_examples, table_names, with_tables
from equic.compiler.language.presets import load_preset, preset_names
from equic.compiler.language.source import load_source, source_from_text
from equic.compiler.language.yaml_loader import load_yaml
from equic.compiler.pipeline import compile_file, compile_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from equic.cli import app
from equic.show import graph_yaml

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "specs" / name).read_text(encoding="utf-8") for name in PAGE_NAMES}
PAGE = PAGES["README.md"]
WHOLE = "".join(PAGES.values())
EXAMPLES = sorted((ROOT / "examples").glob("*/spec.yaml"))
GENERATED = {"ops", "presets", "parameters"}
MEND = "the language has changed: run `equic schema --write` and commit"

ATOMS = """\
equic: 1
name: a
system: {kind: atoms, species: [H], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets: {energy: {per: system, rep: 0e, unit: eV}}
model: {architecture: mace, channels: 4, lmax: 1}
"""
STATE = """\
equic: 1
name: s
system: {kind: phase_space, coordinates: {q1: 2, q2: 2}}
constraints: {hamiltonian: {separable: true, masses: [1, 1]}}
targets: {derivatives: {flow_of: hamiltonian}}
model: {architecture: hnn}
"""


@lru_cache(maxsize=1)
def validator():
    schema = spec_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def read(text: str) -> dict:
    report = Report()
    source = source_from_text(text, report=report)
    assert not report.has_errors, report.diagnostics
    return source.data


def extending(text: str) -> dict:
    return {"extends": "base.yaml", **read(text)}


def problems(data) -> list[str]:
    return [error.json_path for error in validator().iter_errors(data)]


def page_specs() -> list[str]:
    """Every yaml block as a whole spec: one without `equic:` replaces sections of the last whole one."""
    specs, whole = [], {}
    for block in re.findall(r"```yaml\n(.*?)```", WHOLE, re.DOTALL):
        data = read(block)
        if "equic" in data:
            whole = data
        specs.append(json.dumps({**whole, **data}, ensure_ascii=False))
    return specs


def test_the_schema_is_up_to_date():
    assert (ROOT / "specs/schema.json").read_text(encoding="utf-8") == schema_text(), MEND


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_the_tables_are_up_to_date(name):
    assert with_tables(PAGES[name]) == PAGES[name], MEND


def test_one_reads_the_page():
    assert PAGE.count("\n") < 700
    for name in PAGE_NAMES[1:]:
        assert f"]({name})" in PAGE
        assert "](README.md)" in PAGES[name]


def test_every_definition_has_a_table():
    definitions = spec_schema()["$defs"]
    expected = {
        name
        for name, one in definitions.items()
        if not name.endswith("Partial")
        and name not in ("Search", "RepeatStateModel", "GraphModel")
        and not name.startswith("Preset_")
        and ("kind" not in one["properties"] or name.endswith(("Block", "System", "Model")))
    }
    assert sorted(table_names(WHOLE)) == sorted(expected | GENERATED)


def test_every_key_is_on_the_page():
    definitions = spec_schema()["$defs"]
    keys = {key for one in definitions.values() for key in one["properties"]}
    for key in sorted(keys):
        assert re.search(rf"`{key}`|\b{key}:", WHOLE), key
    for function in get_args(Activation):
        assert f"`{function}`" in WHOLE, function


def test_every_key_but_those_of_ops_is_in_an_example():
    blocks = "".join(re.findall(r"```yaml\n(.*?)```", WHOLE, re.DOTALL))
    definitions = spec_schema()["$defs"]
    for name in set(table_names(WHOLE)) - GENERATED - {"Dial"}:
        for key in definitions[name]["properties"]:
            assert key == "extends" or re.search(rf"\b{key}:", blocks), f"{name}.{key}"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_compiles_as_it_is_written_on_the_page(name):
    example = preset_examples(spec_schema()["$defs"])[name]
    (written,) = re.findall(rf"`(\{{architecture: {name}\b.*?\}})`", PAGE)
    assert read(f"model: {written}") == {"model": example}
    data = read(ATOMS if load_preset(name).kind == "atoms" else STATE)
    if name in ("facet", "equiformer"):  # they keep less than O(3)
        data["symmetry"] = {"SO(3)": {"hard": {"within": 1.0}}} if name == "facet" else {"SO(3)": "hard"}
    if name == "pet":
        data["symmetry"] = {"O(3)": "free"}
    if name == "mlp":
        del data["constraints"]
        data["targets"] = {"derivatives": {}}
    report = Report()
    text = json.dumps({**data, "model": example}, ensure_ascii=False)
    done = compile_spec(source_from_text(text, report=report), report)
    assert done.ok, [str(one) for one in report.diagnostics]


@pytest.mark.parametrize("text", page_specs(), ids=lambda text: json.loads(text)["name"])
def test_every_block_compiles_and_fits_the_schema(text):
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report)
    assert done.ok, [str(one) for one in done.report.diagnostics]
    assert not problems(read(text))


def test_every_key_is_described():
    definitions = spec_schema()["$defs"]
    presets = [name for name in definitions if name.startswith("Preset_") and not name.endswith("Partial")]
    for name in (*set(table_names(WHOLE)) - GENERATED - {"Dial"}, *presets):
        one = definitions[name]
        assert one.get("description"), name
        for key, schema in one["properties"].items():
            assert schema.get("description"), f"{name}.{key}"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_fit_the_schema_at_every_level(path):
    assert not problems(load_source(path, Report()).data)
    done = compile_file(str(path))
    explicit = read(graph_yaml(done))
    whole = {**{key: value for key, value in done.source.data.items() if key != "extends"}, **explicit}
    assert not problems(whole)


@pytest.mark.parametrize("name", preset_names())
def test_specs_of_every_preset_fit_the_schema(name):
    preset = load_preset(name)
    data = read(ATOMS if preset.kind == "atoms" else STATE)
    defaults = {key: one.default for key, one in preset.parameters.items()}
    listed = {key: list(one) if isinstance(one, tuple) else one for key, one in defaults.items()}
    assert not problems({**data, "model": {"architecture": name, **listed}})
    assert problems({**data, "model": {"architecture": name, "chanels": 3}})


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ("symmetry: {O(3): hardd}", "symmetry"),
        ("symmetry: {O3: hard}", "symmetry"),
        ("symmetry: {O(3): {relaxed: 2}}", "symmetry"),
        ("train: {epoch: 3}", "train"),
        ("train: {epochs: 0}", "train"),
        ("train: {learning_rate: {search: {low: 1}}}", "train"),
        ("system: {kind: atoms, species: [Hx], cutoff: 4 Å}", "system"),
        ("system: {kind: atoms, species: [H]}", "system"),
        ("model: {architecture: macee}", "model"),
        ("model: {features: {node: 4x0e}, blocks: [{kind: mpp}]}", "model"),
        ("equic: 2", "equic"),
        ("colour: red", "$"),
    ],
)
def test_mistakes_are_found_at_their_place(change, at):
    found = problems({**read(ATOMS), **read(change)})
    assert found
    assert any(at in path for path in found)


def test_a_spec_that_extends_another_may_leave_keys_out():
    assert not problems(extending("model: {channels: 8}\ndata: {train: {path: other.xyz}}"))
    assert not problems(extending("system: {cutoff: 6 Å}\nsymmetry: {O(3): {relaxed: 0.1}}"))
    assert problems(extending("model: {chanels: 8}"))
    assert problems(extending("system: {cutof: 6 Å}"))
    assert problems(read("name: b\nmodel: {channels: 8}"))


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests/diagnostics").glob("*.md")), ids=lambda file: file.stem
)
def test_whatever_compiles_fits_the_schema(file):
    blocks = re.findall(r"^```(?:yaml|mended)\n(.*?)^```$", file.read_text(encoding="utf-8"), re.M | re.S)
    for text in blocks:
        report = Report()
        source = source_from_text(text, report=report, directory=file.parent)
        if source is not None and compile_spec(source, report).ok:
            written = plain(load_yaml(text, "spec.yaml", Report()))
            assert not problems(written), text


SEARCHES = st.one_of(
    st.tuples(st.integers(1, 8), st.integers(9, 16)).map(lambda ends: {"low": ends[0], "high": ends[1]}),
    st.lists(st.integers(1, 16), min_size=2, max_size=4, unique=True),
    st.lists(st.integers(1, 16), min_size=2, max_size=4, unique=True).map(lambda found: {"choices": found}),
)
PLACES = (
    "model.channels",
    "model.layers",
    "train.epochs",
    "train.batch",
    "train.learning_rate",
    "train.clip",
)


@given(place=st.sampled_from(PLACES), search=SEARCHES)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_what_the_compiler_searches_the_schema_accepts(place, search):
    data = read(ATOMS)
    section, key = place.split(".")
    data.setdefault(section, {})[key] = {"search": search}
    report = Report()
    done = compile_spec(source_from_text(json.dumps(data, ensure_ascii=False), report=report), report)
    assert done.ok, [str(one) for one in report.diagnostics]
    assert len(done.spaces) == 1
    assert not problems(data)


def test_the_command_prints_the_schema():
    run = CliRunner().invoke(app, ["schema"])
    assert run.exit_code == 0
    assert json.loads(run.output) == spec_schema()
