"""Frames: rotations of every degree, linear maps about an edge, what they keep, and what the checker says."""

import pytest
import torch
from e3nn import o3
from equic.compiler.ir.ops import Frame, FromFrame, So2, ToFrame
from equic.compiler.ir.types import Index, Type, Verdict
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.runtime.irreps import Irreps
from equic.runtime.layers import LAYERS
from equic.runtime.layers.frames import WignerMatrices
from equic.runtime.testing.equivariance import equivariance_error, representation
from equic.runtime.testing.inputs import random_rotation

from .checking import infer, rebuilt

DOUBLE = torch.float64
TURN, MIRROR = random_rotation(1), random_rotation(2, improper=True)
X, OUT = "3x0e+2x1o+2x2e+1x3o+1x1e", "2x0e+3x1o+1x2e+2x2o+1x3o"


def draw(*shape, seed=0, dtype=DOUBLE):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=DOUBLE).to(dtype)


def frame(form="edge_z", lmax=3, dtype=DOUBLE):
    return LAYERS["frame"]({"form": form, "lmax": lmax}).to(dtype)


def turn(irreps, back, lmax=3, mirrors=False, spread=False, dtype=DOUBLE):
    params = {"irreps": irreps, "back": back, "lmax": lmax, "mirrors": mirrors, "spread": spread}
    return LAYERS["from_frame" if back else "to_frame"](params).to(dtype)


def so2(source, out, mmax=3, mirror=False, learned=True, dtype=DOUBLE):
    params = {"in": source, "out": out, "mmax": mmax, "mirror": mirror, "learned": learned}
    layer = LAYERS["so2"](params)
    layer.initialise(torch.Generator().manual_seed(0))
    return layer.to(dtype)


def block(q, l):
    start = sum((2 * k + 1) ** 2 for k in range(l))
    return q[:, start : start + (2 * l + 1) ** 2].unflatten(1, (2 * l + 1, 2 * l + 1))


def test_matrices_are_those_of_wigner():
    for element in (TURN, MIRROR):
        natural = WignerMatrices(5).to(DOUBLE)(element[None])
        for l in range(6):
            rep = f"1x{l}{'eo'[l % 2]}"
            torch.testing.assert_close(block(natural, l)[0], representation(rep, element), atol=1e-13, rtol=0)


def test_an_edge_frame_takes_every_vector_to_the_pole():
    v = draw(200, 3) * torch.logspace(-6, 6, 200, dtype=DOUBLE)[:, None]
    v = torch.cat((v, torch.eye(3, dtype=DOUBLE), -torch.eye(3, dtype=DOUBLE)))
    q = frame().rotations(v)
    pole = (q @ torch.nn.functional.normalize(v)[..., None])[..., 0]
    torch.testing.assert_close(
        pole, torch.tensor([0.0, 1.0, 0.0], dtype=DOUBLE).expand_as(pole), atol=1e-14, rtol=0
    )
    torch.testing.assert_close(torch.linalg.det(q), torch.ones(len(v), dtype=DOUBLE))
    torch.testing.assert_close(
        frame().rotations(torch.zeros(1, 3, dtype=DOUBLE))[0], torch.eye(3, dtype=DOUBLE)
    )


def test_derivatives_of_an_edge_frame_are_bounded_near_both_poles():
    for y in (1.0, -1.0):
        v = torch.tensor(
            [[1e-9, y, 0.0], [0.0, y, 0.0], [0.3, y * 1e-9, 0.4]], dtype=DOUBLE, requires_grad=True
        )
        (slope,) = torch.autograd.grad((frame()(v) * draw(3, 84)).sum(), v)
        assert slope.isfinite().all()
        assert slope.abs().max() < 100.0


