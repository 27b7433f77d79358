"""The preset `nequip` against the same network put together from e3nn's modules, with the same weights."""

import math

import pytest
import torch
from e3nn import nn as enn
from e3nn import o3
from e3nn.math import normalize2mom
from equic.runtime.irreps import Irreps
from equic.runtime.layers.activations import second_moment_factor

CUTOFF, CHANNELS, LAYERS, LMAX = 3.5, 4, 3, 2


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def to_e3nn(x, rep):
    """From component-major blocks to e3nn's channel-major ones."""
    blocks = Irreps.parse(rep)
    parts = [x[:, b.slice].unflatten(1, (b.size, b.mul)).transpose(1, 2).flatten(1) for b in blocks]
    return torch.cat(parts, dim=1)


def matrices(weight, source, out):
    """Our matrix [in, out] of every irrep that both sides have."""
    into = {kind: sum(b.mul for b in source if b.irrep == kind) for kind in source.kinds}
    found, at = {}, 0
    for kind in out.kinds:
        if kind in into:
            size = into[kind], sum(b.mul for b in out if b.irrep == kind)
            found[kind] = weight[..., at : at + size[0] * size[1]].unflatten(-1, size)
            at += size[0] * size[1]
    assert at == weight.shape[-1]
    return found


def merged(rep):
    return str(o3.Irreps(rep).simplify())


def linear(layer, x):
    """o3.Linear with the weights of one of our layers."""
    source, out = merged(str(layer.source)), str(layer.out)
    theirs = o3.Linear(source, out)
    ours = matrices(layer.weight, Irreps.parse(source), Irreps.parse(out))
    flat = [ours[Irreps.parse(source)[i.i_in].irrep].flatten() for i in theirs.instructions]
    return theirs(x, torch.cat(flat))


def species_linear(layer, x, species):
    """The fully connected product with the one-hot species."""
    source, out, count = str(layer.source), str(layer.out), layer.species
    theirs = o3.FullyConnectedTensorProduct(source, f"{count}x0e", out, internal_weights=False)
    ours = matrices(layer.weight, Irreps.parse(source), Irreps.parse(out))
    flat = [
        (ours[Irreps.parse(source)[i.i_in1].irrep] * math.sqrt(count)).transpose(0, 1).flatten()
        for i in theirs.instructions
    ]
    return theirs(x, torch.nn.functional.one_hot(species, count).to(x.dtype), torch.cat(flat))


def gate(layer, rep, x):
    """e3nn's Gate with exact constants; it takes its input sorted, odd before even."""
    silu, tanh = torch.nn.functional.silu, torch.tanh
    blocks = Irreps.parse(rep)
    even, odd = (sum(b.mul for b in blocks if b.irrep == (0, p)) for p in (1, -1))
    gated = o3.Irreps("+".join(f"{b.mul}x{b.l}{'e' if b.p > 0 else 'o'}" for b in blocks if b.l))
    count = sum(b.mul for b in blocks if b.l)
    scalars = f"{even - count}x0e" + (f"+{odd}x0o" if odd else "")
    acts = [silu, tanh] if odd else [silu]
    theirs = enn.Gate(scalars, acts, f"{count}x0e" if count else "", [silu] if count else [], gated)
    y = theirs(torch.cat([x[:, b.slice] for b in sorted(blocks, key=lambda b: (b.l, b.p))], dim=1))
    # e3nn finds its constants by a million samples
    first = second_moment_factor("silu") / normalize2mom(silu).cst
    second = second_moment_factor("tanh") / normalize2mom(tanh).cst
    kept = even - count
    return torch.cat(
        (y[:, :kept] * first, y[:, kept : kept + odd] * second, y[:, kept + odd :] * first), dim=1
    )


def energy(model, inputs):
    edges, z = inputs["edges"], inputs["species"]
    v = inputs["positions"][edges[1]] - inputs["positions"][edges[0]]
    r = v.norm(dim=1, keepdim=True)
    x, p, n = r / CUTOFF, 6, torch.arange(1, 9)
    envelope = 1 - 28 * x**p + 48 * x ** (p + 1) - 21 * x ** (p + 2)
    radial = math.sqrt(2 / CUTOFF) * torch.sin(n * math.pi * x) / r * envelope
    sphere = o3.Irreps.spherical_harmonics(LMAX)
    harmonics = o3.spherical_harmonics(sphere, v, normalize=True, normalization="component")
    h = model.layer("features").weight[z]
    for t in range(1, LAYERS + 1):
        up, weights = model.layer(f"layer{t}.up"), model.layer(f"layer{t}.weights")
        first, second = weights.weights
        hidden = torch.nn.functional.silu(radial @ first / math.sqrt(8)) * second_moment_factor("silu")
        w = hidden @ second / math.sqrt(first.shape[1])
        old = h
        h = linear(up, h) / math.sqrt(7.3)
        step = next(step for step in model.plan.steps if step.name == f"layer{t}.messages")
        paths = [(i, j, k, "uvu", True) for i, j, k, _ in step.params["paths"]]
        left, out = step.params["left"], step.params["out"]
        product = o3.TensorProduct(left, sphere, out, paths, shared_weights=False, internal_weights=False)
        # the linear before may have been narrowed to what this product reads
        messages = product(h[edges[0]], harmonics, w)
        pooled = torch.zeros(len(z), messages.shape[1]).index_add(0, edges[1], messages)
        update = model.layer(f"layer{t}.update")
        h = linear(update, pooled)
        if t > 1:
            h = h + species_linear(model.layer(f"layer{t}.skip"), old, z)
        h = gate(model.layer(f"layer{t}.act"), str(update.out), h)
    final = model.layer(f"layer{LAYERS}.energy").weight
    atomic = h @ final[:, None] / math.sqrt(len(final))
    return (torch.tensor([-1.0, -2.0, -3.0])[z] + 0.5 * atomic[:, 0] + 0.1).sum()


@pytest.mark.parametrize("parity", ["natural", "both"])
def test_nequip_is_the_network_that_e3nn_makes_of_the_same_weights(parity, presets):
    section = {"architecture": "nequip", "channels": CHANNELS, "lmax": LMAX, "parity": parity}
    model = presets.built({**section, "layers": LAYERS, "radial": [8]}, cutoff=CUTOFF)
    for seed in range(3):
        inputs = presets.molecule(seed=seed, cutoff=CUTOFF)
        inputs["positions"].requires_grad_(True)
        expected = energy(model, inputs)
        (gradient,) = torch.autograd.grad(expected, inputs["positions"])
        found = model({**inputs, "positions": inputs["positions"].detach()})
        assert float(found["energy"][0]) == pytest.approx(expected.item(), abs=1e-10)
        torch.testing.assert_close(found["forces"], -gradient, atol=1e-10, rtol=1e-10)
