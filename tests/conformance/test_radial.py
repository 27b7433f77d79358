"""Radial functions: values against scipy, and how smoothly each of them really ends at the cutoff."""

import math

import numpy as np
import pytest
import torch
from equic.compiler.ir.ops import Envelope as EnvelopeOp
from equic.compiler.ir.ops import Radial as RadialOp
from equic.compiler.ir.ops.base import Scope, Site
from equic.compiler.ir.ops.radial import SCALAR
from equic.compiler.ir.types import Index, Type
from equic.compiler.language.diagnostics import Report
from equic.compiler.symmetry.units import Unit
from equic.runtime.errors import ArtifactError
from equic.runtime.layers.radial import Envelope, Radial
from scipy.interpolate import BSpline
from scipy.special import comb, eval_chebyt, spherical_jn

CUTOFF, COUNT = 4.5, 6
ANGSTROM = Unit.parse("Å")
SCOPE = Scope("atoms", ("SO(3)", "inversion"), cutoff=CUTOFF)
LENGTH = Type(Index.EDGE, SCALAR, ANGSTROM)
BASES = ("bessel", "gaussian", "chebyshev", "bernstein", "monomial", "inverse", "spline")
ENVELOPES = (
    5,
    2,
    {"kind": "cosine"},
    {"kind": "cosine", "start": 0.5},
    {"kind": "switch"},
    {"kind": "switch", "start": 0.4},
    {"kind": "bump"},
    {"kind": "bump", "start": 0.7},
    {"kind": "exponential"},
)


def typed(op):
    report = Report()
    found = op.infer([LENGTH], Site("radial", None, SCOPE, report))
    assert not report.has_errors
    return found


def layer(op):
    build = Envelope if isinstance(op, EnvelopeOp) else Radial
    return build(op.lower([LENGTH], typed(op), SCOPE)).double()


def zeros(deviation, start=2e-3):
    """n of h^n, the way a function of a small distance h goes to 0: its slope, both axes logarithmic."""
    small, large = (float(deviation(f * start)) for f in (1.0, 2.0))
    return math.inf if small < 1e-60 else math.log2(large / small)


def at_cutoff(function):
    def deviation(h):
        r = torch.tensor([[CUTOFF - h * CUTOFF]], dtype=torch.float64)
        return function(r).detach().norm()

    return deviation


@pytest.mark.parametrize("envelope", ENVELOPES, ids=str)
@pytest.mark.parametrize("basis", BASES)
def test_a_radial_function_ends_as_smoothly_as_its_type_says_and_no_smoother(basis, envelope):
    op = RadialOp(of="r", basis=basis, count=COUNT, envelope=envelope)
    claimed = typed(op).fades
    n = zeros(at_cutoff(layer(op)), start=2e-2 if claimed < 6 else 8e-3)
    assert n > 10 if math.isinf(claimed) else n == pytest.approx(claimed + 1, abs=0.4)


@pytest.mark.parametrize("basis", BASES)
def test_without_an_envelope_only_functions_with_a_zero_are_continuous(basis):
    op = RadialOp(of="r", basis=basis, count=COUNT)
    assert typed(op).fades == {"bessel": 0.0, "spline": 2.0}.get(basis, -1.0)
    assert zeros(at_cutoff(layer(op))) == pytest.approx(typed(op).fades + 1, abs=0.1)


@pytest.mark.parametrize("envelope", ENVELOPES, ids=str)
def test_an_envelope_falls_from_one_to_zero_and_is_smooth_where_it_starts(envelope):
    op = EnvelopeOp(of="r", shape=envelope)
    f = layer(op)
    r = torch.linspace(1e-3, CUTOFF, 400, dtype=torch.float64)[:, None]
    y = f(r)[:, 0]
    assert float(y[0]) == pytest.approx(1.0, abs=1e-5)
    assert float(y[-1]) == pytest.approx(0.0, abs=1e-12)
    assert (y.diff() <= 1e-12).all()
    start = envelope.get("start", 0.0) if isinstance(envelope, dict) else 0.0
    if start:
        n = zeros(
            lambda h: (1.0 - f(torch.tensor([[(start + h) * CUTOFF]], dtype=torch.float64))).abs(), 1e-2
        )
        k = typed(op).smooth
        assert n > 10 if math.isinf(k) else n == pytest.approx(k + 1, abs=0.2)


