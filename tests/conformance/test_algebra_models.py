"""Whole models with ops of representation algebra: compiled, built, and held to what the checker proves of them."""

import importlib.util
import sys

import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.emit import emit_torch
from equic.runtime.plan import Plan
from equic.runtime.testing.inputs import random_atoms_inputs, random_rotation, rotate_inputs
from torch.fx.experimental.proxy_tensor import make_fx

from ..small_specs import GRAPH_LAYER

SPEC = """\
equic: 1
name: algebra
system: {{kind: atoms, species: [H, O], cutoff: 4.0 Å}}
symmetry: {symmetry}
targets:
  energy: {{per: system, rep: 0e, unit: eV}}
{forces}
model:
  graph:
{layer}{ops}
    one: {{kind: linear, of: result, out: 1x0e}}
    atomic: {{kind: shift_scale, of: one, species: species, unit: eV}}
    energy: {{kind: reduce, of: atomic, to: system}}
"""
FORCES = "  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}\n"


def compiled(ops, symmetry="{O(3): hard}", forces=True):
    lines = "\n".join(f"    {line}" for line in ops.strip().splitlines())
    text = SPEC.format(layer=GRAPH_LAYER, ops=lines, symmetry=symmetry, forces=FORCES if forces else "")
    report = Report()
    return compile_spec(source_from_text(text, report=report), report, debug=True)


def errors(model, inputs, element):
    """The relative change of the energy, and of the forces turned back, under an element of O(3)."""
    plain, turned = model(inputs), model(rotate_inputs(inputs, element))
    energy = (plain["energy"] - turned["energy"]).abs().max() / plain["energy"].std()
    if "forces" not in plain:
        return float(energy), 0.0
    forces = (plain["forces"] @ element.T - turned["forces"]).abs().max() / plain["forces"].abs().max()
    return float(energy), float(forces)


def model_of(done):
    done.report.raise_if_errors()
    plan = Plan.from_json(done.plan)
    return build_module(plan, seed=1, dtype=torch.float64), random_atoms_inputs(plan, 3, 6, seed=2)


UVW = """
attributes: {kind: reduce, of: harmonics, to: node, norm: average}
result: {kind: product, of: [nodes, attributes], irreps: 6x0e+3x1o, mode: uvw}
"""
SQUARE = "result: {kind: product, of: [nodes, nodes], irreps: 4x0e+4x1e, mode: uuu}"
ABOUT_EDGE = """
there: {{kind: gather, of: nodes}}
axes: {{kind: frame, of: [vectors], lmax: 2}}
inside: {{kind: to_frame, of: [there, axes]}}
mixed: {{kind: so2, of: inside, out: 9x0e+3x1o+2x2e, mmax: 1{keep}}}
lengths_inside: {{kind: norms, of: mixed}}
weights_inside: {{kind: mlp, of: lengths_inside, widths: [], out: 14}}
weighed: {{kind: weigh, of: mixed, by: weights_inside}}
gated: {{kind: act, of: weighed, form: gate}}
again: {{kind: so2, of: gated, out: 4x0e+3x1o+2x2e{keep}}}
back: {{kind: from_frame, of: [again, axes]}}
pooled: {{kind: reduce, of: back, to: node}}
result: {{kind: power, of: even, species: species, order: 2, out: 3x0e}}
even: {{kind: linear, of: pooled, out: 3x0e+3x1o+3x2e}}
"""
PCA = """
axes: {kind: frame, form: pca, of: [positions], lmax: 2}
inside: {kind: to_frame, of: [nodes, axes]}
changed: {kind: mlp, of: inside, widths: [8], out: 36}
back: {kind: from_frame, of: [changed, axes], irreps: 4x0e+4x1o+4x2e}
result: {kind: act, of: back, form: norm}
"""


SPHERE = """
rough: {{kind: act, of: nodes, form: s2, f: silu{degree}}}
values: {{kind: sample, of: rough, degree: 14}}
mixed: {{kind: mlp, of: values, widths: [6], out: 4}}
smooth: {{kind: unsample, of: mixed}}
product: {{kind: product, of: [smooth, nodes], irreps: 4x0e+4x1o+4x2e, mode: s2grid}}
result: {{kind: norm, of: product}}
"""


