"""`attend`: its numbers by loops over nodes, what it keeps and breaks, and how it ends at the cutoff."""

import math

import numpy as np
import pytest
import torch
from equic.compiler.ir.ops import Attend
from equic.compiler.ir.types import Index, Type, Verdict
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.runtime.irreps import Irreps
from equic.runtime.layers.attend import competing
from equic.runtime.testing.equivariance import equivariance_error
from equic.runtime.testing.inputs import random_rotation

from .checking import infer, rebuilt

VALUES = "4x0e+2x0o+4x1o+2x2e"
KEYS = "2x0e+4x1o+2x1e"
EDGES = torch.tensor([[0, 1, 2, 3, 1, 0, 2], [1, 1, 0, 2, 3, 3, 3]])  # nothing points at node 4
SPECIES = torch.tensor([0, 1, 1, 0, 1])
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}


def draw(rows, rep, seed=0, dtype=torch.float64):
    dim = Irreps.parse(rep).dim
    values = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.to(dtype)


def edge(rep, fades=2.0):
    return Type(Index.EDGE, Reps.parse(rep), fades=fades)


def case(logit, by, heads=2, envelope=True):
    """The op, the types of its inputs, and their reps."""
    names = ("x",) if logit == "mlp" else ("q", "k")
    op = Attend(of="v", by=names, logit=logit, heads=heads, envelope="u" if envelope else None)
    places = [Index.EDGE] if logit == "mlp" else [Index.NODE, Index.EDGE]
    types = [edge(VALUES), *(Type(place, Reps.parse(by)) for place in places)]
    return op, types + ([edge("1x0e")] if envelope else [])


def inputs_of(types, dtype=torch.float64, seed=0):
    rows = {Index.NODE: 5, Index.EDGE: 7}
    found = [draw(rows[one.index], str(one.rep), seed + k, dtype) for k, one in enumerate(types)]
    return found


def by_loops(op, layer, values, by, keys, envelope):
    """One node, one head at a time, in numpy; the softmax as it is written, in longdouble."""
    v, h = values.numpy(), op.heads
    out = np.zeros((5, v.shape[1]))
    irreps, features = Irreps.parse(VALUES), layer.features
    for i in range(5):
        near = np.flatnonzero(EDGES[1].numpy() == i)
        for head in range(h):
            weights = []
            for e in near:
                if op.logit == "mlp":
                    x = by[e].numpy().reshape(h, -1)[head]
                    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
                    x = x * layer.scale.detach().numpy() + layer.shift.detach().numpy()
                    x = x * (0.2 + 0.8 / (1 + np.exp(-x)))
                    s = x @ layer.weight[head].detach().numpy() / math.sqrt(len(x))
                elif op.logit == "dot":
                    q, k = by[i].numpy().reshape(h, -1)[head], keys[e].numpy().reshape(h, -1)[head]
                    s = q @ k / math.sqrt(len(q))
                else:
                    s = 0.0
                    for block in features:
                        q, k = (
                            x[block.slice].reshape(block.size, h, -1)[:, head]
                            for x in (by[i].numpy(), keys[e].numpy())
                        )
                        s += (q * k).sum()
                    s /= math.sqrt(features.dim / h)
                weights.append(
                    np.exp(np.longdouble(s)) * (envelope[e, 0].item() if envelope is not None else 1)
                )
            for e, weight in zip(near, weights, strict=True):
                for block in irreps:
                    part = v[e, block.slice].reshape(block.size, h, -1)[:, head]
                    place = out[i, block.slice].reshape(block.size, h, -1)
                    place[:, head] += part * float(weight / sum(weights))
    return out


