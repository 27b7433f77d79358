"""Functions on the sphere: grids that are exact and just so, products, activations, and the errors that are claimed."""

import numpy as np
import pytest
import torch
from e3nn import nn as enn
from e3nn import o3
from e3nn.math import normalize2mom
from equic.compiler.ir.ops import Act, Mlp, Product, Sample, Unsample
from equic.compiler.ir.ops.sphere import ALLOWANCE
from equic.compiler.ir.types import Index, Sphere, Type, Verdict
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.compiler.symmetry.sphere import grid_error, grid_for
from equic.runtime.irreps import Irreps
from equic.runtime.layers.activations import second_moment_factor
from equic.runtime.tables.sphere import gauss_grid, harmonics_at
from equic.runtime.testing.equivariance import assert_equivariant, representation
from equic.runtime.testing.inputs import random_rotation

from .checking import infer, rebuilt

DOUBLE = torch.float64
MIRROR = random_rotation(2, improper=True)


def draw(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


def node(rep):
    return Type(Index.NODE, Reps.parse(rep))


def natural(channels, lmax):
    return "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))


def spread(function, reps, out, rotations=40):
    """The standard deviation of back-rotated results over rotations, relative to their RMS, for random inputs."""
    inputs = [draw(200, Irreps.parse(rep).dim, seed=k) for k, rep in enumerate(reps)]
    values = []
    for k in range(rotations):
        g = random_rotation(100 + k, improper=k % 2 == 1)
        turned = [x @ representation(rep, g).T for x, rep in zip(inputs, reps, strict=True)]
        values.append(function(*turned) @ representation(out, g))
    values = torch.stack(values).detach()
    return float((values.var(0).mean() / values.square().mean()).sqrt())


# ------------------------------------------------------------------------------------------------ grids


def product_grid(n_b, n_a):
    y, w = np.polynomial.legendre.leggauss(n_b)
    angle = 2 * np.pi * np.arange(n_a) / n_a
    r = np.sqrt(1 - y**2)
    points = np.stack([np.outer(r, np.sin(angle)), np.outer(y, np.ones(n_a)), np.outer(r, np.cos(angle))], -1)
    return points.reshape(-1, 3), np.repeat(w / (2 * n_a), n_a)


def worst_sum(points, weights, degrees):
    """The largest error of a sum of Y_l1 Y_l2 Y_l3 for all triples up to these degrees, against a fine grid."""

    def sums(points, weights):
        a, b, c = (
            np.concatenate([harmonics_at(l, points) for l in range(top + 1)], axis=1) for top in degrees
        )
        return np.einsum("p,pi,pj,pk->ijk", weights, a, b, c, optimize=True)

    return np.abs(sums(points, weights) - sums(*product_grid(20, 40))).max()


@pytest.mark.parametrize(
    "degrees", [(1, 1, 0), (1, 1, 1), (2, 1, 2), (2, 2, 2), (3, 3, 3), (4, 2, 3)], ids=str
)
def test_the_grid_is_exact_and_with_one_point_less_it_is_not(degrees):
    n_b, n_a = grid_for(sum(degrees))
    points, weights = gauss_grid(sum(degrees))
    assert len(points) == n_b * n_a
    assert worst_sum(points, weights, degrees) < 1e-13
    np.testing.assert_allclose(worst_sum(*product_grid(n_b, n_a), degrees), 0, atol=1e-13)
    assert worst_sum(*product_grid(n_b - 1, n_a), degrees) > 1e-3
    assert worst_sum(*product_grid(n_b, n_a - 1), degrees) > 1e-3


# ---------------------------------------------------------------------------------------------- products


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        (natural(3, 2), natural(3, 2), "1x0e+1x1o+1x2e+1x3o"),
        (natural(2, 3), natural(1, 2), "1x0e+1x1o+1x2e"),
        ("2x0o+2x1e+2x2o", natural(2, 2), "1x0o+1x1e+1x2o"),
        ("4x1o", "4x1o", "1x0e+1x2e"),
    ],
    ids=["functions", "with harmonics", "pseudo functions", "vectors"],
)
def test_a_product_on_the_sphere_is_the_integral_of_three_harmonics(left, right, wanted):
    types = [node(left), node(right)]
    found = {}
    for mode in ("gaunt", "s2grid"):
        op = Product(of=("x", "y"), irreps=wanted, mode=mode)
        result, _ = infer(op, types)
        assert not result.holds
        layer = rebuilt(op, types, result)
        x, y = draw(6, types[0].dim), draw(6, types[1].dim, seed=1)
        found[mode] = layer(x, y)
        for dtype, tolerance in ((DOUBLE, 1e-12), (torch.float32, 2e-5)):
            inputs = [x.to(dtype), y.to(dtype)]
            assert_equivariant(layer.to(dtype), inputs, [left, right], str(result.rep), MIRROR, tolerance)
    torch.testing.assert_close(found["gaunt"], found["s2grid"], atol=1e-13, rtol=1e-12)
    # the integral of three harmonics by 40 x 79 points, and unit variance: written out
    a, b, c = Irreps.parse(left), Irreps.parse(right), Irreps.parse(str(result.rep))
    points, weights = gauss_grid(78)
    tensors = []
    for block in c:
        rows = []
        for p in a:
            for q in b:
                triple = [harmonics_at(one.l, points) for one in (p, q, block)]
                gaunt = np.einsum("p,pi,pj,pk->kij", weights, *triple, optimize=True)
                u, v = (
                    x[:, p.slice].unflatten(1, (p.size, p.mul)),
                    y[:, q.slice].unflatten(1, (q.size, q.mul)),
                )
                rows.append((gaunt, u, v))
        scale = sum((g**2).sum() for g, _, _ in rows) / block.size
        total = sum(
            torch.einsum(
                "kij,niu,nju->nku",
                torch.from_numpy(g),
                u,
                v.expand(-1, -1, u.shape[2]),
            )
            for g, u, v in rows
        )
        tensors.append((total / scale**0.5).flatten(1))
    torch.testing.assert_close(found["gaunt"], torch.cat(tensors, 1), atol=1e-12, rtol=1e-12)