def pipeline(mirror=False, mmax=3, source=X, out=OUT, dtype=DOUBLE, normal="edge_z"):
    """To the frame, through two maps about the edge with a gate between, and back."""
    axes, into = frame(normal, dtype=dtype), turn(source, False, dtype=dtype)
    gated = {"form": "gate", "f": "silu", "in": "7x0e+2x0e+3x1o+1x2e+2x2o+1x3o", "out": out}
    first, second = (
        so2(one, two, mmax, mirror, dtype=dtype) for one, two in ((source, gated["in"]), (out, out))
    )
    gate, back = LAYERS["act"](gated).to(dtype), turn(out, True, dtype=dtype)

    def function(x, v):
        q = axes(v)
        return back(second(gate(first(into(x, q)))), q)

    return function


@pytest.mark.parametrize("mmax", [0, 1, 3])
def test_maps_about_an_edge_keep_rotations_and_break_inversion(mmax):
    inputs, reps = [draw(20, Irreps.parse(X).dim), draw(20, 3, seed=1)], [X, "1x1o"]
    function = pipeline(mmax=mmax)
    assert equivariance_error(function, inputs, reps, OUT, TURN) < 1e-12
    assert equivariance_error(function, inputs, reps, OUT, -torch.eye(3, dtype=DOUBLE)) > 1e-2


def test_maps_about_an_edge_in_single_precision():
    inputs = [draw(20, Irreps.parse(X).dim, dtype=torch.float32), draw(20, 3, seed=1, dtype=torch.float32)]
    assert equivariance_error(pipeline(dtype=torch.float32), inputs, [X, "1x1o"], OUT, TURN) < 2e-5


@pytest.mark.parametrize("mmax", [0, 1, 3])
def test_maps_that_keep_mirrors_are_exact_under_reflections_too(mmax):
    inputs, reps = [draw(20, Irreps.parse(X).dim), draw(20, 3, seed=1)], [X, "1x1o"]
    for element in (TURN, MIRROR, -torch.eye(3, dtype=DOUBLE)):
        assert equivariance_error(pipeline(True, mmax), inputs, reps, OUT, element) < 1e-12


def test_into_a_frame_and_back_is_the_identity():
    x, q = draw(9, Irreps.parse(X).dim), frame()(draw(9, 3, seed=1))
    torch.testing.assert_close(turn(X, True)(turn(X, False)(x, q), q), x, atol=1e-14, rtol=1e-13)


@pytest.mark.parametrize(("lmax", "mirror"), [(2, False), (4, False), (4, True)])
def test_a_map_about_the_edge_is_a_product_with_its_harmonics(lmax, mirror):
    """eSCN: the fully connected product of e3nn with Y(v) is one map in the frame of v; all entries are used."""
    source, out = o3.Irreps("3x0e+2x1o+2x2e"), o3.Irreps("2x0e+2x1o+3x2e" + ("+1x1e+2x2o" if mirror else ""))
    torch.set_default_dtype(DOUBLE)
    try:
        theirs = o3.FullyConnectedTensorProduct(source, o3.Irreps.spherical_harmonics(lmax), out)
    finally:
        torch.set_default_dtype(torch.float32)
    ours_in, ours_out = str(source), str(out)
    a, b = (_channel_last(irreps) for irreps in (source, out))
    v, x = draw(7, 3, seed=1), draw(7, source.dim)
    sphere = o3.spherical_harmonics(list(range(lmax + 1)), v, normalize=True, normalization="component")
    expected = theirs(x[:, a.argsort()], sphere)[:, b]
    # the same product with the harmonics of the pole, read off as a matrix
    pole = torch.tensor([[0.0, 1.0, 0.0]], dtype=DOUBLE).expand(source.dim, 3)
    at_pole = o3.spherical_harmonics(list(range(lmax + 1)), pole, normalize=True, normalization="component")
    matrix = theirs(torch.eye(source.dim, dtype=DOUBLE)[:, a.argsort()], at_pole)[:, b]
    layer = so2(ours_in, ours_out, 2, mirror)
    rows = torch.autograd.functional.jacobian(lambda w: _with(layer, w, source.dim), layer.weight.detach())
    basis = rows.flatten(0, 1)
    solution = torch.linalg.lstsq(basis, matrix.detach().flatten()[:, None]).solution
    assert (basis @ solution - matrix.flatten()[:, None]).abs().max() < 1e-12
    layer.weight.data = solution[:, 0]
    q = frame(lmax=3)(v)
    found = turn(ours_out, True)(layer(turn(ours_in, False)(x, q)), q)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    # no two weights do the same; and with mirrors kept, the products with harmonics up to 4 are all such maps
    assert torch.linalg.matrix_rank(basis) == layer.weight.numel()
    if mirror:
        assert layer.weight.numel() == theirs.weight_numel


