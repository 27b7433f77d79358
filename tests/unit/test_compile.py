"""From spec to plan: levels, modes, verdicts, structure."""

import math
import re
from pathlib import Path

import pytest
from equic.compiler.ir.graph import validate_graph
from equic.compiler.ir.text import render_graph
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import Compilation, compile_file, compile_spec
from equic.compiler.summary import summarize

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/spec.yaml"))
ETHANOL = EXAMPLES[0]


def compiled(path: Path, *overrides: str) -> Compilation:
    done = compile_file(str(path), overrides)
    assert done.ok, str(done.report.diagnostics)
    return done


def from_text(text: str) -> Compilation:
    report = Report()
    return compile_spec(source_from_text(text, report=report), report, debug=True)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_compile_to_valid_typed_graphs(path):
    done = compiled(path)
    validate_graph(done.graph)
    assert done.graph.is_typed
    assert not done.report.diagnostics


@pytest.mark.parametrize(
    "symmetry",
    ["{O(3): hard}", "{O(3): {relaxed: 0.1}}", "{O(3): free}", "{SO(3): hard, inversion: {relaxed: 0.3}}"],
)
def test_levels_one_and_three_are_the_same_graph(symmetry, tmp_path):
    first = compiled(ETHANOL, f"symmetry={symmetry}")
    text = ETHANOL.read_text(encoding="utf-8").replace("../data", str(ETHANOL.parents[1] / "data"))
    explicit = re.sub(r"(?m)^model:.*\n", lambda _: render_graph(first.graph), text)
    spec = tmp_path / "spec.yaml"
    spec.write_text(explicit, encoding="utf-8")
    third = compiled(spec, f"symmetry={symmetry}")
    assert third.plan["graph_hash"] == first.plan["graph_hash"]


def test_levels_one_and_two_are_the_same_graph(tmp_path):
    first = compiled(ETHANOL)
    blocks = """\
model:
  features: {node: 16x0e, radial: {count: 8, envelope: 5}, harmonics: 2}
  blocks:
    - kind: repeat
      times: 2
      block:
        kind: mp
        carry: 16x(0..1)
        message: {irreps: 16x(0..2), radial: [32, 32]}
        power: {order: 2}
        skip: species
      first: {mix: species, skip: none}
"""
    text = re.sub(r"(?m)^model:.*\n", blocks, ETHANOL.read_text(encoding="utf-8"))
    spec = tmp_path / "spec.yaml"
    spec.write_text(text, encoding="utf-8")
    assert compiled(spec).plan["graph_hash"] == first.plan["graph_hash"]


def test_relaxed_by_zero_is_hard_and_free_is_relaxed_by_one():
    def graph(symmetry):
        return compiled(ETHANOL, f"symmetry={symmetry}").plan["graph_hash"]

    hard = graph("{O(3): hard}")
    assert graph("{O(3): {relaxed: 0}}") == hard
    assert graph("{SO(3): hard, inversion: hard}") == hard
    assert graph("{O(3): {relaxed: 0.1}}") != hard
    assert graph("{O(3): free}") == graph("{O(3): {relaxed: 1}}") == graph("{}") != hard


def claims(done):
    return {claim["factor"]: (claim["mode"], claim["verdict"]) for claim in done.plan["claims"]}


def test_verdicts_follow_the_modes():
    found = claims(compiled(ETHANOL, "symmetry={SO(3): hard, inversion: {relaxed: 0.3}}"))
    assert found == {
        "SO(3)": ("hard", "exact"),
        "inversion": ("relaxed", "broken"),
        "translation": ("hard", "exact"),
        "permutation": ("hard", "exact"),
    }
    assert claims(compiled(ETHANOL, "symmetry={O(3): free}"))["SO(3)"] == ("free", "broken")


def test_the_last_layer_carries_invariants_alone():
    """Not declared anywhere: derived by pruning."""
    graph = compiled(ETHANOL).graph
    assert str(graph["layer1.update"].op.out) == "16x0e+16x1o"
    assert str(graph["layer2.power"].op.out) == "16x0e"


def test_smoothness_and_reach_are_inferred():
    done = compiled(ETHANOL)
    assert done.plan["smoothness"] == {"energy": 3, "forces": 2, "stress": 2, "node_energy": 3}
    assert done.plan["locality"]["energy"] == pytest.approx(2 * 4.5)


TWO_BODY = next(path for path in EXAMPLES if "two_body" in str(path))