def test_gaunt_coefficients_are_those_of_e3nn():
    torch.set_default_dtype(DOUBLE)
    try:
        points, weights = gauss_grid(12)
        for l1, l2, l3 in ((1, 1, 2), (2, 2, 2), (1, 2, 3), (2, 2, 1)):
            harmonics = [
                o3.spherical_harmonics(l, torch.from_numpy(points), True, normalization="component")
                for l in (l1, l2, l3)
            ]
            integral = torch.einsum("p,pi,pj,pk->ijk", torch.from_numpy(weights), *harmonics)
            w = o3.wigner_3j(l1, l2, l3)
            size = ((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)) ** 0.5
            torch.testing.assert_close(integral, size * w[l1, l2, l3] * w, atol=1e-12, rtol=0)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("mode", ["gaunt", "s2grid"])
def test_odd_paths_are_refused(mode):
    types = [node("4x1o"), node("4x1o")]
    result, site = infer(Product(of=("x", "y"), irreps="1x1e", mode=mode), types)
    assert result is None
    (error,) = site.report.errors
    assert error.code == "T206"
    assert "l1 + l2 + l3 is odd, as in a cross product" in error.message
    assert infer(Product(of=("x", "y"), irreps="1x1e", mode="uuu"), types)[0] is not None


def test_a_coarse_grid_is_approximate_and_its_error_is_the_measured_one():
    left = natural(2, 2)
    types = [node(left), node(left)]
    for degree in (3, 4, 5):
        op = Product(of=("x", "y"), irreps="1x0e+1x1o+1x2e", mode="s2grid", degree=degree)
        result, site = infer(op, types)
        hold = result.hold("SO(3)")
        assert hold.verdict is Verdict.APPROXIMATE
        assert "are not exact for a product" in site.reasons["op", "SO(3)"]
        layer = rebuilt(op, types, result)
        assert spread(layer, [left, left], str(result.rep)) == pytest.approx(hold.eps, rel=0.15)


# -------------------------------------------------------------------------------------------- activations


@pytest.mark.parametrize("lmax", [1, 2, 3])
@pytest.mark.parametrize("f", ["silu", "tanh", "relu"])
def test_the_error_of_a_function_on_the_sphere_is_the_measured_one(f, lmax):
    x = node(natural(2, lmax))
    op = Act(of="x", form="s2", f=f)
    result, site = infer(op, [x])
    hold = result.hold("SO(3)")
    assert hold.verdict is Verdict.APPROXIMATE
    assert f in site.reasons["op", "SO(3)"]
    assert result.hold("inversion") == hold
    layer = rebuilt(op, [x], result)
    assert spread(layer, [str(x.rep)], str(x.rep)) == pytest.approx(hold.eps, rel=0.2)