@pytest.mark.parametrize("envelope", [True, False])
@pytest.mark.parametrize(("logit", "by"), [("mlp", "6x0e"), ("dot", "6x0e"), ("inner", KEYS)])
def test_it_is_a_softmax_over_the_edges_of_each_node(logit, by, envelope):
    op, types = case(logit, by, envelope=envelope)
    result, site = infer(op, types)
    assert not site.report.errors
    assert result.index is Index.NODE
    assert str(result.rep) == str(types[0].rep)
    layer = rebuilt(op, types, result)
    assert sum(p.numel() for p in layer.parameters()) == op.parameters(types, result, None)
    if logit == "mlp":
        with torch.no_grad():
            layer.scale.copy_(draw(1, "3x0e", 8)[0])
            layer.shift.copy_(draw(1, "3x0e", 9)[0])
    values = inputs_of(types)
    if envelope:
        values[-1] = values[-1].abs()
    found = layer(*values, EDGES, SPECIES).detach().numpy()
    keys = None if logit == "mlp" else values[2]
    expected = by_loops(op, layer, values[0], values[1], keys, values[-1] if envelope else None)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    assert (found[4] == 0).all()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize(
    ("logit", "by", "heads", "broken"),
    [
        ("mlp", "6x0e", 2, set()),
        ("dot", "6x0e", 2, set()),
        ("dot", "6x0o", 2, set()),
        ("inner", KEYS, 2, set()),
        ("dot", KEYS, 1, set()),
        ("mlp", "6x0o", 2, {"inversion"}),
        ("mlp", "2x1o", 2, {"SO(3)", "inversion"}),
        ("dot", "2x0e+2x1o", 2, {"SO(3)"}),
    ],
)
def test_what_it_keeps_and_breaks(logit, by, heads, broken, improper, dtype):
    op, types = case(logit, by, heads)
    result, site = infer(op, types)
    assert {name for name in ("SO(3)", "inversion") if result.hold(name).verdict is Verdict.BROKEN} == broken
    assert all((("op", name) in site.reasons) for name in broken)
    layer, values = rebuilt(op, types, result, dtype=dtype), inputs_of(types, dtype)
    values[-1] = values[-1].abs()
    reps = [*(str(one.rep) for one in types[:-1]), None]

    def attend(*inputs):
        return layer(*inputs, EDGES, SPECIES)

    rotation = random_rotation(3, improper=improper)
    error = equivariance_error(attend, values, reps, VALUES, rotation)
    if broken == {"inversion"} and not improper:
        broken = set()
    assert error > 1e-3 if broken else error < TOLERANCE[dtype]


def test_large_logits_and_tiny_envelopes_keep_their_ratios():
    group = torch.tensor([0, 0, 0, 1, 2])
    logits = torch.tensor([[900.0], [901.0], [-900.0], [-5e3], [3.0]], requires_grad=True)
    envelope = torch.tensor([[1.0], [1e-30], [1.0], [1e-25], [0.0]], requires_grad=True)
    weights = competing(logits, group, 3, envelope)
    torch.testing.assert_close(
        weights[:, 0], torch.tensor([1.0, math.e * 1e-30, 0.0, 1.0, 0.0]), rtol=1e-6, atol=0
    )
    weights.square().sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(envelope.grad).all()


def test_the_order_of_edges_has_no_say():
    op, types = case("inner", KEYS)
    result, _ = infer(op, types)
    layer, values = rebuilt(op, types, result), inputs_of(types)
    values[-1] = values[-1].abs()
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    shuffled = [one if one.shape[0] == 5 else one[order] for one in values]
    torch.testing.assert_close(
        layer(*shuffled, EDGES[:, order], SPECIES), layer(*values, EDGES, SPECIES), atol=1e-13, rtol=0
    )


@pytest.mark.parametrize(
    ("envelope", "fades", "smooth", "why"),
    [
        (True, 2.0, 2.0, None),
        (True, 5.0, 2.0, None),
        (False, 2.0, -1.0, "takes it along"),
        (True, -1.0, -1.0, "until it is gone"),
    ],
)
def test_it_is_as_smooth_as_its_envelope_where_values_end_too(envelope, fades, smooth, why):
    op, types = case("mlp", "6x0e", envelope=envelope)
    types[0] = edge(VALUES, fades)
    result, site = infer(op, types)
    assert result.smooth == smooth
    reason = site.reasons.get(("op", "continuity"))
    assert reason is None if why is None else why in reason


