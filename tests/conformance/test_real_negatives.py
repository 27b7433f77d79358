"""Models of the field that claim more symmetry than they have: refused, with the reason, and measured to break it."""

import pytest
import torch
from equic.compiler.ir.ops import Arrange
from equic.compiler.ir.types import Index, Type, Verdict
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.runtime.build import build_module
from equic.runtime.plan import Plan
from equic.runtime.testing.equivariance import representation
from equic.runtime.testing.inputs import random_atoms_inputs, random_rotation, rotate_inputs

from ..small_specs import GRAPH_LAYER
from .checking import infer, rebuilt

TURN, INVERSION = random_rotation(3), -torch.eye(3, dtype=torch.float64)

SPEC = """\
equic: 1
name: negative
system: {{kind: atoms, species: [H, O], cutoff: 4.0 Å}}
symmetry: {symmetry}
targets: {targets}
model:
  graph:
{layer}{graph}
"""
ENERGY = "{energy: {per: system, rep: 0e, unit: eV}}"
FORCES = (
    "{energy: {per: system, rep: 0e, unit: eV}, forces: {gradient_of: energy, wrt: positions, scale: -1}}"
)


def compiled(graph, symmetry, targets):
    lines = "\n".join(f"    {line}" for line in graph.strip().splitlines())
    text = SPEC.format(layer=GRAPH_LAYER, graph=lines, symmetry=symmetry, targets=targets)
    report = Report()
    return compile_spec(source_from_text(text, report=report), report, debug=True)


def refused(graph, symmetry, targets=ENERGY):
    """{(code, message)} of a spec that must not compile."""
    done = compiled(graph, symmetry, targets)
    assert not done.ok
    return {(str(error.code), error.message) for error in done.report.errors}


def error_of(graph, symmetry, targets, target, element, rep="1x0e"):
    """How far one output of a compiled model is from equivariance, relative."""
    done = compiled(graph, symmetry, targets)
    done.report.raise_if_errors()
    plan = Plan.from_json(done.plan)
    model = build_module(plan, seed=1, dtype=torch.float64)
    inputs = random_atoms_inputs(plan, 3, 6, seed=2)
    plain, turned = (model(one)[target] for one in (inputs, rotate_inputs(inputs, element)))
    expected = plain.flatten(1) @ representation(rep, element).T if plain.ndim > 1 else plain
    scale = plain.std() if plain.ndim == 1 else plain.abs().max()
    return float(((turned.reshape(expected.shape) - expected).abs().max() / scale).detach())


# ------------------------------------------------------------------ QHNet: natural parities, then all called even

QHNET = """
even: {kind: arrange, of: nodes, relabel: drop_parity}
other: {kind: linear, of: even, out: 4x0e+4x1e+4x2e}
third: {kind: linear, of: even, out: 4x0e+4x1e+4x2e}
pairs: {kind: product, of: [even, other], irreps: 4x0e+4x1e+4x2e, mode: uuu}
mixed: {kind: product, of: [pairs, third], irreps: 4x0e, mode: uuu}
one: {kind: linear, of: mixed, out: 1x0e}
atomic: {kind: shift_scale, of: one, species: species, unit: eV}
energy: {kind: reduce, of: atomic, to: system}
"""


def test_features_that_forget_their_parity_are_so3_features():
    ((code, message),) = refused(QHNET, "{O(3): hard}")
    assert code == "T201"
    assert message == "`even` breaks inversion: it forgets how `4x1o` changes under inversion"
    assert error_of(QHNET, "{SO(3): hard}", ENERGY, "energy", TURN) < 1e-10
    assert error_of(QHNET, "{SO(3): hard}", ENERGY, "energy", INVERSION) > 1e-3


def test_natural_parities_alone_cannot_fill_a_block_between_p_and_d():
    errors = refused("blocks: {kind: linear, of: nodes, out: 1x2o}\n" + QHNET, "{O(3): hard}")
    assert any(code == "T210" and "`2o`" in message for code, message in errors)


# -------------------------------------------------------- BAM: a covariance of the forces from six scalar heads

SCALARS = """
factor: {kind: linear, of: nodes, out: 6x0e}
named: {kind: arrange, of: factor, relabel: 1x0e+1x2e}
covariance: {kind: rescale, of: named, target: covariance, unit: eV^2/Å^2}
"""
TENSORS = """
factor: {kind: linear, of: nodes, out: 1x0e+1x2e}
covariance: {kind: rescale, of: factor, target: covariance, unit: eV^2/Å^2}
"""
COVARIANCE = "{covariance: {per: node, rep: 0e+2e, form: irreps, unit: eV^2/Å^2}}"


def test_a_covariance_of_six_scalars_does_not_rotate():
    errors = refused(SCALARS, "{SO(3): hard}", COVARIANCE)
    wanted = "`named` breaks SO(3): it reads the numbers of `6x0e` as `1x0e+1x2e`"
    assert ("T201", wanted) in errors
    assert error_of(SCALARS, "{SO(3): free}", COVARIANCE, "covariance", TURN, "1x0e+1x2e") > 1e-3


