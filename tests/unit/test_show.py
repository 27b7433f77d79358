"""`equic show`: the levels, the passes, and why a verdict is what it is."""

import ast
import json
import sys
from pathlib import Path

import pytest
from equic.compiler.pipeline import compile_file
from equic.compiler.why import causes, render_why
from typer.testing import CliRunner

from equic.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples"
ETHANOL = str(EXAMPLES / "01_ethanol/spec.yaml")
TWO_BODY = str(EXAMPLES / "05_two_body/spec.yaml")
RUN = CliRunner()


def shown(*arguments: str) -> str:
    result = RUN.invoke(app, ["show", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_an_exact_output_has_no_causes():
    done = compile_file(ETHANOL)
    assert causes(done, "forces") == ()
    assert "SO(3): exact" in render_why(done, "forces")


def test_what_is_not_continuous_says_where_it_jumps():
    """A layer that divides by the number of neighbours."""
    model = ["model={architecture: egnn, channels: 4, layers: 1, reduce: mean}"]
    done = compile_file(ETHANOL, model)
    text = render_why(done, "energy")
    assert "not continuous, by" in text
    assert "divides by the number of neighbours, which changes at once" in text
    assert "not continuous" not in render_why(compile_file(ETHANOL), "energy")


def test_every_cause_names_its_op_its_line_its_reason_and_its_way():
    dense = ["symmetry={SO(2): free, translation: free}", "model={architecture: hnn, hidden: [8]}"]
    done = compile_file(TWO_BODY, dense)
    found = causes(done, "derivatives")
    assert {cause.factor for cause in found} == {"SO(2)", "translation"}
    for cause in found:
        assert cause.chain[0] == cause.op
        assert cause.chain[-1] == "derivatives"
        assert cause.reason
        assert ":" in cause.place
    text = render_why(done, "derivatives")
    assert "translation: broken" in text
    assert "absolute positions" in text


def test_the_graph_after_a_pass_can_be_looked_at():
    before, after = shown(ETHANOL, "--after", "infer_types"), shown(ETHANOL, "--after", "prune_dead_irreps")
    line = next(line for line in before.splitlines() if "layer2.power" in line)
    assert '"out": "16x0e+16x1o"' in line
    line = next(line for line in after.splitlines() if "layer2.power" in line)
    assert '"out": "16x0e"' in line


def test_the_plan_is_json():
    assert json.loads(shown(ETHANOL, "--emit", "plan"))["name"] == "ethanol"


def test_the_graph_can_be_seen_before_and_after_a_pass():
    plain = shown(ETHANOL, "--emit", "svg")
    assert plain.startswith("<svg")
    assert "all_species" in shown(ETHANOL, "--emit", "svg", "--after", "fold_species_products")
    assert "all_species" not in plain


def test_the_model_can_be_read_as_python():
    tree = ast.parse(shown(ETHANOL, "--emit", "torch"))
    assert next(node.name for node in tree.body if isinstance(node, ast.ClassDef)) == "Model"
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"torch"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--emit", "onnx"], "choose graph, spec, plan"),
        (["--after", "nothing"], "in order they are"),
        (["--why", "dipole"], "choose energy, forces"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(arguments, words):
    result = RUN.invoke(app, ["show", ETHANOL, *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


@pytest.mark.parametrize("name", ["mace", "painn", "allegro", "hnn"])
def test_each_level_of_a_preset_compiles_to_the_same_graph(name, tmp_path):
    from equic.compiler.ir.graph import graph_hash
    from equic.compiler.language.diagnostics import Report
    from equic.compiler.language.source import source_from_text
    from equic.compiler.pipeline import compile_spec

    from equic.show import level_of, model_yaml

    def compiled(text):
        report = Report()
        done = compile_spec(source_from_text(text, report=report), report)
        assert done.ok, [str(one) for one in report.diagnostics]
        return done

    state = name == "hnn"
    head = "equic: 1\nname: a\n" + (
        "system: {kind: phase_space, coordinates: {q: 1}}\n"
        "constraints: {hamiltonian: {separable: true, masses: [1]}}\n"
        "targets: {derivatives: {flow_of: hamiltonian}}\n"
        if state
        else "system: {kind: atoms, species: [H, O], cutoff: 4.0 Å}\nsymmetry: {O(3): hard}\n"
        "targets: {energy: {per: system, rep: 0e, unit: eV}}\n"
    )
    first = compiled(f"{head}model: {{architecture: {name}}}\n")
    for level in (1, 2, 3):
        again = compiled(head + model_yaml(first, level))
        assert level_of(again) == level
        assert graph_hash(again.graph) == graph_hash(first.graph)


def test_a_level_below_that_of_the_spec_is_refused(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "equic: 1\nname: a\nsystem: {kind: atoms, species: [H], cutoff: 4.0 Å}\n"
        "targets: {energy: {per: system, rep: 0e, unit: eV}}\n"
        "model: {features: {node: 4x0e}, blocks: [{kind: mp, carry: 4x0e, message: {irreps: 4x0e}}]}\n",
        encoding="utf-8",
    )
    run = CliRunner().invoke(app, ["show", str(spec), "--level", "1"])
    assert run.exit_code == 2
    assert "written at level 2" in run.output
