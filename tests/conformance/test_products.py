"""Products in every mode: the numbers of e3nn, values and gradients; what they keep; what the checker says."""

import pytest
import torch
from e3nn import o3
from equic.compiler.ir.ops import Product
from equic.compiler.ir.types import Index, Type, Verdict
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.runtime.irreps import Irreps
from equic.runtime.layers import LAYERS
from equic.runtime.testing.equivariance import assert_equivariant, equivariance_error
from equic.runtime.testing.inputs import random_rotation

from .checking import infer, rebuilt

LEFT, RIGHT = "4x0e+2x1o+2x1e+3x2e", "2x0e+3x1o+2x2e"
EVEN, EVEN_RIGHT = "3x0e+3x1o+3x2e", "3x0e+3x1o+3x1e"


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def to_e3nn(x, rep):
    parts = [
        x[:, b.slice].unflatten(1, (b.size, b.mul)).transpose(1, 2).flatten(1) for b in Irreps.parse(rep)
    ]
    return torch.cat(parts, dim=1)


def layer_of(mode, left, right, wanted, *, given=False, relax=()):
    """The layer that the compiler makes of a product, with its result's irreps and number of weights."""
    op = Product(of=("x", "y"), weights="w" if given else None, irreps=wanted, mode=mode, relax=relax)
    types = [Type(Index.NODE, Reps.parse(rep)) for rep in (left, right)]
    count = op.weight_count(types)
    if given:
        types.append(Type(Index.NODE, Reps.parse(f"{count}x0e")))
    result, _ = infer(op, types)
    layer = rebuilt(op, types, result)
    return layer, str(result.rep), count, op.paths(types)


MODES = {
    "uvw": (LEFT, RIGHT, "5x0e+4x1o+2x3e+3x1o"),
    "uvu": (LEFT, RIGHT, "1x0e+1x1o+1x2o"),
    "uvv": (LEFT, RIGHT, "1x0e+1x1o+1x2o"),
    "uuu": (EVEN, EVEN_RIGHT, "1x0e+1x1o+1x1e+1x2e"),
    "elementwise": ("2x0e+3x1o+1x2e", "2x1o+3x1e+1x2e", "1x0e+1x0o+1x1o+1x2e+1x4e"),
}


def theirs(mode, left, right, out, paths):
    connection = "uuu" if mode == "elementwise" else mode
    rows = [(p.left, p.right, p.into, connection, mode != "elementwise") for p in paths]
    return o3.TensorProduct(left, right, out, rows, shared_weights=False, internal_weights=False)


@pytest.mark.parametrize("given", [False, True], ids=["learned", "given"])
@pytest.mark.parametrize("mode", MODES)
def test_a_product_is_that_of_e3nn(mode, given):
    left, right, wanted = MODES[mode]
    if mode == "elementwise" and given:
        pytest.skip("it has no weights")
    ours, out, count, paths = layer_of(mode, left, right, wanted, given=given)
    x = draw(5, Irreps.parse(left).dim).requires_grad_(True)
    y = draw(5, Irreps.parse(right).dim, seed=1).requires_grad_(True)
    w = draw(5, count, seed=2).requires_grad_(True) if given else getattr(ours, "weight", None)
    values = ours(x, y, w) if given else ours(x, y)
    weights = torch.zeros(5, 0) if w is None else w if given else w.expand(5, -1)
    expected = theirs(mode, left, right, out, paths)(to_e3nn(x, left), to_e3nn(y, right), weights)
    torch.testing.assert_close(to_e3nn(values, out), expected, atol=1e-12, rtol=1e-12)
    probe = draw(*expected.shape, seed=3)
    wrt = [x, y] if w is None else [x, y, w]
    mine = torch.autograd.grad((to_e3nn(values, out) * probe).sum(), wrt)
    other = torch.autograd.grad((expected * probe).sum(), wrt)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("given", [False, True], ids=["learned", "given"])
def test_a_separable_product_is_the_full_one_with_weights_of_rank_one(given):
    ours, out, count, paths = layer_of("separable", LEFT, RIGHT, "5x0e+4x1o+2x3e", given=given)
    left, right = Irreps.parse(LEFT), Irreps.parse(RIGHT)
    x, y = draw(5, left.dim), draw(5, right.dim, seed=1)
    w = draw(5, count, seed=2) if given else ours.weight.detach().expand(5, -1)
    full, at = [], 0
    for path in paths:
        u, v, n = left[path.left].mul, right[path.right].mul, path.out.mul
        a, b = w[:, at : at + u * n].view(5, u, 1, n), w[:, at + u * n : at + (u + v) * n].view(5, 1, v, n)
        full.append((a * b).flatten(1))
        at += (u + v) * n
    assert at == count
    expected = theirs("uvw", LEFT, RIGHT, out, paths)(to_e3nn(x, LEFT), to_e3nn(y, RIGHT), torch.cat(full, 1))
    values = ours(x, y, w) if given else ours(x, y)
    torch.testing.assert_close(to_e3nn(values, out), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("mode", [*MODES, "separable"])
def test_a_product_is_equivariant(mode, dtype):
    left, right, wanted = MODES.get(mode, MODES["uvw"])
    layer, out, *_ = layer_of(mode, left, right, wanted)
    layer = layer.to(dtype)
    inputs = [draw(6, Irreps.parse(left).dim).to(dtype), draw(6, Irreps.parse(right).dim, seed=1).to(dtype)]
    for element in (random_rotation(1), random_rotation(2, improper=True)):
        tolerance = 1e-10 if dtype is torch.float64 else 2e-5
        assert_equivariant(layer, inputs, [left, right], out, element, tolerance)


@pytest.mark.parametrize("mode", ["uvw", "uuu", "separable"])
def test_weights_that_rotate_break_what_the_checker_says(mode):
    left, right, wanted = MODES.get(mode, MODES["uvw"])
    op = Product(of=("x", "y"), weights="w", irreps=wanted, mode=mode)
    types = [Type(Index.NODE, Reps.parse(rep)) for rep in (left, right)]
    count = op.weight_count(types)
    odd = f"{count // 3}x1o" + (f"+{count % 3}x0e" if count % 3 else "")
    types.append(Type(Index.NODE, Reps.parse(odd)))
    result, site = infer(op, types)
    assert result.hold("SO(3)").verdict is Verdict.BROKEN
    assert result.hold("inversion").verdict is Verdict.BROKEN
    assert "are not invariant" in site.reasons["op", "SO(3)"]
    layer = rebuilt(op, types, result)
    inputs = [draw(6, type_.dim, seed=n) for n, type_ in enumerate(types)]
    for element in (random_rotation(1), -torch.eye(3)):
        assert equivariance_error(layer, inputs, [left, right, odd], str(result.rep), element) > 1e-3


def test_channels_that_do_not_pair_are_refused():
    types = [Type(Index.NODE, Reps.parse(rep)) for rep in ("4x0e+4x1o", "2x0e")]
    for mode in ("uuu", "elementwise"):
        result, site = infer(Product(of=("x", "y"), irreps="1x0e", mode=mode), types)
        assert result is None
        assert site.report.errors[0].code == "T203"


def test_a_cross_product_is_the_product_of_two_vectors():
    a, b = draw(4, 6), draw(4, 6, seed=1)
    y = LAYERS["cross"]({"channels": 2})(a, b)
    expected = torch.stack([torch.cross(a[:, u::2], b[:, u::2], dim=1) for u in (0, 1)], dim=2)
    torch.testing.assert_close(y, expected.flatten(1))