@pytest.mark.parametrize(("weighed", "inside"), [(True, True), (False, True), (True, False)])
def test_what_is_called_smooth_does_not_jump(weighed, inside):
    """One of two neighbours leaves, then the last one: with (1 - x)^3 in both places all ends as x^3."""
    op, types = case("mlp", "6x0e", envelope=inside)
    result, _ = infer(op, types)
    layer = rebuilt(op, types, result)
    values, features = draw(2, VALUES), draw(2, "6x0e", 1)
    target = torch.tensor([[1, 2], [0, 0]])

    def at(*u):
        u = torch.tensor(u, dtype=torch.float64)[:, None]
        keep = u[:, 0] > 0
        rest = [u[keep]] if inside else []
        v = values * u if weighed else values
        return layer(v[keep], features[keep], *rest, target[:, keep], torch.zeros(3, dtype=torch.int64))[
            0
        ].detach()

    jumps = [float((at(1.0, 1e-9) - at(1.0, 0.0)).abs().max()), float((at(1e-9, 0) - at(0, 0)).abs().max())]
    assert (max(jumps) < 1e-8) == (weighed and inside)


@pytest.mark.parametrize(
    ("changes", "types", "code"),
    [
        ({"by": ("x", "y")}, [edge(VALUES), edge("6x0e"), edge("6x0e")], "T208"),
        ({"heads": 4}, [edge(VALUES), edge("8x0e")], "T203"),
        ({"heads": 2}, [edge(VALUES), edge("7x0e")], "T203"),
        ({}, [Type(Index.NODE, Reps.parse(VALUES)), edge("6x0e")], "T208"),
        ({"envelope": "u"}, [edge(VALUES), edge("6x0e"), edge("2x0e")], "T202"),
        (
            {"logit": "inner", "by": ("q", "k")},
            [edge(VALUES), Type(Index.NODE, Reps.parse("6x0e")), edge("2x1o")],
            "T202",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, types, code):
    found, site = infer(Attend(**{"of": "v", "by": ("x",), **changes}), types)
    assert found is None
    assert [one.code for one in site.report.errors] == [code]


TOKENS = "4x0e+2x1o"


@pytest.mark.parametrize("nodes", [True, False])
@pytest.mark.parametrize("logit", ["dot", "inner"])
def test_tokens_attend_to_those_around_the_same_node(logit, nodes):
    """Edges, or edges and nodes; one softmax for each, by torch, over a list made pair by pair."""
    index, rows = (Index.TOKEN, 12) if nodes else (Index.EDGE, 7)
    features = TOKENS if logit == "inner" else "4x0e"
    types = [Type(index, Reps.parse(rep)) for rep in (TOKENS, features, features)] + [edge("1x0e")]
    op = Attend(of="v", by=("q", "k"), logit=logit, heads=2, scope="tokens", envelope="u")
    result, site = infer(op, types)
    assert not site.report.errors
    assert (result.index, result.smooth) == (index, 2.0)
    layer = rebuilt(op, types, result)
    values, queries, keys = (draw(rows, str(one.rep), k) for k, one in enumerate(types[:3]))
    u = draw(7, "1x0e", 5).abs()
    angles = torch.tensor(
        [(e, f) for e in range(7) for f in range(7) if e != f and EDGES[1, e] == EDGES[1, f]]
    ).T
    found = layer(values, queries, keys, u, EDGES, angles)
    homes = [*EDGES[1].tolist(), *(range(5) if nodes else ())]
    weights = [*u[:, 0].tolist(), *([1.0] * 5 if nodes else ())]
    reps = Irreps.parse(features)
    for t in range(rows):
        near = [s for s in range(rows) if homes[s] == homes[t]]
        ended = torch.tensor([weights[s] for s in near], dtype=torch.float64).log()
        for head in range(2):
            logits = torch.stack(
                [
                    sum(
                        (
                            a[b.slice].view(b.size, 2, -1)[:, head] * c[b.slice].view(b.size, 2, -1)[:, head]
                        ).sum()
                        for b in reps
                    )
                    for a, c in ((queries[t], keys[s]) for s in near)
                ]
            )
            shares = torch.softmax(logits / math.sqrt(reps.dim / 2) + ended, 0)
            for b in Irreps.parse(TOKENS):
                parts = torch.stack([values[s, b.slice].view(b.size, 2, -1)[:, head] for s in near])
                expected = torch.einsum("s,smu->mu", shares, parts)
                torch.testing.assert_close(
                    found[t, b.slice].view(b.size, 2, -1)[:, head], expected, atol=1e-12, rtol=0
                )


def test_tokens_have_a_logit_for_every_pair():
    op = Attend(of="v", by=("x",), scope="tokens")
    found, site = infer(op, [edge(VALUES), edge("6x0e")])
    assert found is None
    assert "every pair" in site.report.errors[0].message
