"""Pruning: what reaches no output is not made, and what does has the numbers that it had."""

import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.elaborate import elaborate
from equic.compiler.language.levels import read_model
from equic.compiler.language.source import source_from_text
from equic.compiler.lowering.lower import lower
from equic.compiler.passes import Context
from equic.compiler.passes.context import scope_of
from equic.compiler.passes.infer_types import infer_types
from equic.compiler.passes.prune_dead_irreps import prune_dead_irreps
from equic.compiler.pipeline import parse_spec
from equic.runtime.build import build_module
from equic.runtime.irreps import Irreps
from equic.runtime.plan import Plan

from ..small_specs import inputs_for

SPEC = """
equic: 1
name: pruned
system: {kind: atoms, species: [H, O], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets: {energy: {per: system, rep: 0e, unit: eV}}
model:
  graph:
    v: {kind: relative, of: positions}
    r: {kind: length, of: v}
    b: {kind: radial, of: r, count: 4, envelope: 5}
    y: {kind: sph, of: v, lmax: 3}
    x: {kind: embed, of: species, out: 4}
    xs: {kind: gather, of: x}
    p: {kind: mlp, of: b, widths: [5], out: 16}
    m: {kind: product, of: [xs, y], weights: p, irreps: 4x0e+4x1o+4x2e+4x3o}
    a: {kind: reduce, of: m, to: node, norm: sum}
    MIDDLE
    node_energy: {kind: shift_scale, of: e, species: species, unit: eV}
    energy: {kind: reduce, of: node_energy, to: system}
"""
CASES = {
    # a first power reads the irreps that it gives alone
    "power of order one": (
        [
            "l: {kind: linear, of: a, out: 4x0e+4x1o+4x2e}",
            "u: {kind: power, of: l, species: species, order: 1, out: 4x0e}",
        ]
        + ["e: {kind: linear, of: u, out: 1x0e}"],
        {"y": "1x0e", "m": "4x0e", "l": "4x0e"},
    ),
    # nothing above degree 1 is read, so no harmonics above it are made
    "harmonics": (
        ["l: {kind: linear, of: a, out: 4x0e+4x1o}", "i: {kind: inner, of: [l, l]}"]
        + ["e: {kind: linear, of: i, out: 1x0e}"],
        {"y": "1x0e+1x1o", "m": "4x0e+4x1o", "p": "8x0e"},
    ),
    # nobody reads the vectors behind the gate, so they go with their gates, and so do those of the other term
    "a sum with a gate": (
        ["g: {kind: linear, of: a, out: 8x0e+4x1o}", "h: {kind: act, of: g, form: gate}"]
        + ["l: {kind: linear, of: a, out: 4x0e+4x1o}", "s: {kind: add, of: [h, l]}"]
        + ["e: {kind: linear, of: s, out: 1x0e}"],
        {"y": "1x0e", "g": "4x0e", "l": "4x0e", "h": "4x0e"},
    ),
    # two degrees behind the gate, of which one is read; its input is a sum, one term with a bias
    "a gate of a sum": (
        ["f: {kind: linear, of: a, out: 4x0e+6x0e+4x1o+2x2e}", "b2: {kind: bias, of: f}"]
        + ["g: {kind: linear, of: a, out: 4x0e+6x0e+4x1o+2x2e}", "s: {kind: add, of: [b2, g]}"]
        + ["h: {kind: act, of: s, form: gate}", "k: {kind: linear, of: h, out: 4x0e+4x1o}"]
        + ["i: {kind: inner, of: [k, k]}", "e: {kind: linear, of: i, out: 1x0e}"],
        {"y": "1x0e+1x1o", "f": "4x0e+4x0e+4x1o", "b2": "4x0e+4x0e+4x1o", "h": "4x0e+4x1o"},
    ),
    # somebody else reads what the gate reads
    "a gate beside a reader": (
        ["g: {kind: linear, of: a, out: 8x0e+4x1o}", "h: {kind: act, of: g, form: gate}"]
        + ["i: {kind: inner, of: [g, g]}", "c: {kind: concat, of: [h, i]}"]
        + ["e: {kind: linear, of: c, out: 1x0e}"],
        {"y": "1x0e+1x1o", "g": "8x0e+4x1o", "h": "4x0e+4x1o"},
    ),
    "a scaled sum": (
        ["k: {kind: linear, of: a, out: 4x0e+4x1o}", "l: {kind: linear, of: a, out: 4x0e+4x1o}"]
        + [
            "c: {kind: scale, of: k, by: 2.0}",
            "s: {kind: add, of: [c, l]}",
            "e: {kind: linear, of: s, out: 1x0e}",
        ],
        {"y": "1x0e", "k": "4x0e", "l": "4x0e", "s": "4x0e"},
    ),
}