def test_a_pair_energy_conserves_what_noether_says():
    done = compiled(TWO_BODY)
    assert {one["quantity"]: one["holds"] for one in done.plan["conserved"]} == {
        "energy": True,
        "momentum": True,
        "angular momentum": True,
    }
    assert done.plan["system"]["separable"]


def test_a_dense_hamiltonian_conserves_energy_alone_and_says_why():
    overrides = ["symmetry={SO(2): free, translation: free}", "model={architecture: hnn, hidden: [8]}"]
    done = compiled(TWO_BODY, *overrides)
    found = {one["quantity"]: one for one in done.plan["conserved"]}
    assert [found[name]["holds"] for name in ("energy", "momentum", "angular momentum")] == [
        True,
        False,
        False,
    ]
    assert "absolute positions" in found["momentum"]["broken_by"]


def test_a_dense_hamiltonian_is_refused_under_hard_symmetry():
    done = compile_file(str(TWO_BODY), ["model={architecture: hnn, hidden: [8]}"])
    messages = [one.message for one in done.report.errors]
    assert any("breaks SO(2)" in message for message in messages)
    assert any("breaks translation" in message for message in messages)


def test_a_free_field_conserves_nothing():
    done = compiled(
        TWO_BODY,
        "symmetry={}",
        "constraints={}",
        "targets={derivatives: {}}",
        "model={architecture: mlp, hidden: [8]}",
    )
    assert [one["holds"] for one in done.plan["conserved"]] == [False]
    assert done.plan["system"]["structure"] == "free"


def test_units_of_labels_are_converted():
    done = compiled(ETHANOL, "data.train.labels.energy.unit=kcal/mol")
    factor = done.plan["data"]["sets"]["train"]["labels"]["energy"]["factor"]
    assert math.isclose(factor, 0.0433641, rel_tol=1e-5)


def test_the_summary_counts_what_the_module_has():
    torch = pytest.importorskip("torch")
    from equic.runtime.build import build_module
    from equic.runtime.plan import Plan

    for path in EXAMPLES:
        for symmetry in (
            "{O(3): hard}",
            "{O(3): {relaxed: 0.5}}",
            "{SO(3): hard, inversion: {relaxed: 0.3}}",
        ):
            atoms = "atoms" in path.read_text(encoding="utf-8")
            done = compiled(path, *([f"symmetry={symmetry}"] if atoms else []))
            module = build_module(Plan.from_json(done.plan), dtype=torch.float32)
            count = sum(value.numel() for value in module.parameters())
            assert summarize(done).parameters == count, (path, symmetry)


def test_plans_are_json_and_round_trip():
    import json

    from equic.runtime.plan import Plan

    for path in EXAMPLES:
        plan = compiled(path).plan
        assert json.loads(json.dumps(plan)) == plan
        assert Plan.from_json(plan).to_json() == plan


POINTWISE = """\
equic: 1
name: pointwise
system: {kind: atoms, species: [H, C, O], cutoff: 4.5 Å}
symmetry:
  O(3): MODE
targets: {energy: {per: system, rep: 0e, unit: eV}, forces: {gradient_of: energy, wrt: positions, scale: -1}}
model:
  features: {node: 8x0e, harmonics: 2}
  blocks:
    - kind: mp
      carry: 8x0e+8x1o
      message: {irreps: 8x(0..2), radial: [16]}
      act: {form: pointwise, f: silu}
    - kind: mp
      carry: 8x0e
      message: {irreps: 8x(0..2), radial: [16]}
"""


def test_a_pointwise_activation_on_vectors_is_refused_with_its_line():
    done = from_text(POINTWISE.replace("MODE", "hard"))
    (error,) = done.report.errors
    assert error.code == "T205"
    assert error.span.start.line == 13
    assert "8x1o" in error.message
    assert error.related[0][0].start.line == 5


def test_the_same_activation_compiles_when_the_symmetry_is_free():
    done = from_text(POINTWISE.replace("MODE", "free"))
    assert done.ok
    assert claims(done)["SO(3)"] == ("free", "broken")


def test_gates_and_norms_are_accepted_in_its_place():
    for form in ("gate", "norm"):
        done = from_text(POINTWISE.replace("MODE", "hard").replace("form: pointwise", f"form: {form}"))
        assert done.ok, done.report.diagnostics
        assert claims(done)["SO(3)"] == ("hard", "exact")