def test_finer_grids_are_closer_to_exact_and_the_identity_is_exact():
    x = node(natural(2, 2))
    errors = [infer(Act(of="x", form="s2", degree=d), [x])[0].hold("SO(3)").eps for d in (4, 8, 12, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-2
    assert errors[-1] < 1e-5
    assert not infer(Act(of="x", form="s2", f="identity"), [x])[0].holds


def test_a_function_on_the_sphere_is_that_of_e3nn():
    torch.set_default_dtype(DOUBLE)
    try:
        theirs = enn.S2Activation(
            "1x0e+1x1o+1x2e", torch.nn.functional.silu, res=60, normalization="component"
        )
        x = draw(6, 9)
        expected = theirs(x) * second_moment_factor("silu") / normalize2mom(torch.nn.functional.silu).cst
    finally:
        torch.set_default_dtype(torch.float32)
    op = Act(of="x", form="s2", degree=40)
    found = rebuilt(op, [node("1x0e+1x1o+1x2e")], infer(op, [node("1x0e+1x1o+1x2e")])[0])(x)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def test_even_functions_of_pseudo_functions_break_inversion():
    x = node("2x0o+2x1e")
    even, site = infer(Act(of="x", form="s2", f="silu"), [x])
    assert even.hold("inversion").verdict is Verdict.BROKEN
    assert "not an odd function" in site.reasons["op", "inversion"]
    assert infer(Act(of="x", form="s2", f="tanh"), [x])[0].hold("inversion").verdict is Verdict.APPROXIMATE
    layer, odd = (rebuilt(Act(of="x", form="s2", f=f), [x], even) for f in ("silu", "tanh"))
    value = draw(5, 8)
    assert (layer(-value) + layer(value)).abs().max() > 0.1
    assert (odd(-value) + odd(value)).abs().max() < 1e-12


def test_a_product_of_halves_is_exact_on_the_default_grid_and_only_there():
    x = node(natural(4, 2))
    result, _ = infer(Act(of="x", form="s2_product"), [x])
    assert not result.holds
    assert str(result.rep) == natural(2, 2)
    layer = rebuilt(Act(of="x", form="s2_product"), [x], result)
    for dtype, tolerance in ((DOUBLE, 1e-12), (torch.float32, 2e-5)):
        value = draw(5, x.dim, dtype=dtype)
        assert_equivariant(layer.to(dtype), [value], [str(x.rep)], str(result.rep), MIRROR, tolerance)
    coarse = Act(of="x", form="s2_product", degree=5)
    result, _ = infer(coarse, [x])
    eps = result.hold("SO(3)").eps
    assert spread(rebuilt(coarse, [x], result), [str(x.rep)], str(result.rep)) == pytest.approx(eps, rel=0.2)


def test_sampling_and_back_is_the_identity_on_any_grid_that_is_exact():
    x = node(natural(3, 3))
    for degree in (6, 9, None):
        sampled, _ = infer(Sample(of="x", degree=degree), [x])
        back, _ = infer(Unsample(of="s"), [sampled])
        assert back.rep == x.rep
        assert not back.holds
        value = draw(5, x.dim)
        values = rebuilt(Sample(of="x", degree=degree), [x], sampled)(value)
        assert values.shape == (5, len(gauss_grid(sampled.rep.grid)[0]), 3)
        torch.testing.assert_close(
            rebuilt(Unsample(of="s"), [sampled], back)(values), value, atol=1e-13, rtol=0
        )


def test_a_network_at_every_point_is_approximate_once_it_is_summed():
    x = node(natural(3, 2))
    for degree, expected in ((4, 1.5e-1), (8, 5.7e-3), (14, 2.2e-4)):
        sampled, _ = infer(Sample(of="x", degree=degree), [x])
        mlp = Mlp(of="s", widths=(16,), out=4)
        acted, _ = infer(mlp, [sampled])
        assert isinstance(acted.rep, Sphere)
        assert not acted.holds
        back, _ = infer(Unsample(of="t"), [acted])
        eps = back.hold("SO(3)").eps
        assert str(back.rep) == natural(4, 2)
        layers = [
            rebuilt(op, [t], r)
            for op, t, r in (
                (Sample(of="x", degree=degree), x, sampled),
                (mlp, sampled, acted),
                (Unsample(of="t"), acted, back),
            )
        ]

        def chain(value, layers=layers):
            for layer in layers:
                value = layer(value)
            return value

        assert eps == pytest.approx(ALLOWANCE * expected, rel=0.1)
        measured = spread(chain, [str(x.rep)], str(back.rep))
        assert 0.4 * expected < measured < 2.6 * expected < eps


def test_the_measured_error_is_the_same_every_time():
    before = grid_error(((0, 1, 2),), (0, 1, 2), ("silu",), 7)
    grid_error.cache_clear()
    assert grid_error(((0, 1, 2),), (0, 1, 2), ("silu",), 7) == before
