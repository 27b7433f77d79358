"""The certificate measures every approximate op against the error that the compiler claims for it."""

import numpy as np
import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.certify import certify
from equic.runtime.certify.approximations import approximation_items
from equic.runtime.certify.subject import Subject
from equic.runtime.plan import Plan

SPEC = """\
equic: 1
name: spheres
system: {kind: atoms, species: [H, O], cutoff: 4.0 Å}
symmetry: {O(3): {hard: {within: 2.0}}}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model:
  graph:
    features: {kind: embed, of: species, out: 4}
    vectors: {kind: relative, of: positions}
    lengths: {kind: length, of: vectors}
    radial: {kind: radial, of: lengths, count: 4, envelope: 5}
    harmonics: {kind: sph, of: vectors, lmax: 2}
    sources: {kind: gather, of: features}
    weights: {kind: mlp, of: radial, widths: [8], out: 12}
    messages: {kind: product, of: [sources, harmonics], weights: weights, irreps: 4x0e+4x1o+4x2e}
    nodes: {kind: reduce, of: messages, to: node, norm: average}
    bent: {kind: act, of: nodes, form: s2, f: silu, degree: 9}
    values: {kind: sample, of: bent, degree: 10}
    mixed: {kind: mlp, of: values, widths: [6], out: 4}
    summed: {kind: unsample, of: mixed}
    squared: {kind: product, of: [summed, nodes], irreps: 4x0e+4x1o, mode: s2grid, degree: 3}
    one: {kind: linear, of: squared, out: 1x0e}
    atomic: {kind: shift_scale, of: one, species: species, unit: eV}
    energy: {kind: reduce, of: atomic, to: system}
"""
OPS = ("bent", "summed", "squared")


@pytest.fixture(scope="module")
def plan():
    report = Report()
    done = compile_spec(source_from_text(SPEC, report=report), report)
    report.raise_if_errors()
    return Plan.from_json(done.plan)


def items_of(plan, name, **changes):
    """The certificate's items of the ops, with parameters of one step changed after the claims were made."""
    data = plan.to_json()
    for step in data["steps"]:
        if step["name"] == name:
            step["params"] |= changes
    model = build_module(Plan.from_json(data), seed=1, dtype=torch.float32)
    return {
        (item.name.removeprefix("error of "), dtype): item
        for dtype in ("float64", "float32")
        for item in approximation_items(Subject(model, dtype), np.random.default_rng(0))
    }


def test_the_items_are_part_of_a_certificate(plan):
    certificate = certify(build_module(plan, seed=1, dtype=torch.float64))
    assert {item.name for item in certificate.items if item.name.startswith("error of")} == {
        f"error of {op}" for op in OPS
    }
    assert certificate.item("SO(3) equivariance, energy", "float64").tolerance == 2.0


def test_every_approximate_op_stays_within_its_claim(plan):
    claims = {step.name: step.params["eps"] for step in plan.steps if "eps" in step.params}
    assert set(claims) == set(OPS)
    (rotations,) = (claim for claim in plan.claims if claim.factor == "SO(3)")
    assert rotations.eps == pytest.approx(sum(claims.values()))
    for (op, _), item in items_of(plan, "none").items():
        assert item.status == "holds"
        assert claims[op] / 10 < item.value < 1.25 * claims[op]


@pytest.mark.parametrize("op", OPS)
def test_an_error_that_is_claimed_too_small_is_caught(plan, op):
    eps = next(step.params["eps"] for step in plan.steps if step.name == op)
    for (other, _), item in items_of(plan, op, eps=eps / 10).items():
        assert item.status == ("fails" if other == op else "holds")


def test_a_grid_that_is_coarser_than_the_claim_is_caught(plan):
    found = items_of(plan, "bent", degree=6)
    assert found["bent", "float64"].status == "fails"
    assert found["squared", "float64"].status == "holds"
