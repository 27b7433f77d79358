"""Allegro, SEGNN, DeepPot-SE and ACE against their equations, written out with e3nn's couplings or plain torch."""

import itertools
import math

import pytest
import torch
from e3nn import o3
from equic.runtime.irreps import Irreps

CUTOFF, C = 3.5, 4
ATOMS = [-1.0, -2.0, -3.0]


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def unit(f):
    """f times the constant that gives it unit second moment, by brute quadrature."""
    x = torch.linspace(-14, 14, 200_001, dtype=torch.float64)
    constant = torch.trapezoid(torch.exp(-x * x / 2) / math.sqrt(2 * math.pi) * f(x) ** 2, x).rsqrt()
    return lambda value: constant * f(value)


silu, sigmoid = unit(torch.nn.functional.silu), unit(torch.sigmoid)


class Features:
    """Features by irrep: {(l, p): [*, 2l+1, channels]}."""

    def __init__(self, parts):
        self.parts = parts

    @classmethod
    def read(cls, x, rep):
        parts = {}
        for block in Irreps.parse(rep):
            part = x[:, block.slice].unflatten(1, (block.size, block.mul))
            parts[block.irrep] = torch.cat((parts[block.irrep], part), -1) if block.irrep in parts else part
        return cls(parts)

    def map(self, f):
        return Features({kind: f(part) for kind, part in self.parts.items()})


def couple(a, b, l1, l2, l3):
    """sqrt(2l+1) sum w3j a_m1 b_m2, channels kept apart: [*, m3, u, v]."""
    return math.sqrt(2 * l3 + 1) * torch.einsum("ijk,niu,njv->nkuv", o3.wigner_3j(l1, l2, l3), a, b)


class Network:
    def __init__(self, model):
        self.model = model

    def params(self, name):
        return next(step.params for step in self.model.plan.steps if step.name == name)

    def linear(self, name, x):
        layer = self.model.layer(name)
        y = x @ layer.weight.reshape(x.shape[-1], -1) / math.sqrt(x.shape[-1])
        return y if layer.bias is None else y + layer.bias

    def dense(self, name, x, f=silu):
        layer = self.model.layer(name)
        for k, weight in enumerate(layer.weights):
            x = (f(x) if k else x) @ weight / math.sqrt(len(weight))
        return x

    def resnet(self, layer, x, labels):
        rows = []
        for one, label in zip(x, labels, strict=True):
            for k, (weight, bias) in enumerate(zip(layer.weights, layer.biases, strict=True)):
                y = one @ weight[label] / math.sqrt(len(one)) + bias[label]
                if k < layer.hidden:
                    y = torch.tanh(y)
                    y = y * layer.timesteps[str(k)][label] if str(k) in layer.timesteps else y
                    y = y + (one if len(y) == len(one) else one.repeat(2) if len(y) == 2 * len(one) else 0.0)
                one = y
            rows.append(one)
        return torch.stack(rows)


def geometry(inputs):
    source, target = inputs["edges"]
    v = inputs["positions"][target] - inputs["positions"][source]
    return source, target, v, v.norm(dim=1, keepdim=True)


def summed(x, target, nodes):
    return torch.zeros(nodes, *x.shape[1:]).index_add(0, target, x)


def polynomial(r, p):
    x = r / CUTOFF
    return 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)


def bessel(r, count):
    return math.sqrt(2 / CUTOFF) * torch.sin(torch.arange(1, count + 1) * math.pi * r / CUTOFF) / r


def harmonics(v, lmax):
    """{(l, p): [edge, 2l+1, 1]}"""
    return Features(
        {
            (l, (-1) ** l): o3.spherical_harmonics(l, v, True, normalization="component")[:, :, None]
            for l in range(lmax + 1)
        }
    )


def total(net, atomic, z):
    return (torch.tensor(ATOMS)[z] + 0.5 * atomic[:, 0] + 0.1).sum()