def test_a_covariance_of_irreps_does():
    for element in (TURN, INVERSION):
        assert error_of(TENSORS, "{O(3): hard}", COVARIANCE, "covariance", element, "1x0e+1x2e") < 1e-10


# ------------------------------------------------------------- EScAIP: forces as componentwise products with edges

DIRECT = """
directions: {kind: arrange, of: harmonics, keep: 1x1o}
numbers: {kind: arrange, of: directions, relabel: 3x0e}
learned: {kind: mlp, of: radial, widths: [8], out: 3}
parts: {kind: product, of: [numbers, learned], irreps: 1x0e, mode: elementwise}
pushes: {kind: arrange, of: parts, relabel: 1x1o}
sums: {kind: reduce, of: pushes, to: node, norm: average}
forces: {kind: rescale, of: sums, target: forces, unit: eV/Å}
"""
INVARIANT = """
one: {kind: linear, of: nodes, out: 1x0e}
atomic: {kind: shift_scale, of: one, species: species, unit: eV}
energy: {kind: reduce, of: atomic, to: system}
"""
VECTORS = "{forces: {per: node, rep: 1o, unit: eV/Å}}"


def test_forces_made_component_by_component_do_not_rotate():
    errors = refused(DIRECT, "{SO(3): hard}", VECTORS)
    wanted = {"`numbers` breaks SO(3): it reads the numbers of `1x1o` as `3x0e`"}
    assert wanted <= {message for _, message in errors}
    assert error_of(DIRECT, "{SO(3): free}", VECTORS, "forces", TURN, "1x1o") > 1e-3


def test_forces_as_a_gradient_of_the_same_invariants_do():
    for element in (TURN, INVERSION):
        assert error_of(INVARIANT, "{O(3): hard}", FORCES, "forces", element, "1x1o") < 1e-10


# ------------------------------------------------------ high-degree EGNN: a plain linear on [h, positions, harmonics]

DENSE = """
pooled: {kind: reduce, of: harmonics, to: node, norm: average}
everything: {kind: concat, of: [features, positions, pooled]}
one: {kind: mlp, of: everything, widths: [], out: 1}
atomic: {kind: shift_scale, of: one, species: species, unit: eV}
energy: {kind: reduce, of: atomic, to: system}
"""


def test_a_dense_layer_on_features_positions_and_harmonics_breaks_everything():
    errors = refused(DENSE, "{O(3): hard}")
    broken = {(code, message.split(":")[0]) for code, message in errors}
    assert ("T201", "`one` breaks SO(3)") in broken
    assert ("T219", "`one` breaks translation") in broken


# ------------------------------------------------------------------------------------------------ arrange by itself


def test_arranging_moves_whole_irreps():
    x = Type(Index.NODE, Reps.parse("2x1o+3x0e+1x2e+4x1o"))
    value = torch.randn(5, x.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, numbers = value[:, :6].unflatten(1, (3, 2)), value[:, 14:].unflatten(1, (3, 4))
    op = Arrange(of="x", sort=True)
    result, _ = infer(op, [x])
    assert str(result.rep) == "3x0e+6x1o+1x2e"
    expected = torch.cat((value[:, 6:9], torch.cat((first, numbers), 2).flatten(1), value[:, 9:14]), 1)
    torch.testing.assert_close(rebuilt(op, [x], result)(value), expected)
    op = Arrange(of="x", keep="3x1o+1x0e")
    result, _ = infer(op, [x])
    assert str(result.rep) == "2x1o+1x0e+1x1o"
    expected = torch.cat((first.flatten(1), value[:, 6:7], numbers[:, :, :1].flatten(1)), 1)
    torch.testing.assert_close(rebuilt(op, [x], result)(value), expected)
    for change in ({"keep": "7x1o"}, {"relabel": "5x0e"}):
        refused_type, site = infer(Arrange(of="x", **change), [x])
        assert refused_type is None
        assert site.report.errors


@pytest.mark.parametrize(
    ("rep", "relabel", "rotation", "inversion"),
    [
        ("2x1e+3x0e", "drop_parity", Verdict.EXACT, Verdict.EXACT),
        ("2x0o", "drop_parity", Verdict.EXACT, Verdict.BROKEN),
        ("2x0e", "2x0o", Verdict.EXACT, Verdict.BROKEN),
        ("3x0e", "1x1o", Verdict.BROKEN, Verdict.BROKEN),
        ("2x1o", "2x1o", Verdict.EXACT, Verdict.EXACT),
    ],
)
def test_wrong_names_break_what_they_deny(rep, relabel, rotation, inversion):
    result, _ = infer(Arrange(of="x", relabel=relabel), [Type(Index.NODE, Reps.parse(rep))])
    assert result.hold("SO(3)").verdict is rotation
    assert result.hold("inversion").verdict is inversion
