"""Every optimisation keeps types, weights, numbers and gradients, costs no more, and prints what parses back."""

import cProfile
from dataclasses import replace

import pytest
import torch
from equic.compiler.cost import default_sizes, total_flops
from equic.compiler.ir.graph import graph_hash, validate_graph
from equic.compiler.ir.text import parse_graph
from equic.compiler.language.presets import preset_names
from equic.compiler.lowering.lower import lower
from equic.compiler.passes import OPTIMISATIONS
from equic.runtime.build import build_module
from equic.runtime.plan import Plan
from hypothesis import given, settings
from hypothesis import strategies as st

from ..small_specs import compiled, inputs_for, preset_text, with_statistics


def plan_of(done, steps):
    model = done.model
    made = lower(done.graph, done.context, steps=steps, cites=model.cites, architecture=model.preset)
    return Plan.from_json(made)


def built(plan):
    return with_statistics(build_module(plan, seed=5, dtype=torch.float64, kernels="reference"))


def close(got, want):
    """Equal to 1e-12 of the largest number, the float64 rounding of sums of a few hundred terms."""
    scale = max(float(want.detach().abs().max()), 1e-300)
    assert float((got - want).detach().abs().max()) <= 1e-12 * scale


def assert_same(before, after, inputs):
    """Weights by name, outputs, and gradients of all weights."""
    ours, theirs = built(before), built(after)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])
    losses = []
    for model in (ours, theirs):
        losses.append(model(inputs, create_graph=True))
        sum(value.square().sum() for value in losses[-1].values()).backward()
    for key, value in losses[0].items():
        close(losses[1][key], value)
    gradients = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        if parameter.grad is not None:
            close(gradients[key].grad, parameter.grad)


def check(text, *, each=True):
    """All properties, after each optimisation or only after all of them; how many ops changed."""
    done = compiled(text, optimised=False)
    graph, inputs, sizes = done.graph, None, default_sizes(done.context.scope)
    before, changed = plan_of(done, graph), 0
    inputs = inputs_for(before)
    for one in OPTIMISATIONS:
        after = one(graph, done.context)
        validate_graph(after)
        assert after.is_typed
        for target, name in graph.outputs.items():
            assert after.type(after.outputs[target]) == graph.type(name)
        assert parse_graph(str(after)) == after.map(lambda node: replace(node, type=None))
        assert total_flops(after, done.context.scope, sizes) <= total_flops(graph, done.context.scope, sizes)
        plan = plan_of(done, after)
        assert plan.graph_hash == graph_hash(done.graph)
        if after != graph and (each or one is OPTIMISATIONS[-1]):
            assert_same(before, plan, inputs)
        changed += after != graph
        graph = after
    return changed


@pytest.mark.parametrize("name", preset_names())
def test_presets(name):
    check(preset_text(name))


WRITTEN_TWICE = """
equic: 1
name: twice
system: {kind: atoms, species: [O], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model:
  graph:
    v: {kind: relative, of: positions}
    w: {kind: relative, of: positions}
    r: {kind: length, of: v}
    q: {kind: length, of: w}
    b: {kind: radial, of: r, count: 4, envelope: 5}
    c: {kind: radial, of: q, count: 4, envelope: 5}
    y: {kind: sph, of: v, lmax: 1}
    z: {kind: sph, of: w, lmax: 1}
    x: {kind: embed, of: species, out: 16}
    x2: {kind: linear, of: x, out: 16x0e}
    x3: {kind: act, of: x2, f: tanh}
    xs: {kind: gather, of: x3}
    xt: {kind: gather, of: x3}
    p: {kind: mlp, of: b, widths: [5], out: 32}
    q2: {kind: mlp, of: c, widths: [5], out: 32}
    m: {kind: product, of: [xs, y], weights: p, irreps: 16x0e+16x1o}
    n: {kind: product, of: [xt, z], weights: q2, irreps: 16x0e+16x1o}
    a: {kind: reduce, of: m, to: node, norm: sum}
    d: {kind: reduce, of: n, to: node, norm: average}
    s: {kind: add, of: [a, d]}
    u: {kind: power, of: s, species: species, order: 2, out: 16x0e}
    l: {kind: linear, of: u, out: 1x0e}
    k: {kind: linear, of: u, out: 1x0e}
    lk: {kind: add, of: [l, k]}
    node_energy: {kind: shift_scale, of: lk, species: species, unit: eV}
    energy: {kind: reduce, of: node_energy, to: system}
"""


def test_an_explicit_graph_that_says_everything_twice():
    assert check(WRITTEN_TWICE) == len(OPTIMISATIONS)


ATOMS = """
equic: 1
name: drawn
system: {{kind: atoms, species: [{species}], cutoff: 4.0 Å}}
symmetry: {{{symmetry}}}
targets:
  energy: {{per: system, rep: 0e, unit: eV}}
  forces: {{gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}}
model: {{architecture: mace, channels: {channels}, lmax: {lmax}, hidden_lmax: {hidden}, correlation: {order},
  layers: {layers}, bessel: {bessel}, radial: [{radial}]}}
"""


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_random_models(data):
    lmax = data.draw(st.integers(0, 3))
    values = {
        "species": ", ".join(["H", "C", "N", "O", "F", "Si"][: data.draw(st.sampled_from([1, 1, 1, 2, 6]))]),
        "symmetry": data.draw(
            st.sampled_from(["O(3): hard", "SO(3): hard, inversion: {relaxed: 0.2}", "O(3): {relaxed: 0.1}"])
        ),
        "channels": data.draw(st.integers(1, 5)),
        "lmax": lmax,
        "hidden": data.draw(st.integers(0, min(lmax, 1))),
        "order": data.draw(st.integers(1, 2)),
        "layers": data.draw(st.integers(1, 2)),
        "bessel": data.draw(st.integers(1, 4)),
        "radial": ", ".join(str(data.draw(st.integers(1, 6))) for _ in range(data.draw(st.integers(1, 2)))),
    }
    check(ATOMS.format(**values), each=False)


def test_compiling_takes_work_in_proportion_to_the_layers():
    """Calls of functions, which do not depend on what else the machine does."""
    counts = []
    for layers in (10, 20, 40):
        text = preset_text("mace", layers=str(layers))
        compiled(text)  # what is kept for the next time
        profile = cProfile.Profile()
        profile.runcall(compiled, text)
        counts.append(sum(one.callcount for one in profile.getstats()))
    assert counts[2] - counts[1] < 2.3 * (counts[1] - counts[0])
