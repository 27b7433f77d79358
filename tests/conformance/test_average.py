"""Means over orientations: exact for the elements of a group, approximate for a quadrature of all rotations."""

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from equic.compiler.ir.ops import Average, Linear, Mlp, Orbit
from equic.compiler.ir.text import parse_graph
from equic.compiler.ir.types import Index, Type, Verdict
from equic.compiler.language.codes import Code
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.passes.orbits import orbit_of
from equic.compiler.pipeline import compile_spec
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.compiler.symmetry.orientations import closed, generators_of, quadrature, representation
from equic.runtime.build import build_module
from equic.runtime.certify.approximations import approximation_items
from equic.runtime.certify.subject import Subject
from equic.runtime.emit import emit_torch
from equic.runtime.irreps import Irreps
from equic.runtime.plan import Plan
from equic.runtime.tables.wigner import wigner_D
from equic.runtime.testing.equivariance import assert_equivariant, equivariance_error
from equic.runtime.testing.equivariance import representation as matrix_of
from equic.runtime.testing.inputs import random_rotation

from ..small_specs import compiled, inputs_for, with_statistics
from .checking import infer, rebuilt

DOUBLE = torch.float64
MIXED = "3x0e+2x1o+1x1e+2x2e"
OUT = "2x0e+2x1o+1x0o"


def draw(rows, rep, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, Irreps.parse(rep).dim, dtype=DOUBLE, generator=generator)


class Node:
    """As much of a graph's node as the rule of orientations reads."""

    def __init__(self, op):
        self.op = op


def averaged(out=OUT, dtype=DOUBLE, seed=0, widths=(12,), **fields):
    """A network of components between an orbit and its mean, as one function, with the type of the mean."""
    orbit = Orbit(of="x", **fields)
    x = Type(Index.NODE, Reps.parse(MIXED))
    turned, site = infer(orbit, [x])
    assert turned is not None, site.report
    mlp = Mlp(of="turned", widths=widths, out=Reps.parse(out).dim, activation="tanh")
    raw, _ = infer(mlp, [turned])
    raw = raw.with_(orbit=orbit_of(Node(mlp), [turned]))
    average = Average(of="raw", irreps=out)
    result, _ = infer(average, [raw])
    layers = [
        rebuilt(orbit, [x], turned, dtype=dtype),
        rebuilt(mlp, [turned], raw, seed=seed, dtype=dtype),
        rebuilt(average, [raw], result, dtype=dtype),
    ]
    return torch.nn.Sequential(*layers), result, raw


# ------------------------------------------------------------------------------------------------ the sets


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("inversion", 2),
        ("octahedral", 24),
        ("full_octahedral", 48),
        ("icosahedral", 60),
        ("full_icosahedral", 120),
    ],
)
def test_groups_have_their_order_and_are_closed(name, order):
    elements = np.array(closed(generators_of(name))).reshape(-1, 3, 3)
    assert len(elements) == order
    products = np.einsum("aij,bjk->abik", elements, elements)[:, :, None]
    assert np.abs(products - elements).max(axis=(3, 4)).min(axis=2).max() < 1e-9
    proper = (np.linalg.det(elements) > 0).sum()
    assert proper == (order if name in ("octahedral", "icosahedral") else order // 2)


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_a_quadrature_integrates_irreps_up_to_its_degree_and_not_the_next(degree):
    rows, weights = quadrature(degree, improper=False)
    elements, weights = np.array(rows).reshape(-1, 3, 3), np.array(weights)
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    sums = [
        np.abs(np.einsum("g,gij->ij", weights, wigner_D(l, elements))).max() for l in range(1, degree + 2)
    ]
    assert max(sums[:-1]) < 1e-13
    assert sums[-1] > 1e-3
    both, halves = quadrature(degree, improper=True)
    assert len(both) == 2 * len(rows)
    assert sum(halves) == pytest.approx(1.0, abs=1e-14)


def test_the_compiler_and_the_runtime_turn_features_alike():
    turns = np.stack([random_rotation(k, improper=k % 2 == 1).numpy() for k in range(4)])
    ours = representation(Reps.parse("1x0o+1x1o+1x2e+1x3e"), turns)
    theirs = np.stack([matrix_of("1x0o+1x1o+1x2e+1x3e", torch.from_numpy(g)).numpy() for g in turns])
    np.testing.assert_allclose(ours, theirs, atol=1e-13)


# --------------------------------------------------------------------------------------------- finite groups


@pytest.mark.parametrize("name", ["inversion", "octahedral", "full_octahedral", "icosahedral"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-12), (torch.float32, 2e-5)], ids=str)
def test_a_mean_over_a_group_is_exact_for_its_elements_and_for_no_others(name, dtype, tolerance):
    model, result, raw = averaged(group=name, dtype=dtype)
    x = [draw(5, MIXED).to(dtype)]
    assert raw.hold("SO(3)").verdict is Verdict.BROKEN
    assert raw.hold("inversion").verdict is Verdict.BROKEN
    elements = torch.tensor(closed(generators_of(name)), dtype=DOUBLE).reshape(-1, 3, 3)
    for g in elements:
        assert_equivariant(model, x, [MIXED], OUT, g, tolerance)
    assert equivariance_error(model, x, [MIXED], OUT, random_rotation(3)) > 1e-3
    has_inversion = name in ("inversion", "full_octahedral")
    assert result.hold("SO(3)").verdict is Verdict.BROKEN
    assert result.hold("SO(3)").ops == {"op"}
    assert (result.hold("inversion").verdict is Verdict.EXACT) == has_inversion
    broken = equivariance_error(model, x, [MIXED], OUT, -torch.eye(3, dtype=DOUBLE))
    assert broken < tolerance if has_inversion else broken > 1e-3