def test_trained_frequencies_lose_the_zero_at_the_cutoff():
    fixed = RadialOp(of="r", count=COUNT, envelope=5)
    trained = RadialOp(of="r", count=COUNT, envelope=5, trainable=True)
    assert (typed(fixed).fades, typed(trained).fades) == (3.0, 2.0)
    module = layer(trained)
    module.initialise(torch.Generator())
    r = torch.linspace(0.1, 4.4, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(module(r), layer(fixed)(r), atol=1e-14, rtol=0)
    with torch.no_grad():
        module.weight.mul_(1.07)
    assert zeros(at_cutoff(module)) == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("basis", ["bessel", "gaussian", "bernstein"])
def test_what_is_trainable_has_the_declared_number_of_parameters_and_a_gradient(basis):
    op = RadialOp(of="r", basis=basis, count=COUNT, envelope=5, trainable=True)
    module = layer(op)
    assert sum(p.numel() for p in module.parameters()) == op.parameters([LENGTH], typed(op), SCOPE)
    module(torch.tensor([[1.3]], dtype=torch.float64)).square().sum().backward()
    assert module.weight.grad.abs().max() > 0


@pytest.mark.parametrize("basis", ["chebyshev", "monomial", "inverse", "spline"])
def test_a_basis_with_nothing_to_train_says_so(basis):
    report = Report()
    op = RadialOp(of="r", basis=basis, count=4, envelope=5, trainable=True)
    assert op.infer([LENGTH], Site("radial", None, SCOPE, report)) is None
    assert "nothing to train" in report.errors[0].message


def expected(basis, r):
    """Each basis by scipy or by its formula, one column a function."""
    n, x = np.arange(COUNT), r / CUTOFF
    match basis:
        case "bessel":
            waves = [(k + 1) * np.pi / CUTOFF * spherical_jn(0, (k + 1) * np.pi * x) for k in n]
            return np.sqrt(2 / CUTOFF) * np.stack(waves, axis=1)
        case "gaussian":
            width = CUTOFF / (COUNT - 1)
            return np.exp(-((r[:, None] - n * width) ** 2) / (2 * width**2))
        case "chebyshev":
            return np.stack([eval_chebyt(k, 2 * x - 1) for k in n], axis=1)
        case "monomial":
            return x[:, None] ** n
        case "inverse":
            return r[:, None] ** -(n + 1.0)
        case "bernstein":
            y = np.exp(-0.5 * r)[:, None]
            return comb(COUNT - 1, n) * y**n * (1 - y) ** (COUNT - 1 - n)
        case "spline":
            h = CUTOFF / COUNT
            knots = [BSpline.basis_element(h * np.arange(k - 3, k + 2), extrapolate=False) for k in n]
            return np.nan_to_num(np.stack([spline(r) for spline in knots], axis=1))


@pytest.mark.parametrize("basis", BASES)
def test_a_basis_is_its_formula(basis):
    r = np.linspace(0.05, 0.999 * CUTOFF, 41)
    found = layer(RadialOp(of="r", basis=basis, count=COUNT))(torch.from_numpy(r)[:, None])
    np.testing.assert_allclose(found.numpy(), expected(basis, r), rtol=1e-11, atol=1e-12)


def test_splines_add_up_to_one_where_none_is_left_out():
    r = torch.linspace(0.0, CUTOFF * (COUNT - 3) / COUNT, 20, dtype=torch.float64)[:, None]
    total = layer(RadialOp(of="r", basis="spline", count=COUNT))(r).sum(-1)
    torch.testing.assert_close(total, torch.ones(20, dtype=torch.float64), atol=1e-14, rtol=0)


@pytest.mark.parametrize("basis", [basis for basis in BASES if basis != "inverse"])
@pytest.mark.parametrize("envelope", ENVELOPES, ids=str)
def test_two_gradients_are_finite_at_both_ends(basis, envelope):
    f = layer(RadialOp(of="r", basis=basis, count=COUNT, envelope=envelope))
    r = torch.tensor([[0.0], [CUTOFF], [CUTOFF + 0.1]], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(f(r).square().sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
    assert f(r)[2].abs().max() == 0.0


def test_what_is_not_known_is_refused():
    params = {"basis": "wavelet", "count": 4, "cutoff": 4.0, "envelope": {"polynomial": 5}}
    with pytest.raises(ArtifactError, match="wavelet"):
        Radial(params)
    with pytest.raises(ArtifactError, match="hard"):
        Envelope({"shape": {"hard": 0.0}, "cutoff": 4.0})
