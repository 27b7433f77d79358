"""Products by factors: exact with all terms, and with fewer as far off as is claimed, and no farther."""

import itertools

import numpy as np
import pytest
import torch
from e3nn import o3
from equic.compiler.ir.ops import Product
from equic.compiler.ir.types import Index, Type, Verdict
from equic.compiler.symmetry.coupling import coupling, factor_error, factors
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.runtime.build import build_module
from equic.runtime.certify.approximations import approximation_items
from equic.runtime.certify.subject import Subject
from equic.runtime.irreps import Irreps
from equic.runtime.plan import Plan
from equic.runtime.tables.wigner import wigner_3j
from equic.runtime.testing.equivariance import assert_equivariant, equivariance_error, representation
from equic.runtime.testing.inputs import random_rotation

from ..small_specs import compiled
from .checking import infer, rebuilt

MIRROR = random_rotation(2, improper=True)
NATURAL = "3x0e+3x1o+3x2e"


def draw(rows, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dim, dtype=torch.float64, generator=generator)


def made(left, right, wanted, **fields):
    of = fields.pop("of", ("x", "y"))
    op = Product(of=of, irreps=wanted, mode="cp", **fields)
    types = [Type(Index.NODE, Reps.parse(rep)) for rep in (left, right)]
    if op.weights is not None:
        types.append(Type(Index.NODE, Reps.parse(f"{types[0].irreps.channels}x0e")))
    result, site = infer(op, types)
    assert result is not None, site.report
    return op, types, result, rebuilt(op, types, result)


def by_paths(x, y, left, right, out):
    """Every coupling by e3nn's 3j symbols, one after another, channel by channel, unit variance for unit inputs."""
    blocks = []
    for c in out:
        total, paths = 0.0, 0
        for a in left:
            for b in right:
                if abs(a.l - b.l) <= c.l <= a.l + b.l and a.p * b.p == c.p:
                    w = o3.wigner_3j(a.l, b.l, c.l, dtype=torch.float64) * c.size**0.5
                    u = x[:, a.slice].unflatten(1, (a.size, a.mul))
                    v = y[:, b.slice].unflatten(1, (b.size, b.mul)).expand(-1, -1, a.mul)
                    total = total + torch.einsum("ijk,niu,nju->nku", w, u, v)
                    paths += 1
        blocks.append((total / paths**0.5).flatten(1))
    return torch.cat(blocks, dim=1)


def test_the_compiler_and_the_runtime_have_one_table_of_couplings():
    for l1 in range(5):
        for l2 in range(5):
            for l3 in range(abs(l1 - l2), min(l1 + l2, 4) + 1):
                np.testing.assert_allclose(coupling(l1, l2, l3), wigner_3j(l1, l2, l3), atol=1e-13)


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        (NATURAL, NATURAL, "1x0e+1x1o+1x1e+1x2e+1x2o"),
        ("4x0e+4x1o", "1x0e+1x1o+1x2e+1x3o", "1x0e+1x1o+1x2e"),
        ("2x0o+2x1e+2x1o", "2x1o+2x2e", "1x0e+1x1o+1x1e"),
    ],
    ids=["features", "harmonics", "both parities"],
)
def test_with_all_terms_it_is_the_sum_of_all_paths(left, right, wanted):
    op, types, result, layer = made(left, right, wanted)
    assert not result.holds
    x, y = draw(7, types[0].dim), draw(7, types[1].dim, seed=1)
    paths = by_paths(x, y, *(Irreps.parse(one) for one in (left, right, str(result.rep))))
    weights = layer.weight.detach().repeat(sum(block.irrep.dim for block in result.rep))
    torch.testing.assert_close(layer(x, y), paths * weights, atol=1e-13, rtol=1e-12)
    assert op.parameters(types, result, None) == layer.weight.numel()
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        inputs = [x.to(dtype), y.to(dtype)]
        assert_equivariant(layer.to(dtype), inputs, [left, right], str(result.rep), MIRROR, tolerance)