def test_the_mean_is_what_a_loop_over_the_group_gives():
    model, _, _ = averaged(group="octahedral")
    x = draw(5, MIXED)
    total = 0.0
    for row in closed(generators_of("octahedral")):
        g = torch.tensor(row, dtype=DOUBLE).reshape(3, 3)
        total = total + model[1](x @ matrix_of(MIXED, g).T) @ matrix_of(OUT, g)
    torch.testing.assert_close(model(x), total / 24, atol=1e-13, rtol=1e-12)
    values = [draw(2, MIXED).requires_grad_(True)]
    assert torch.autograd.gradcheck(model, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(model, values, fast_mode=True)


def test_generators_of_ones_own():
    turn = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    mirror = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    model, result, _ = averaged(generators=(turn, mirror))
    assert len(model[0].turns.tables["l0e"]()) == 8
    assert result.hold("inversion").verdict is Verdict.EXACT  # half a turn and the mirror
    for g in (torch.tensor(turn), torch.tensor(mirror)):
        assert_equivariant(model, [draw(5, MIXED)], [MIXED], OUT, g.double(), 1e-12)
    x = Type(Index.NODE, Reps.parse(MIXED))
    third = ((0.5, -(0.75**0.5), 0.0), (0.75**0.5, 0.5, 0.0), (0.0, 0.0, 1.0))
    for wrong in ([((1.0, 1.0, 0.0), *turn[1:])], [turn, third, (turn[0], turn[2], turn[1])]):
        found, site = infer(Orbit(of="x", generators=tuple(wrong)), [x])
        assert found is None
        assert [one.code for one in site.report.errors] == [Code.REP_MISMATCH]
    for fields in ({}, {"group": "octahedral", "generators": (turn,)}):
        found, site = infer(Orbit(of="x", **fields), [x])
        assert found is None
        assert [one.code for one in site.report.errors] == [Code.MISSING_KEY]


def test_what_was_broken_before_stays_broken():
    orbit = Orbit(of="x", group="full_octahedral")
    x = Type(Index.NODE, Reps.parse("2x0e+1x1o"))
    bent, _ = infer(Linear(of="x", out="2x0e+1x1o"), [x])
    _, site = infer(orbit, [bent])
    bent = bent.with_(holds=site.broken(bent.holds, ("inversion", "SO(3)"), "a test says so"))
    turned, _ = infer(orbit, [bent])
    result, _ = infer(Average(of="turned"), [turned])
    assert result.hold("inversion").verdict is Verdict.BROKEN
    assert result.hold("SO(3)").verdict is Verdict.BROKEN


# ------------------------------------------------------------------------------------------- all rotations


def spread(model, seed, improper):
    """The standard deviation over rotations of back-rotated results, relative to their RMS."""
    x, values = draw(100, MIXED, seed), []
    for k in range(16):
        g = random_rotation(100 + k, improper=improper and k % 2 == 1)
        values.append((model(x @ matrix_of(MIXED, g).T) @ matrix_of(OUT, g)).detach())
    values = torch.stack(values)
    return float((values.var(0).mean() / values.square().mean()).sqrt())


@pytest.mark.parametrize("group", ["SO(3)", "O(3)"])
@pytest.mark.parametrize("widths", [(16,), (8, 8)], ids=str)
def test_a_quadrature_is_as_far_off_as_is_claimed_at_most(group, widths):
    found = []
    for degree in (2, 5):
        errors = []
        for seed in range(2):
            model, result, _ = averaged(group=group, degree=degree, seed=seed, widths=widths)
            errors.append(spread(model, seed, group == "O(3)"))
        hold = result.hold("SO(3)")
        assert hold.verdict is Verdict.APPROXIMATE
        assert 1e-7 < max(errors) < hold.eps < 100 * max(errors)
        assert (result.hold("inversion").verdict is Verdict.EXACT) == (group == "O(3)")
        found.append((hold.eps, max(errors)))
    (coarse, error), (fine, less) = found
    assert fine < coarse
    assert less < error


# --------------------------------------------------------------------------------------------------- models

SPEC = """
equic: 1
name: averaged
system: {kind: atoms, species: [H, O], cutoff: 4.0 Å}
symmetry: {SYMMETRY}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model:
  graph:
    features: {kind: embed, of: species, out: 4}
    vectors: {kind: relative, of: positions}
    lengths: {kind: length, of: vectors}
    radial: {kind: radial, of: lengths, count: 4, envelope: 5}
    harmonics: {kind: sph, of: vectors, lmax: 1}
    sources: {kind: gather, of: features}
    weights: {kind: mlp, of: radial, widths: [8], out: 8}
    messages: {kind: product, of: [sources, harmonics], weights: weights, irreps: 4x0e+4x1o}
    nodes: {kind: reduce, of: messages, to: node, norm: average}
    turned: {kind: orbit, of: nodes, GROUP}
    hidden: {kind: mlp, of: turned, widths: [16], out: 8}
    bent: {kind: act, of: hidden, f: tanh}
    there: {kind: gather, of: bent}
    sums: {kind: reduce, of: there, to: node, norm: average}
    both: {kind: concat, of: [bent, sums]}
    last: {kind: linear, of: both, out: 1x0e}
    atomic: {kind: average, of: last}
    scaled: {kind: shift_scale, of: atomic, species: species, unit: eV}
    energy: {kind: reduce, of: scaled, to: system}
"""


def test_a_model_is_invariant_under_the_group_with_forces_that_turn(monkeypatch):
    plan = Plan.from_json(
        compiled(
            SPEC.replace("SYMMETRY", "SO(3): free, inversion: hard").replace(
                "GROUP", "group: full_octahedral"
            )
        ).plan
    )
    claims = {claim.factor: claim.verdict for claim in plan.claims}
    assert claims == {"SO(3)": "broken", "inversion": "exact", "translation": "exact", "permutation": "exact"}
    model = with_statistics(build_module(plan, seed=2, dtype=DOUBLE))
    reference = with_statistics(build_module(plan, seed=2, dtype=DOUBLE, kernels="reference"))
    inputs = inputs_for(plan)
    found = model(inputs)
    for key, value in reference(inputs).items():
        torch.testing.assert_close(found[key], value, atol=1e-11, rtol=1e-10)
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=DOUBLE)
    for g, exact in ((quarter, True), (-quarter, True), (random_rotation(4), False)):
        turned = model({**inputs, "positions": inputs["positions"] @ g.T, "cell": inputs["cell"] @ g.T})
        error = (turned["forces"] - found["forces"] @ g.T).abs().max() / found["forces"].abs().max()
        assert error < 1e-10 if exact else error > 1e-4
    emitted = ModuleType("emitted")
    monkeypatch.setitem(sys.modules, "emitted", emitted)  # dataclasses look their module up
    exec(compile(emit_torch(plan), "emitted.py", "exec"), vars(emitted))
    theirs = emitted.Model()
    theirs.load_state_dict(reference.state_dict())
    torch.testing.assert_close(theirs(inputs)["energy"], found["energy"])