def allegro(model, inputs, lmax=2, layers=2):
    net, z = Network(model), inputs["species"]
    source, target, v, r = geometry(inputs)
    u, sphere = polynomial(r, 6), harmonics(v, lmax)
    species = model.layer("features").weight[z]
    x = net.dense("layer1.start", torch.cat((species[target], species[source], bessel(r, 6) * u), 1)) * u

    def spread(name, x):
        weights = net.linear(f"{name}.weights", x).unflatten(1, (lmax + 1, C))
        return Features({kind: part * weights[:, None, kind[0]] for kind, part in sphere.parts.items()})

    tensors = spread("layer1.start.tensors", x)
    for t in range(1, layers + 1):
        here = spread(f"layer{t}.sent", x).map(lambda part: summed(part, target, len(z)) / math.sqrt(7.3))
        layer, params = model.layer(f"layer{t}.product"), net.params(f"layer{t}.product")
        left, right = Irreps.parse(params["left"]), Irreps.parse(params["right"])
        out, at, made = Irreps.parse(params["out"]), 0, {}
        for i, j, k, _ in params["paths"]:
            a, b, c = left[i].irrep, right[j].irrep, out[k].irrep
            both = couple(tensors.parts[a], here.parts[b][target], a[0], b[0], c[0])
            weight = layer.weight.flatten()[at : at + C]
            at += C
            made.setdefault(c, []).append(torch.diagonal(both, dim1=2, dim2=3) * weight)
        tensors = Features({kind: torch.cat(parts, -1) for kind, parts in made.items()})
        scalars = net.linear(f"layer{t}.product.scalars", tensors.parts[0, 1][:, 0])
        x = (x + 0.5 * net.dense(f"layer{t}.latent", torch.cat((x, scalars), 1)) * u) / math.sqrt(1.25)
        if t < layers:
            mixed, weight, at = {}, model.layer(f"layer{t}.tensors").weight, 0
            for kind in Irreps.parse(net.params(f"layer{t}.tensors")["out"]).kinds:
                fan = tensors.parts[kind].shape[-1]
                matrix = weight[at : at + fan * C].view(fan, C) / math.sqrt(fan)
                at += fan * C
                mixed[kind] = tensors.parts[kind] @ matrix
            tensors = Features(mixed)
    pairs = net.dense(f"layer{layers}.read", x)
    atomic = summed(pairs, target, len(z)) / math.sqrt(7.3)
    return total(net, net.linear(f"layer{layers}.energy", atomic), z)


def steerable_product(net, name, x, attributes, gated):
    """A fully connected product with bias, and a gate."""
    layer, params = net.model.layer(f"{name}.product"), net.params(f"{name}.product")
    left, right, out = (Irreps.parse(params[side]) for side in ("left", "right", "out"))
    starts, counts, at = {}, {}, 0
    for block in left:
        starts[block.start] = counts.get(block.irrep, 0)
        counts[block.irrep] = starts[block.start] + block.mul
    y = dict.fromkeys(range(len(out)), 0.0)
    fan = {k: sum(left[i].mul for i, _, into, _ in params["paths"] if into == k) for k in y}
    weights = layer.weight.flatten()
    for i, j, k, _ in params["paths"]:
        a, b, c = left[i], right[j], out[k]
        size = a.mul * c.mul
        weight = weights[at : at + size].view(a.mul, c.mul)
        at += size
        part = x.parts[a.irrep][..., starts[a.start] : starts[a.start] + a.mul]
        both = couple(part, attributes.parts[b.irrep], a.l, b.l, c.l)[..., 0]
        y[k] = y[k] + both @ weight / math.sqrt(fan[k])
    y = {out[k].irrep: value for k, value in y.items()}
    y[0, 1] = y[0, 1] + net.model.layer(name).weight
    if not gated:
        return Features(y)
    gates = sum(value.shape[-1] for kind, value in y.items() if kind[0])
    kept = y[0, 1].shape[-1] - gates
    result, at = {(0, 1): silu(y[0, 1][..., :kept])}, kept
    for block in out:
        if block.l:
            result[block.irrep] = y[block.irrep] * sigmoid(y[0, 1][..., at : at + block.mul])
            at += block.mul
    return Features(result)


def joined(*features):
    kinds = dict.fromkeys(kind for one in features for kind in one.parts)
    return Features({k: torch.cat([one.parts[k] for one in features if k in one.parts], -1) for k in kinds})


def segnn(model, inputs, lmax=1):
    net, z = Network(model), inputs["species"]
    source, target, v, r = geometry(inputs)
    u, sphere = polynomial(r, 5), harmonics(v, lmax)
    attributes = sphere.map(lambda part: summed(part * u[:, :, None], target, len(z)) / 7.3)
    attributes.parts[0, 1] = torch.ones(len(z), 1, 1)
    f = Features({(0, 1): model.layer("features").weight[z][:, None]})
    f = steerable_product(net, "layer1.start", f, attributes, False)
    for t in (1, 2):
        radial = Features({(0, 1): (bessel(r, 6) * u)[:, None]})
        seen = joined(f.map(lambda part: part[target]), f.map(lambda part: part[source]), radial)
        m = steerable_product(net, f"layer{t}.message.first", seen, sphere, True)
        m = steerable_product(net, f"layer{t}.message.second", m, sphere, True)
        m = m.map(lambda part: summed(part * u[:, :, None], target, len(z)) / math.sqrt(7.3))
        both = joined(f, m)
        new = steerable_product(net, f"layer{t}.update.first", both, attributes, True)
        new = steerable_product(net, f"layer{t}.update.second", new, attributes, False)
        f = Features({kind: f.parts[kind] + new.parts[kind] for kind in new.parts if kind in f.parts})
    hidden = silu(net.linear("layer2.energy.read1", f.parts[0, 1][:, 0]))
    return total(net, net.linear("layer2.energy", hidden), z)