def _channel_last(irreps):
    """Where e3nn's channel-major numbers lie in our component-major order."""
    parts, at = [], 0
    for mul, ir in irreps:
        parts.append(torch.arange(at, at + mul * ir.dim).view(mul, ir.dim).T.flatten())
        at += mul * ir.dim
    return torch.cat(parts)


def _with(layer, weight, size):
    return torch.func.functional_call(layer, {"weight": weight}, (torch.eye(size, dtype=DOUBLE),))


def test_weights_given_for_each_edge_are_those_of_each_edge():
    for mirror in (False, True):
        learned, given = so2(X, OUT, 2, mirror), so2(X, OUT, 2, mirror, learned=False)
        x = draw(4, Irreps.parse(X).dim)
        weights = draw(4, learned.weight.numel(), seed=3)
        for n in range(4):
            learned.weight.data = weights[n]
            torch.testing.assert_close(given(x, weights)[n], learned(x)[n], atol=1e-13, rtol=1e-13)


def test_a_map_about_the_edge_can_be_differentiated_twice():
    function, q = so2("2x0e+1x1o", "1x0e+2x1o", 1), frame(lmax=1)
    x, v = draw(2, 5).requires_grad_(True), draw(2, 3, seed=1).requires_grad_(True)
    into, back = turn("2x0e+1x1o", False, 1), turn("1x0e+2x1o", True, 1)

    def whole(x, v):
        return back(function(into(x, q(v))), q(v))

    assert torch.autograd.gradcheck(whole, (x, v))
    assert torch.autograd.gradgradcheck(whole, (x, v), fast_mode=True)


def test_gradients_do_not_see_the_jump_of_the_frame():
    """A vector moves across the plane where Q jumps: the features in space move smoothly."""
    function, x = pipeline(), draw(1, Irreps.parse(X).dim)
    points = torch.tensor(
        [[0.8, h, 0.6] for h in (-2e-6, -1e-6, 1e-6, 2e-6)], dtype=DOUBLE, requires_grad=True
    )
    values = function(x.expand(4, -1), points)
    (slopes,) = torch.autograd.grad(values.sum(), points)
    assert (values[1] - values[2]).abs().max() < 1e-4
    assert (slopes[1] - slopes[2]).abs().max() < 1e-3 * slopes.abs().max()
    jump = frame().rotations(points)
    assert (jump[1] - jump[2]).abs().max() > 0.5


# -------------------------------------------------------------------------------------------- other frames


def test_components_along_two_vectors_are_rotation_invariants_but_not_mirror_invariants():
    axes, into = frame("gram_schmidt"), turn(X, False)
    inputs, reps = [draw(9, Irreps.parse(X).dim), draw(9, 3, seed=1), draw(9, 3, seed=2)], [X, "1x1o", "1x1o"]

    def function(x, a, b):
        return into(x, axes(a, b))

    out = f"{Irreps.parse(X).dim}x0e"
    assert equivariance_error(function, inputs, reps, out, TURN) < 1e-12
    assert equivariance_error(function, inputs, reps, out, -torch.eye(3, dtype=DOUBLE)) > 0.1