def test_the_certificate_measures_a_quadrature():
    text = SPEC.replace("SYMMETRY", "O(3): {hard: {within: 0.5}}").replace("GROUP", "group: O(3), degree: 4")
    text = text.replace("there: {kind: gather, of: bent}", "there: {kind: scale, of: bent, by: 2}")
    text = text.replace(
        "sums: {kind: reduce, of: there, to: node, norm: average}", "sums: {kind: scale, of: there, by: 2}"
    )
    plan = Plan.from_json(compiled(text).plan)
    (step,) = (step for step in plan.steps if "eps" in step.params)
    assert step.name == "atomic"
    for factor, status in ((1.0, "holds"), (1e-3, "fails")):
        data = plan.to_json()
        for one in data["steps"]:
            if "eps" in one["params"]:
                one["params"]["eps"] *= factor
        model = build_module(Plan.from_json(data), seed=1, dtype=DOUBLE)
        (item,) = approximation_items(Subject(model, "float64"), np.random.default_rng(0))
        assert item.status == status


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("out: 1x0e}", "out: 1x0e, species: species}"),
        ("atomic: {kind: average, of: last}", "atomic: {kind: scale, of: last, by: 2}"),
        ("both: {kind: concat, of: [bent, sums]}", "both: {kind: concat, of: [bent, features]}"),
    ],
    ids=["species", "no mean", "one orientation"],
)
def test_what_does_not_act_on_every_orientation_is_refused(old, new):
    text = SPEC.replace("SYMMETRY", "SO(3): free, inversion: hard").replace("GROUP", "group: octahedral")
    assert old in text
    report = Report()
    compile_spec(source_from_text(text.replace(old, new), report=report), report)
    assert {one.code for one in report.errors} == {Code.OTHER_FRAME}


def test_orientations_print_and_parse_back():
    turn = "group: null, generators: [[[0, -1, 0], [1, 0, 0], [0, 0, 1]]]"
    text = SPEC.replace("SYMMETRY", "SO(3): free, inversion: free").replace("GROUP", turn)
    graph = compiled(text).graph
    assert parse_graph(str(graph)) == graph.map(lambda node: replace(node, type=None))
    assert graph.type("hidden").orbit.count == 4
    assert "in 4 orientations" in str(graph.type("hidden"))