@pytest.mark.parametrize("rank", [4, 5, 9, 12, 16, 20])
@pytest.mark.parametrize("same", [False, True], ids=["two", "square"])
def test_the_claim_is_the_distance_from_the_exact_product_and_covers_equivariance(rank, same):
    fields = {"of": ("x", "x")} if same else {"weights": "w"}
    _, types, result, layer = made(NATURAL, NATURAL, NATURAL, rank=rank, **fields)
    hold = result.hold("SO(3)")
    assert hold.verdict is Verdict.APPROXIMATE
    assert result.hold("inversion").verdict is Verdict.APPROXIMATE
    x = draw(3000, types[0].dim)
    y = x if same else draw(3000, types[1].dim, seed=1)
    layer.requires_grad_(False)
    given = () if same else (torch.ones(len(x), 3, dtype=torch.float64),)
    if same:
        layer.weight.fill_(1.0)
    found = layer(x, y, *given)
    exact = by_paths(x, y, *(Irreps.parse(NATURAL) for _ in range(3)))
    error = ((found - exact).square().mean() / found.square().mean()).sqrt()
    assert float(error) == pytest.approx(hold.eps, rel=0.05)
    turned = []
    for k in range(12):
        g = representation(NATURAL, random_rotation(50 + k, improper=k % 2 == 1))
        turned.append(layer(x @ g.T, y @ g.T, *given) @ g)
    turned = torch.stack(turned)
    spread = float((turned.var(0).mean() / turned.square().mean()).sqrt())
    assert 1e-6 < spread < 1.05 * hold.eps


def test_more_terms_are_closer_and_all_of_them_exact():
    side = Reps.parse("1x(0..2)")
    errors = [factor_error(side, side, side, rank) for rank in (4, 8, 12, 16, 20, 24)]
    assert all(after < 0.8 * before for before, after in itertools.pairwise(errors))
    assert errors[-1] < 1e-9
    assert factor_error(side, side, side, None) < 1e-14
    assert factors(side, side, side, 1000)[0].shape[1] == factors(side, side, side, None)[0].shape[1] == 71


def test_few_terms_fail_the_probe():
    *_, result, layer = made(NATURAL, NATURAL, NATURAL, rank=9)
    error = equivariance_error(layer, [draw(9, 27), draw(9, 27, 1)], [NATURAL] * 2, str(result.rep), MIRROR)
    assert error > 0.05


SPEC = """
equic: 1
name: factored
system: {kind: atoms, species: [H, O], cutoff: 4.0 Å}
symmetry: {O(3): {hard: {within: 1.0}}}
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
    own: {kind: embed, of: species, out: 4}
    both: {kind: product, of: [nodes, nodes], weights: own, irreps: 4x0e+4x1o+4x2e, mode: cp, rank: 12}
    again: {kind: product, of: [both, nodes], irreps: 1x0e+1x1o, mode: cp, rank: 6}
    one: {kind: linear, of: again, out: 1x0e}
    atomic: {kind: shift_scale, of: one, species: species, unit: eV}
    energy: {kind: reduce, of: atomic, to: system}
"""


def test_a_model_claims_the_sum_and_its_certificate_measures_each():
    plan = Plan.from_json(compiled(SPEC).plan)
    claims = {step.name: step.params["eps"] for step in plan.steps if "eps" in step.params}
    assert set(claims) == {"both", "again"}
    (rotations,) = (claim for claim in plan.claims if claim.factor == "SO(3)")
    assert rotations.eps == pytest.approx(sum(claims.values()))
    model = build_module(plan, seed=1, dtype=torch.float64)
    for item in approximation_items(Subject(model, "float64"), np.random.default_rng(0)):
        assert item.status == "holds"
        assert 0 < item.value < claims[item.name.removeprefix("error of ")]
    data = plan.to_json()
    for step in data["steps"]:
        if step["name"] in claims:
            step["params"]["eps"] /= 20
    model = build_module(Plan.from_json(data), seed=1, dtype=torch.float64)
    found = approximation_items(Subject(model, "float64"), np.random.default_rng(0))
    assert [item.status for item in found] == ["fails", "fails"]
    assert "lin2025tdn" in plan.citations