def test_an_approximate_verdict_reaches_the_claims_with_the_sum_of_errors():
    done = compiled(SPHERE.format(degree=""), "{O(3): {hard: {within: 1e-2}}}")
    model, inputs = model_of(done)
    claims = {claim.factor: claim for claim in model.plan.claims}
    for factor in ("SO(3)", "inversion"):
        assert claims[factor].verdict == "approximate"
        assert claims[factor].ops == ("rough", "smooth")
        assert claims[factor].within == 1e-2
        assert 3e-3 < claims[factor].eps < 8e-3
    assert claims["translation"].verdict == "exact"
    energy, forces = errors(model, inputs, random_rotation(3))
    assert 1e-7 < energy < 1e-2
    assert forces < 5e-2
    refused = compiled(SPHERE.format(degree=""), "{O(3): {hard: {within: 1e-3}}}")
    (error,) = refused.report.errors
    assert error.code == "T230"
    assert "with 1 more" in error.message
    finer, _ = model_of(compiled(SPHERE.format(degree=", degree: 16"), "{O(3): {hard: {within: 2e-3}}}"))
    assert finer.plan.claims[0].eps < claims["SO(3)"].eps - 3e-3


@pytest.mark.parametrize(
    "ops", [UVW, SQUARE, ABOUT_EDGE.format(keep=", keep: O(3)")], ids=["uvw", "uuu", "so2"]
)
def test_a_model_is_exact_where_the_checker_says_so(ops):
    done = compiled(ops)
    model, inputs = model_of(done)
    for element in (random_rotation(3), random_rotation(4, improper=True)):
        assert max(errors(model, inputs, element)) < 1e-10


MODELS = {
    "uvw": (UVW, "hard"),
    "uuu": (SQUARE, "hard"),
    "so2": (ABOUT_EDGE.format(keep=", keep: O(3)"), "hard"),
    "sphere": (SPHERE.format(degree=""), "{hard: {within: 0.1}}"),
    "pca": (PCA, "hard"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_traced_and_written_out_as_it_is(name, tmp_path):
    ops, mode = MODELS[name]
    model, inputs = model_of(compiled(ops, f"{{O(3): {mode}}}", forces=False))
    expected = model(inputs)
    # as one file of plain torch
    path = tmp_path / "written.py"
    path.write_text(emit_torch(model.plan))
    spec = importlib.util.spec_from_file_location(f"written_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    written = module.Model().to(torch.float64)
    written.load_state_dict(model.state_dict(), strict=False)
    # as a symbolic trace at another size
    model = model.requires_grad_(False)
    other = random_atoms_inputs(model.plan, 17, 2, seed=0)

    def function(*values):
        return model(dict(zip(inputs, values, strict=True)))

    trace = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    traced = trace(*(other[key] for key in inputs))(*inputs.values())
    for found in (written(inputs), traced):
        for target, value in expected.items():
            torch.testing.assert_close(found[target], value, rtol=1e-10, atol=1e-10)


def test_maps_about_an_edge_lower_o3_to_so3():
    refused = compiled(ABOUT_EDGE.format(keep=""))
    first = refused.report.errors[0]
    assert first.code == "T201"
    assert (
        "`again` breaks inversion: it mixes +m and -m about the edge"
        in {e.message for e in refused.report.errors}.__str__()
    )
    model, inputs = model_of(compiled(ABOUT_EDGE.format(keep=""), "{SO(3): hard}"))
    assert max(errors(model, inputs, random_rotation(3))) < 1e-10
    assert min(errors(model, inputs, -torch.eye(3, dtype=torch.float64))) > 1e-3


def test_principal_axes_are_exact_for_an_energy_without_forces():
    model, inputs = model_of(compiled(PCA, forces=False))
    for element in (random_rotation(3), random_rotation(4, improper=True)):
        assert errors(model, inputs, element)[0] < 1e-10
