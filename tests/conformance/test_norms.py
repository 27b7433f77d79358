"""Norms and vector neurons: their formulas, their statistics, and what they make of locality."""

import math

import pytest
import torch
from equic.compiler.ir.ops import Act, Norm
from equic.compiler.ir.types import Index, Type
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.runtime.irreps import Irreps

from .checking import infer, rebuilt

REP = "4x0e+3x1o+2x2e+2x0e"
X = Type(Index.NODE, Reps.parse(REP))
SYSTEM, CELL = torch.tensor([0, 0, 0, 1, 1]), torch.zeros(2, 3, 3)


def draw(rep=REP, rows=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, Irreps.parse(rep).dim, generator=generator, dtype=torch.float64)


def layer_of(**fields):
    op = Norm(of="x", **fields)
    result, _ = infer(op, [X])
    layer = rebuilt(op, [X], result)
    assert sum(p.numel() for p in layer.parameters()) == op.parameters([X], result, None)
    return layer


def by_hand(x, *, centred, merged, groups):
    """One row at a time; `groups` lists the rows that share statistics."""
    scalars, vectors, tensors = torch.cat((x[:, :4], x[:, 23:]), 1)[:, None], x[:, 4:13], x[:, 13:23]
    parts = [scalars, vectors.unflatten(1, (3, 3)), tensors.unflatten(1, (5, 2))]
    for rows in groups:
        if centred:
            parts[0][rows] = parts[0][rows] - parts[0][rows].mean()
        squares = [part[rows].square().mean() for part in parts]
        if merged:
            squares = [sum(squares) / 3] * 3
        for part, square in zip(parts, squares, strict=True):
            part[rows] = part[rows] / (square + 1e-5).sqrt()
    scalars, vectors, tensors = (part.flatten(1) for part in parts)
    return torch.cat((scalars[:, :4], vectors, tensors, scalars[:, 4:]), 1)


@pytest.mark.parametrize("form", ["layer", "rms"])
@pytest.mark.parametrize("statistic", ["irrep", "merged"])
@pytest.mark.parametrize("over", ["channels", "system"])
def test_a_norm_is_its_formula(form, statistic, over):
    layer, x = layer_of(form=form, statistic=statistic, over=over), draw() * 3.0 + 1.0
    groups = [[k] for k in range(5)] if over == "channels" else [[0, 1, 2], [3, 4]]
    found = layer(x) if over == "channels" else layer(x, SYSTEM, CELL)
    expected = by_hand(x.clone(), centred=form == "layer", merged=statistic == "merged", groups=groups)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_weights_scale_channels_and_biases_move_invariants_alone():
    layer, x = layer_of(), draw()
    plain = layer(x)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, 12.0))
        layer.bias.fill_(0.5)
    scaled = layer(x)
    torch.testing.assert_close(scaled[:, :4], plain[:, :4] * torch.arange(1.0, 5.0) + 0.5)
    torch.testing.assert_close(scaled[:, 4:13], plain[:, 4:13] * torch.tensor([5.0, 6, 7]).repeat(3))
    torch.testing.assert_close(scaled[:, 23:], plain[:, 23:] * torch.tensor([10.0, 11]) + 0.5)


def test_a_norm_over_the_system_is_global_and_refuses_edges():
    local, _ = infer(Norm(of="x"), [X])
    wide, _ = infer(Norm(of="x", over="system"), [X])
    assert local.radius == X.radius
    assert wide.radius == math.inf
    refused, site = infer(Norm(of="x", over="system"), [Type(Index.EDGE, Reps.parse(REP))])
    assert refused is None
    assert site.report.errors[0].code == "T208"


def test_a_vector_neuron_takes_away_what_points_against_its_direction():
    rep = "2x0e+2x1o+4x2e"
    op, x = Act(of="x", form="vn_relu"), draw(rep, 200)
    type_ = Type(Index.NODE, Reps.parse(rep))
    result, _ = infer(op, [type_])
    assert str(result.rep) == "1x0e+1x1o+2x2e"
    assert result.smooth == 0
    y = rebuilt(op, [type_], result)(x)
    q, k, out = x[:, 2:8:2], x[:, 3:8:2], y[:, 1:4]
    along = (q * k).sum(1, keepdim=True)
    expected = torch.where(along < 0, q - k * along / (k * k).sum(1, keepdim=True), q)
    torch.testing.assert_close(out, expected, atol=1e-9, rtol=0)
    assert ((out * k).sum(1) > -1e-9).all()
    refused, site = infer(op, [Type(Index.NODE, Reps.parse("3x1o"))])
    assert refused is None
    assert site.report.errors[0].code == "T203"