def deepmd(model, inputs):
    net, z = Network(model), inputs["species"]
    source, target, v, r = geometry(inputs)
    u = ((r - 0.1 * CUTOFF) / (0.9 * CUTOFF)).clamp(0, 1)
    s = (u**3 * (-6 * u**2 + 15 * u - 10) + 1) / r / 0.2
    g = net.resnet(model.layer("layer1.filters").network, s, 3 * z[source] + z[target])
    environment = torch.cat((s, s * v / r), dim=1)  # rows of R: s (1, x, y, z)
    rows = []
    for i in range(len(z)):
        near = target == i
        a = g[near].T @ environment[near] / 7.3
        rows.append((a @ a[:4].T).flatten())
    atomic = net.resnet(model.layer("layer1.fit"), torch.stack(rows), z)
    return total(net, net.linear("layer1.energy", atomic), z)


def deepmd_places(model, inputs):
    """As deepmd-kit writes it: a row for every place, those of neighbours that are not there hold what 0 becomes."""
    net, z = Network(model), inputs["species"]
    source, target, v, r = geometry(inputs)
    u = ((r - 0.1 * CUTOFF) / (0.9 * CUTOFF)).clamp(0, 1)
    s = (u**3 * (-6 * u**2 + 15 * u - 10) + 1) / r
    mean, size, places = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.2, 0.3, 0.25]), [20, 20, 20]
    rows = []
    for i in range(len(z)):
        pooled = 0
        for kind, count in enumerate(places):
            near = (target == i) & (z[source] == kind)
            raw = torch.zeros(count, 4)
            filled = torch.cat((s[near], s[near] * v[near] / r[near]), dim=1)
            raw = torch.cat((filled, raw[len(filled) :]))
            x = torch.cat(((raw[:, :1] - mean[z[i]]) / size[z[i]], raw[:, 1:] / 0.15), dim=1)
            pooled = (
                pooled
                + net.resnet(model.layer("layer1.filters").network, x[:, :1], torch.full((count,), kind)).T
                @ x
            )
        a = pooled / sum(places)
        rows.append((a @ a[:4].T).flatten())
    atomic = net.resnet(model.layer("layer1.fit"), torch.stack(rows), z)
    return total(net, net.linear("layer1.energy", atomic), z)


CASES = {
    "allegro": (
        {"channels": C, "lmax": 2, "layers": 2, "latent": [8, 8], "bessel": 6, "readout": [8]},
        allegro,
    ),
    "segnn_steerable": ({"channels": C, "lmax": 1, "layers": 2, "bessel": 6, "readout": [8]}, segnn),
    "deepmd_se_e2_a": ({"embedding": [6, 12], "axis": 4, "fitting": [16, 16]}, deepmd),
    "deepmd_se_e2_a, places": (
        {
            "embedding": [6, 12],
            "axis": 4,
            "fitting": [16, 16],
            "mean": [0.1, 0.2, 0.3],
            "size": [0.2, 0.3, 0.25],
            "spread": 0.15,
            "sel": [20, 20, 20],
            "one_side": True,
            "timestep": "both",
        },
        deepmd_places,
    ),
}


