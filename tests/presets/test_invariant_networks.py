"""SchNet, PaiNN, EGNN and HEGNN against their published equations in plain torch, with the same weights."""

import math

import pytest
import torch

CUTOFF, F = 3.5, 6
ATOMS = [-1.0, -2.0, -3.0]


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def silu(x):
    return x / (1 + torch.exp(-x))


def ssp(x):
    return torch.log(0.5 * torch.exp(x) + 0.5)


def unit(f):
    """f times the constant that gives it unit second moment, by brute quadrature."""
    x = torch.linspace(-14, 14, 200_001, dtype=torch.float64)
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    constant = torch.trapezoid(density * f(x) ** 2, x).rsqrt()
    return lambda value: constant * f(value)


class Network:
    """The weights of a model by step, as functions."""

    def __init__(self, model):
        self.model = model

    def linear(self, name, x):
        layer = self.model.layer(name)
        y = x @ layer.weight.reshape(x.shape[-1], -1) / math.sqrt(x.shape[-1])
        return y if layer.bias is None else y + layer.bias

    def dense(self, name, x, f):
        layer = self.model.layer(name)
        for k, weight in enumerate(layer.weights):
            x = (f(x) if k else x) @ weight / math.sqrt(len(weight))
            x = x if layer.biases is None else x + layer.biases[k]
        return x

    def energy(self, last, h, z, f, layers=1):
        hidden = unit(f)(self.linear(f"{last}.energy.read1", h))
        atomic = self.linear(f"{last}.energy", hidden)[:, 0]
        return (torch.tensor(ATOMS)[z] + 0.5 * atomic + 0.1).sum()


def geometry(inputs):
    source, target = inputs["edges"]
    v = inputs["positions"][target] - inputs["positions"][source]
    return source, target, v, v.norm(dim=1, keepdim=True)


def summed(x, target, nodes):
    total = torch.zeros(nodes, *x.shape[1:])
    for e, i in enumerate(target):
        total[i] = total[i] + x[e]
    return total


def cosine(r):
    return 0.5 * (torch.cos(math.pi * r / CUTOFF) + 1)


def polynomial(r, p=5):
    x = r / CUTOFF
    return 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)


def schnet(model, inputs):
    net, z = Network(model), inputs["species"]
    source, target, _, r = geometry(inputs)
    centres = torch.linspace(0, CUTOFF, 12)
    basis = torch.exp(-0.5 * ((r - centres) / (centres[1] - centres[0])) ** 2)
    h = model.layer("features").weight[z]
    for t in ("layer1", "layer2"):
        filters = net.dense(f"{t}.weights.bare", basis, unit(ssp)) * cosine(r)
        message = net.linear(f"{t}.up", h)[source] * filters
        h = h + net.dense(f"{t}.update", summed(message, target, len(z)), unit(ssp))
    return net.energy("layer2", h, z, ssp)


def painn(model, inputs):
    net, z, f = Network(model), inputs["species"], unit(silu)
    source, target, v, r = geometry(inputs)
    basis = math.sqrt(2 / CUTOFF) * torch.sin(torch.arange(1, 9) * math.pi * r / CUTOFF) / r
    s = model.layer("features").weight[z]
    vectors = torch.zeros(len(z), 3, F)
    for t in ("layer1", "layer2"):
        hidden = f(net.linear(f"{t}.message.hidden", s))

        def part(name, t=t, hidden=hidden):
            filters = net.linear(f"{t}.message.{name}.filter", basis) * cosine(r)
            return net.linear(f"{t}.message.{name}", hidden)[source] * filters

        change = part("c")[:, None] * math.sqrt(3) * (v / r)[:, :, None]
        if t != "layer1":
            change = change + vectors[source] * part("b")[:, None]
        s, vectors = (
            s + summed(part("a"), target, len(z)),
            vectors + summed(change, target, len(z)),
        )
        left, right = net.linear(f"{t}.update.U", vectors), net.linear(f"{t}.update.V", vectors)
        seen = torch.cat((s, ((right**2).sum(1) + 1e-8).sqrt()), dim=1)
        hidden = f(net.linear(f"{t}.update.hidden", seen))
        mixed = net.linear(f"{t}.update.e", hidden) * (left * right).sum(1)
        s = s + net.linear(f"{t}.update.d", hidden) + mixed
        if t == "layer1":  # the vectors of the last layer are read by nobody
            vectors = vectors + left * net.linear(f"{t}.update.f", hidden)[:, None]
    return net.energy("layer2", s, z, silu)