def test_principal_axes_turn_and_reflect_with_the_system():
    axes, into, back = (
        frame("pca"),
        turn(X, False, mirrors=True, spread=True),
        turn(X, True, mirrors=True, spread=True),
    )
    system, cell = torch.tensor([0] * 5 + [1] * 7), torch.zeros(2, 3, 3)
    x, positions = (
        draw(12, Irreps.parse(X).dim),
        draw(12, 3, seed=1) * torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE),
    )

    def components(x, positions):
        return into(x, axes(positions, system, cell), system)

    def squashed(x, positions):
        return back(torch.tanh(components(x, positions)), axes(positions, system, cell), system)

    for element in (TURN, MIRROR, -torch.eye(3, dtype=DOUBLE)):
        assert (
            equivariance_error(components, [x, positions], [X, "1x1o"], f"{x.shape[1]}x0e", element) < 1e-11
        )
        assert equivariance_error(squashed, [x, positions], [X, "1x1o"], X, element) < 1e-11
    moved = components(x, positions + torch.tensor([3.0, -1.0, 2.0], dtype=DOUBLE))
    torch.testing.assert_close(moved, components(x, positions), atol=1e-11, rtol=1e-11)
    order = torch.tensor([4, 2, 0, 1, 3, 11, 5, 6, 10, 9, 8, 7])
    shuffled = components(x[order], positions[order])
    torch.testing.assert_close(shuffled, components(x, positions)[order], atol=1e-11, rtol=1e-11)


# ------------------------------------------------------------------------------------------- what is claimed

EDGE = Type(Index.EDGE, Reps.parse("1x1o"))


def edge(rep, **more):
    return Type(Index.EDGE, Reps.parse(rep), **more)


def test_the_checker_knows_that_maps_about_an_edge_break_inversion_alone():
    axes, _ = infer(Frame(of=("v",), lmax=3), [EDGE])
    inside, _ = infer(ToFrame(of=("x", "axes")), [edge(X), axes])
    assert inside.frame == "axes"
    result, site = infer(So2(of="x", out=OUT), [inside])
    assert result.hold("SO(3)").verdict is Verdict.EXACT
    assert result.hold("inversion").verdict is Verdict.BROKEN
    assert "mirror images" in site.reasons["op", "inversion"]
    kept, _ = infer(So2(of="x", out=OUT, keep="O(3)"), [inside])
    assert kept.hold("inversion").verdict is Verdict.EXACT
    assert kept.frame == "axes"
    back, _ = infer(FromFrame(of=("x", "axes")), [kept, axes])
    assert back.frame is None
    for op, found in ((So2(of="x", out=OUT), result), (So2(of="x", out=OUT, keep="O(3)"), kept)):
        layer = rebuilt(op, [inside], found)
        assert layer.weight.numel() == op.parameters([inside], found, None) == op.weight_count(inside.irreps)


def test_the_checker_knows_what_the_other_frames_keep():
    axes, _ = infer(Frame(of=("a", "b"), form="gram_schmidt", lmax=3), [EDGE, EDGE])
    assert axes.smooth == -1
    inside, _ = infer(ToFrame(of=("x", "axes")), [edge(X), axes])
    assert inside.irreps.all_invariant
    assert inside.hold("SO(3)").verdict is Verdict.EXACT
    assert inside.hold("inversion").verdict is Verdict.BROKEN
    positions = Type(Index.NODE, Reps.parse("1x1o"), affine=True)
    axes, _ = infer(Frame(of=("positions",), form="pca", lmax=3), [positions])
    assert axes.index is Index.SYSTEM
    assert axes.smooth == -1
    nodes = Type(Index.NODE, Reps.parse(X))
    inside, _ = infer(ToFrame(of=("x", "axes")), [nodes, axes])
    assert not inside.holds
    back, _ = infer(FromFrame(of=("x", "axes"), irreps=X), [inside, axes])
    assert not back.holds
    wrong, site = infer(FromFrame(of=("x", "axes"), irreps=X), [nodes, axes])
    assert wrong.hold("SO(3)").verdict is Verdict.BROKEN
    assert "not invariant" in site.reasons["op", "SO(3)"]


def test_a_frame_of_too_low_a_degree_or_on_another_set_is_refused():
    axes, _ = infer(Frame(of=("v",), lmax=1), [EDGE])
    for x in (edge(X), Type(Index.NODE, Reps.parse("1x1o"))):
        result, site = infer(ToFrame(of=("x", "axes")), [x, axes])
        assert result is None
        assert site.report.errors[0].code == "T202"
