"""Words of other programs: what they are mapped to exists, and mistakes of all sections come at once."""

import json
from pathlib import Path

import pytest
from equic.compiler.language import foreign
from equic.compiler.language.diagnostics import MOST, Report
from equic.compiler.language.presets import load_preset, preset_names
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from typer.testing import CliRunner

from equic.cli import app

SCHEMA = json.loads((Path(__file__).parents[2] / "specs/schema.json").read_text(encoding="utf-8"))
PARAMETERS = {name for preset in preset_names() for name in load_preset(preset).parameters}
SPECS = {
    "atoms": "system: {kind: atoms, species: [H, C], cutoff: 4.0 Å}\n"
    "targets: {energy: {per: system, rep: 0e, unit: eV}}\n",
    "phase_space": "system: {kind: phase_space, coordinates: {q: 1}}\ntargets: {derivatives: {flow_of: hamiltonian}}\n"
    "constraints: {hamiltonian: {separable: true}}\n",
}


def keys_of_schema(node=SCHEMA):
    found = set(node.get("properties", {})) if isinstance(node, dict) else set()
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        found |= keys_of_schema(part)
    return found


def test_every_place_exists():
    homes = {one for home, _ in foreign._KEYS.values() for one in home.split("|") if one}
    known = keys_of_schema()
    for home in homes:
        *block, key = home.split(".")
        assert key in (PARAMETERS if block == ["model"] else known), home


def test_no_key_of_ours_is_taken_for_a_foreign_one_of_its_block():
    for preset in preset_names():
        for name in load_preset(preset).parameters:
            assert foreign.our_key(name, load_preset(preset).parameters, ("model",)) in (None, name), (
                preset,
                name,
            )


def report_of(text):
    report = Report()
    source = source_from_text(f"equic: 1\nname: x\n{text}", report=report)
    compile_spec(source, report)
    return report


@pytest.mark.parametrize("preset", preset_names())
def test_a_mistake_elsewhere_hides_no_mistake_of_the_model_and_makes_none(preset):
    kind = load_preset(preset).kind
    if kind not in SPECS:
        pytest.skip("no spec of this kind here")
    sections = f"{SPECS[kind]}train: {{epoks: 3}}\n"
    assert [str(d.code) for d in report_of(f"{sections}model: {{architecture: {preset}}}\n").errors] == [
        "L101"
    ]
    both = report_of(f"{sections}model: {{architecture: {preset}, nonsense: 1}}\n")
    assert [str(d.code) for d in both.errors] == ["L101", "L119"]
    broken = SPECS[kind].replace("kind:", "sort: 1, kind:")
    both = report_of(f"{broken}model: {{architecture: {preset}, nonsense: 1}}\n")
    assert [str(d.code) for d in both.errors] == ["L101", "L119"]


@pytest.mark.parametrize("kind", ["[atoms]", "{a: 1}", "1", "null"])
def test_a_kind_that_is_no_word_is_reported(kind):
    broken = SPECS["atoms"].replace("kind: atoms", f"kind: {kind}")
    assert report_of(f"{broken}model: {{architecture: mace, nonsense: 1}}\n").has_errors


def test_json_counts_what_is_left_out(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(
        "equic: 1\nname: x\n" + SPECS["atoms"] + "model: {architecture: mace}\n"
        "train:\n" + "".join(f"  zz{k}: 1\n" for k in range(MOST + 30)),
        encoding="utf-8",
    )
    found = json.loads(CliRunner().invoke(app, ["check", str(file), "--json"]).stdout)
    assert len(found["diagnostics"]) == MOST
    assert found["left_out"] == 30