def graphs(middle):
    text = SPEC.replace("MIDDLE", "\n    ".join(middle))
    report = Report()
    source = source_from_text(text, report=report)
    spec = parse_spec(source, report)
    model = read_model(spec, source, report)
    graph = elaborate(spec, model, source, report)
    context = Context(spec, source, scope_of(spec), report)
    before = infer_types(graph, context)
    after = infer_types(prune_dead_irreps(before, context), context)
    report.raise_if_errors()

    def built(steps):
        plan = lower(steps, context, steps=steps, cites=model.cites, architecture=model.preset)
        return build_module(Plan.from_json(plan), seed=1, dtype=torch.float64, kernels="reference")

    return before, after, built(before), built(after)


def columns(plan, network, kept):
    """Which outputs of a radial network belong to the paths (i, j, out irrep) of `kept`."""
    found, at = {}, 0
    product = next(step for step in plan.steps if step.layer == "product" and step.inputs[2] == network)
    left, right, out = (Irreps.parse(product.params[name]) for name in ("left", "right", "out"))
    for i, j, k, _ in product.params["paths"]:
        found[left[i].irrep, right[j].irrep, out[k].irrep] = range(at, at + out[k].mul)
        at += out[k].mul
    return [n for path in (kept or found) for n in found[path]], list(found)


def carry_over(big, small):
    """The weights of the graph before, as far as they are left after."""
    for step in small.plan.steps:
        ours, theirs = small.layer(step.name), big.layer(step.name)
        with torch.no_grad():
            if step.layer == "linear":
                at, chunks = 0, {}
                for kind in theirs.kinds:
                    chunks[kind.irrep] = theirs.weight[at : at + kind.fan_in * kind.fan_out]
                    at += kind.fan_in * kind.fan_out
                fans = {kind.irrep: kind.fan_out for kind in theirs.kinds}
                parts = [  # the last scalars may be gone
                    chunks[kind.irrep].unflatten(0, (-1, fans[kind.irrep]))[:, : kind.fan_out].flatten()
                    for kind in ours.kinds
                ]
                ours.weight.copy_(torch.cat(parts))
            elif step.layer == "mlp":
                _, kept = columns(small.plan, step.name, None)
                numbers, _ = columns(big.plan, step.name, kept)
                for mine, other in zip(ours.weights, theirs.weights, strict=True):
                    mine.copy_(other if mine.shape == other.shape else other[:, numbers])
            else:
                for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
                    mine.copy_(other[: len(mine)] if step.layer == "bias" else other)


@pytest.mark.parametrize("case", CASES)
def test_what_reaches_no_output_is_not_made(case):
    middle, expected = CASES[case]
    before, after, big, small = graphs(middle)
    for name, rep in expected.items():
        assert str(after.type(name).rep) == rep, name
    assert after.type("energy") == before.type("energy")
    carry_over(big, small)
    inputs = inputs_for(big.plan)
    torch.testing.assert_close(small(inputs)["energy"], big(inputs)["energy"], rtol=1e-12, atol=1e-12)


def test_pruning_twice_is_pruning_once():
    for middle, _ in CASES.values():
        _, after, _, _ = graphs(middle)
        context = Context(*_context(middle))
        assert infer_types(prune_dead_irreps(after, context), context) == after


def _context(middle):
    report = Report()
    source = source_from_text(SPEC.replace("MIDDLE", "\n    ".join(middle)), report=report)
    spec = parse_spec(source, report)
    return spec, source, scope_of(spec), report