def randomised(model):
    """Biases away from zero, where they start."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "bias" in name or name.endswith((".first.weight", ".second.weight")):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return model


def check(model, equations, presets):
    for seed in range(2):
        inputs = presets.molecule(seed=seed, cutoff=CUTOFF)
        inputs["positions"].requires_grad_(True)
        expected = equations(model, inputs)
        (gradient,) = torch.autograd.grad(expected, inputs["positions"])
        found = model({**inputs, "positions": inputs["positions"].detach()})
        assert float(found["energy"][0]) == pytest.approx(expected.item(), abs=1e-10)
        torch.testing.assert_close(found["forces"], -gradient, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_preset_is_its_published_equations(name, presets):
    parameters, equations = CASES[name]
    section = {"architecture": name.partition(",")[0], **parameters}
    check(randomised(presets.built(section, cutoff=CUTOFF)), equations, presets)


def test_segnn_of_degree_zero_is_a_plain_network_of_messages(presets):
    """Without directions every product is a dense layer, and every gate an activation."""
    section = {
        "architecture": "segnn_steerable",
        "channels": C,
        "lmax": 0,
        "layers": 2,
        "bessel": 6,
        "readout": [8],
    }
    model = randomised(presets.built(section, cutoff=CUTOFF))

    def layer(name, x):
        weight = model.layer(f"{name}.product").weight.flatten()
        return x @ weight.view(x.shape[1], -1) / math.sqrt(x.shape[1]) + model.layer(name).weight

    def plain(model, inputs):
        net, z = Network(model), inputs["species"]
        source, target, _, r = geometry(inputs)
        u = polynomial(r, 5)
        h = layer("layer1.start", model.layer("features").weight[z])
        for t in (1, 2):
            m = silu(layer(f"layer{t}.message.first", torch.cat((h[target], h[source], bessel(r, 6) * u), 1)))
            m = silu(layer(f"layer{t}.message.second", m)) * u
            seen = torch.cat((h, summed(m, target, len(z)) / math.sqrt(7.3)), 1)
            h = h + layer(f"layer{t}.update.second", silu(layer(f"layer{t}.update.first", seen)))
        return total(net, net.linear("layer2.energy", silu(net.linear("layer2.energy.read1", h))), z)

    check(model, plain, presets)


def test_ace_of_order_two_is_a_sum_over_pairs_of_neighbours(presets):
    """The density trick undone: B = sum over j, k of R(r_j) R(r_k) P_l(cos), one neighbour pair at a time."""
    section = {"architecture": "ace", "channels": C, "lmax": 2, "correlation": 2, "radial": 5}
    model = presets.built(section, cutoff=CUTOFF)
    inputs = presets.molecule(atoms=5, seed=3, cutoff=CUTOFF)
    net, z = Network(model), inputs["species"]
    source, target, v, r = geometry(inputs)
    x = 2 * r / CUTOFF - 1
    basis = torch.cat((torch.ones_like(x), x, 2 * x**2 - 1, 4 * x**3 - 3 * x, 8 * x**4 - 8 * x**2 + 1), 1)
    basis = basis * polynomial(r, 5)
    weight = model.layer("layer1.weights").weight
    label = 3 * z[source] + z[target]
    radial = torch.stack(
        [b @ weight[k].view(5, -1) / math.sqrt(5) for b, k in zip(basis, label, strict=True)]
    )
    h = net.linear("layer1.up", model.layer("features").weight)[z][source]
    waves = radial.unflatten(1, (3, C)) * h[:, None] / 7.3
    powers = torch.stack([model.intermediate(inputs, "layer1.power")])[0]
    # the power is a sum of its invariants, with weights per species: fit them on these atoms and find none left
    unit_vectors = v / r
    columns = []
    for i in range(len(z)):
        near = [e for e in range(len(r)) if target[e] == i]
        one = sum(waves[e, 0] for e in near)
        rows = [one, one * one]
        for l, legendre in ((1, lambda c: c), (2, lambda c: 1.5 * c * c - 0.5)):
            pairs = itertools.product(near, near)
            rows.append(
                sum(
                    (2 * l + 1) * waves[a, l] * waves[b, l] * legendre(unit_vectors[a] @ unit_vectors[b])
                    for a, b in pairs
                )
            )
        columns.append(torch.stack(rows))
    terms = torch.stack(columns)  # [atom, invariant, channel]
    power = model.layer("layer1.power")
    for species in range(3):
        atoms = (z == species).nonzero()[:, 0]
        if not len(atoms):
            continue
        # one set of four weights for each channel: found from unit inputs, checked on the molecule
        found = probe(power, species)
        torch.testing.assert_close(
            torch.einsum("aic,ic->ac", terms[atoms], found), powers[atoms], atol=1e-12, rtol=1e-10
        )


def probe(power, species):
    """The weights of A_0, A_0^2, |A_1|^2 and |A_2|^2 in the power: from its values at unit inputs."""
    z = torch.tensor([species])

    def value(x):
        return power(x[None], z)[0].detach()

    def at(degree, scale):
        x = torch.zeros(9 * C)
        start = degree * degree * C
        x[start : start + C] = scale
        return value(x)

    plus, minus = at(0, 1.0), at(0, -1.0)
    return torch.stack(((plus - minus) / 2, (plus + minus) / 2, at(1, 1.0), at(2, 1.0)))
