"""Merged linear maps: the numbers, weights and derivatives of separate ones, on every path, and when they are made."""

import pytest
import torch
from equic.compiler.ir.ops import Linear, Merged, Part
from equic.runtime.build import build_module
from equic.runtime.layers import LAYERS
from equic.runtime.model import Model
from equic.runtime.plan import Plan
from equic.runtime.testing.equivariance import assert_equivariant
from equic.runtime.testing.inputs import random_rotation

from ..small_specs import compiled, inputs_for, with_statistics

MIRROR = random_rotation(2, improper=True)
SPEC = """
equic: 1
name: parallel
system: {kind: atoms, species: [H, O], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model:
  graph:
    v: {kind: relative, of: positions}
    r: {kind: length, of: v}
    basis: {kind: radial, of: r, count: 4, envelope: 5}
    y: {kind: sph, of: v, lmax: 1}
    x: {kind: embed, of: species, out: 32}
    xs: {kind: gather, of: x}
    w: {kind: mlp, of: basis, widths: [8], out: 64}
    m: {kind: product, of: [xs, y], weights: w, irreps: 32x0e+32x1o}
    a: {kind: reduce, of: m, to: node, norm: average}
    scalars: {kind: linear, of: a, out: WIDTHx0e}
    left: {kind: linear, of: a, out: "4x1o+2x0e+1x1o"}
    right: {kind: linear, of: a, out: "2x0e+5x1o"}
    products: {kind: inner, of: [left, left]}
    more: {kind: product, of: [right, left], irreps: 1x0e, mode: uvw}
    all: {kind: concat, of: [scalars, products, more]}
    one: {kind: linear, of: all, out: 1x0e}
    node_energy: {kind: shift_scale, of: one, species: species, unit: eV}
    energy: {kind: reduce, of: node_energy, to: system}
"""


def plans(width):
    text = SPEC.replace("WIDTH", str(width))
    return [Plan.from_json(compiled(text, optimised=flag).plan) for flag in (False, True)]


def layers_of(plan):
    return {step.name: step.layer for step in plan.steps}


def test_narrow_maps_are_merged_and_a_wide_one_prevents_it():
    plain, merged = (layers_of(plan) for plan in plans(2))
    assert {plain[name] for name in ("scalars", "left", "right")} == {"linear"}
    assert merged["a.merged"] == "merged"
    assert {merged[name] for name in ("scalars", "left", "right")} == {"part"}
    assert "a.merged" not in layers_of(plans(200)[1])


@pytest.mark.parametrize("kernels", ["reference", "auto"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-4)], ids=str)
def test_a_model_with_merged_maps_is_the_model(kernels, dtype, tolerance):
    models: list[Model] = []
    for plan in plans(2):
        models.append(with_statistics(build_module(plan, seed=3, dtype=dtype, kernels=kernels)))
    first, second = (model.state_dict() for model in models)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    inputs = inputs_for(plans(2)[0])
    found = [model(inputs) for model in models]  # by the runner, where there is one
    for key, value in found[0].items():
        scale = float(value.abs().max())
        assert float((found[1][key] - value).abs().max()) < tolerance * scale
    for model in models:
        sum(value.square().sum() for value in model(inputs, create_graph=True).values()).backward()
    theirs = dict(models[1].named_parameters())
    for name, weight in models[0].named_parameters():
        if weight.grad is not None:
            error = (theirs[name].grad - weight.grad).abs().max()
            assert float(error) < tolerance * float(weight.grad.abs().max())


def test_a_merged_map_is_its_parts():
    source, outs = "3x1o+2x0e+2x1o", ["2x1o+1x0e+3x1o", "4x0e"]
    x = torch.randn(2, 6, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    merged = LAYERS["merged"]({"in": source, "outs": outs, "parts": ["a", "b"]})
    linears = []
    for seed, out in enumerate(outs):
        linear = LAYERS["linear"]({"in": source, "out": out, "species": None, "bias": False, "relax": None})
        part = LAYERS["part"]({"in": source, "out": out, "start": 0})
        for layer in (linear, part):
            layer.initialise(torch.Generator().manual_seed(seed))
        assert torch.equal(linear.weight, part.weight)
        linears.append(linear)
    want = torch.cat([linear(x) for linear in linears], dim=-1)
    weights = [one.weight.detach() for one in linears]
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        inputs, given = [x[0].to(dtype)], [one.to(dtype) for one in weights]
        assert_equivariant(
            lambda a, given=given: merged(a, *given), inputs, [source], "+".join(outs), MIRROR, tolerance
        )
    torch.testing.assert_close(merged(x, *(one.weight for one in linears)), want, atol=1e-14, rtol=1e-13)


def test_ops_that_the_pass_writes_are_only_its_own():
    done = compiled(SPEC.replace("WIDTH", "2"))
    kinds = {type(node.op) for node in done.optimised}
    assert {Merged, Part} <= kinds
    assert Merged not in {type(node.op) for node in done.graph}
    assert sum(isinstance(node.op, Linear) for node in done.optimised) == 1