def egnn(model, inputs, lmax=None, attention=True, residual=True):
    from e3nn import o3

    net, z, f = Network(model), inputs["species"], unit(silu)
    source, target, v, r = geometry(inputs)
    x, h, ends = torch.zeros(len(z), 3), model.layer("features").weight[z], polynomial(r)
    if lmax is not None:
        rows = torch.repeat_interleave(torch.arange(lmax + 1), 2 * torch.arange(lmax + 1) + 1)
        sphere = o3.spherical_harmonics(list(range(lmax + 1)), v, True, normalization="component")
        weights = f(net.dense("layer1.start", torch.cat((h[target], h[source], r), dim=1), f))
        steerable = summed(sphere * weights[:, rows] * ends, target, len(z)) / 7.3
    basis = math.sqrt(2 / CUTOFF) * torch.sin(torch.arange(1, 9) * math.pi * r / CUTOFF) / r * ends
    for t in ("layer1", "layer2"):
        d = v + x[target] - x[source]
        seen = [h[target], h[source], (d**2).sum(1, keepdim=True) / CUTOFF**2, basis]
        if lmax is not None:
            product = steerable[target] * steerable[source]
            seen.append(torch.stack([product[:, rows == l].sum(1) for l in range(lmax + 1)], dim=1))
        m = f(net.dense(f"{t}.message.bare", torch.cat(seen, dim=1), f))
        if attention:
            m = m * unit(torch.sigmoid)(net.dense(f"{t}.attention", m, f))
        if t == "layer1":  # nobody reads the positions and features after the last layer
            x = x + summed(0.01 * net.dense(f"{t}.move", m, f) * d * ends, target, len(z)) / 7.3
            if lmax is not None:
                weights = net.dense(f"{t}.v.weights", m, f)[:, rows]
                change = (steerable[target] - steerable[source]) * weights * ends
                steerable = steerable + summed(change, target, len(z)) / 7.3
        new = net.dense(f"{t}.update", torch.cat((h, summed(m * ends, target, len(z)) / 7.3), dim=1), f)
        h = h + new if residual else new
    return net.energy("layer2", h, z, silu)


CASES = {
    "schnet": ({"channels": F, "layers": 2, "gaussians": 12, "readout": [5]}, schnet),
    "painn": ({"channels": F, "layers": 2, "bessel": 8, "readout": [5]}, painn),
    "egnn": ({"channels": F, "layers": 2, "readout": [5]}, egnn),
    "hegnn_highdegree": (
        {"channels": F, "lmax": 3, "layers": 2, "readout": [5]},
        lambda model, inputs: egnn(model, inputs, lmax=3, attention=False, residual=False),
    ),
}


def randomised(model):
    """Biases away from zero, where they start."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "bias" in name:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return model


@pytest.mark.parametrize("name", CASES)
def test_a_preset_is_its_published_equations(name, presets):
    parameters, equations = CASES[name]
    model = randomised(presets.built({"architecture": name, **parameters}, cutoff=CUTOFF))
    for seed in range(3):
        inputs = presets.molecule(seed=seed, cutoff=CUTOFF)
        inputs["positions"].requires_grad_(True)
        expected = equations(model, inputs)
        (gradient,) = torch.autograd.grad(expected, inputs["positions"])
        found = model({**inputs, "positions": inputs["positions"].detach()})
        assert float(found["energy"][0]) == pytest.approx(expected.item(), abs=1e-10)
        torch.testing.assert_close(found["forces"], -gradient, atol=1e-9, rtol=1e-9)


def test_hegnn_that_does_not_look_at_its_steerable_features_is_egnn(presets):
    """The limit of Cen et al.: inner products with weight zero in the messages."""
    sizes = {"channels": F, "layers": 2, "readout": [5]}
    steerable = randomised(
        presets.built({"architecture": "hegnn_highdegree", "lmax": 2, **sizes}, cutoff=CUTOFF)
    )
    filled = {"kind": "egnn", "residual": False}
    head = {"read": "linear", "layers": "last", "last": [5], "bias": True}
    plain = presets.built(
        {
            "features": {"node": f"{F}x0e", "radial": {"count": 8}, "harmonics": 0},
            "blocks": [filled, filled],
            "heads": {"energy": head},
        },
        cutoff=CUTOFF,
    )
    theirs = dict(steerable.named_parameters())
    with torch.no_grad():
        for name, value in plain.named_parameters():
            source = theirs[name]
            value.copy_(source[: len(value)] if "message__bare" in name else source)
        for name, value in steerable.named_parameters():
            if "message__bare.weights.0" in name:
                small = dict(plain.named_parameters())[name]
                value.zero_()
                value[: len(small)] = small * math.sqrt(len(value) / len(small))
    inputs = presets.molecule(seed=4, cutoff=CUTOFF)
    a, b = steerable(inputs), plain(inputs)
    torch.testing.assert_close(a["energy"], b["energy"], atol=1e-12, rtol=0)
    torch.testing.assert_close(a["forces"], b["forces"], atol=1e-11, rtol=0)
