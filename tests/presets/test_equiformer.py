"""EquiformerV2's equations written out: maps in the frame of every edge, m by m, with e3nn's rotation matrices."""

import math

import pytest
import torch
from e3nn import o3

CUTOFF, C, LMAX, HEADS, ALPHA, VALUES, HIDDEN, FORWARD = 3.5, 3, 2, 2, 3, 2, 4, 5
SECTION = {
    "architecture": "equiformer",
    **{"channels": C, "lmax": LMAX, "layers": 2, "heads": HEADS, "alpha": ALPHA, "values": VALUES},
    **{"hidden": HIDDEN, "forward": FORWARD, "radial": [5, 4], "gaussians": 6, "readout": [7]},
}


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


class Reference:
    """Features are lists over l of [rows, 2l + 1, channels]."""

    def __init__(self, model, mmax, keep):
        self.model, self.mmax, self.keep = model, mmax, keep

    def dense(self, name, x):
        layer = self.model.layer(name)
        return x @ layer.weight.view(x.shape[-1], -1) / math.sqrt(x.shape[-1]) + layer.bias

    def layer_norm(self, name, x):
        layer = self.model.layer(name)
        x = x - x.mean(1, keepdim=True)
        return x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt() * layer.weight + layer.bias

    def radial(self, name, r, z, source, target):
        centres = torch.linspace(0, CUTOFF, 6)
        value = torch.exp(-((r - centres) ** 2) / 2 / (CUTOFF / 5) ** 2)
        ends = [
            self.model.layer(f"{name}.{role}.species").weight[z][at]
            for role, at in (("target", target), ("source", source))
        ]
        value = torch.cat((value, *ends), 1)
        for n in (1, 2):
            value = silu(self.layer_norm(f"{name}.hidden{n}.norm", self.dense(f"{name}.hidden{n}", value)))
        return self.dense(name, value)

    def norm(self, name, x):
        """Merged over degrees: one mean square for all, each degree counted alike."""
        layer = self.model.layer(name)
        x = [x[0] - x[0].mean(2, keepdim=True), *x[1:]]
        size = sum(part.square().mean((1, 2), keepdim=True) for part in x) / len(x)
        weights = layer.weight.view(len(x), -1)
        x = [part / (size + 1e-5).sqrt() * weight for part, weight in zip(x, weights, strict=True)]
        return [x[0] + layer.bias, *x[1:]]

    def linear(self, name, x, out):
        layer, at, found = self.model.layer(name), 0, []
        for part, width in zip(x, out, strict=True):
            size = part.shape[2]
            matrix = layer.weight[at : at + size * width].view(size, width)
            at += size * width
            found.append(part @ matrix / math.sqrt(size))
        return [found[0] + layer.bias, *found[1:]]

    def so2(self, name, blocks, out):
        """y_0 = W x_0; y_(+m) + i y_(-m) = (R + i I)(x_(+m) + i x_(-m)), all degrees at once."""
        weight, at = self.model.layer(name).weight, 0
        rows = blocks[0][1].shape[0]
        y = [torch.zeros(rows, 2 * l + 1, width) for l, width in enumerate(out)]
        top = max(l for l, width in enumerate(out) if width)
        for m in range(min(top, self.mmax) + 1):

            def order(n, m=m):
                return torch.cat([part[:, l + n] for l, part in blocks if l >= m], 1)

            into, onto = order(0).shape[1], sum(out[m:])
            complex_ = m > 0 and self.keep == "SO(3)"
            count = (2 if complex_ else 1) * into * onto
            matrices = weight[at : at + count].view(-1, into, onto) / math.sqrt((1 + complex_) * into)
            at += count
            if complex_:
                value = torch.complex(order(m), order(-m)) @ torch.complex(*matrices)
                mixed = {m: value.real, -m: value.imag}
            else:  # mirrors of natural parities leave no I
                mixed = {n: order(n) @ matrices[0] for n in {m, -m}}
            for n, value in mixed.items():
                for l, part in zip(range(m, len(out)), value.split(out[m:], dim=1), strict=True):
                    y[l][:, l + n] = part
        assert at == weight.numel()
        return y

    def gate(self, x, width):
        kept, gates = x[0][..., :width], sigmoid(x[0][..., width:])
        gates = gates.split(width, dim=2)
        return [silu(kept), *(part * one for part, one in zip(x[1:], gates, strict=True))]


def turns(v):
    """A rotation that takes v to the y axis, with any turn about it, and its matrices of each degree."""
    up = v / v.norm(dim=1, keepdim=True)
    other = torch.linalg.cross(up, torch.tensor([0.3, -0.2, 0.9]).expand_as(up))
    other = other / other.norm(dim=1, keepdim=True)
    q = torch.stack((other, up, torch.linalg.cross(other, up)), dim=1)
    return [o3.Irrep(l, 1).D_from_matrix(q) for l in range(LMAX + 1)]


def energy(model, inputs, mmax, keep):
    net, z = Reference(model, mmax, keep), inputs["species"]
    source, target = inputs["edges"]
    v = inputs["positions"][target] - inputs["positions"][source]
    r, nodes = v.norm(dim=1, keepdim=True), len(z)
    x = r / CUTOFF
    u = 1 - 21 * x**5 + 35 * x**6 - 15 * x**7
    D = turns(v)
    g = net.radial("layer1.start.radial", r, z, source, target).view(-1, LMAX + 1, C)
    h = []
    for l in range(LMAX + 1):
        sphere = o3.spherical_harmonics(l, v, True, normalization="component")
        part = sphere[:, :, None] * g[:, l, None] * u[:, :, None]
        h.append(torch.zeros(nodes, 2 * l + 1, C).index_add(0, target, part) / 7.3)
    h[0] = h[0] + model.layer("features").weight[z][:, None]
    for t in ("layer1", "layer2"):
        n = net.norm(f"{t}.attention.norm", h)
        g = net.radial(f"{t}.attention.radial", r, z, source, target).view(-1, 2, LMAX + 1, C)
        m = [
            (l, D[l] @ (part[at] * g[:, k, l, None]))
            for k, at in enumerate((target, source))
            for l, part in enumerate(n)
        ]
        alpha = net.so2(f"{t}.attention.alpha.map", m, [HEADS * ALPHA])[0][:, 0]
        alpha = alpha + model.layer(f"{t}.attention.alpha").weight
        first = net.so2(f"{t}.attention.first.map", m, [HIDDEN * (LMAX + 1), HIDDEN, HIDDEN])
        first[0] = first[0] + model.layer(f"{t}.attention.first").weight
        gated = list(enumerate(net.gate(first, HIDDEN)))
        second = net.so2(f"{t}.attention.second", gated, [HEADS * VALUES] * 3)
        values = [d.transpose(1, 2) @ part for d, part in zip(D, second, strict=True)]
        attend = model.layer(f"{t}.attention")
        alpha = torch.nn.functional.layer_norm(
            alpha.view(-1, HEADS, ALPHA), (ALPHA,), attend.scale, attend.shift
        )
        alpha = 0.6 * alpha + 0.4 * alpha * (2 * torch.sigmoid(alpha) - 1)
        weights = torch.exp(torch.einsum("ehk,hk->eh", alpha, attend.weight) / math.sqrt(ALPHA)) * u
        weights = weights / torch.zeros(nodes, HEADS).index_add(0, target, weights)[target]
        weights = (weights * u).repeat_interleave(VALUES, dim=1)[:, None]
        pooled = [
            torch.zeros(nodes, 2 * l + 1, HEADS * VALUES).index_add(0, target, part * weights)
            for l, part in enumerate(values)
        ]
        h = [a + b for a, b in zip(h, net.linear(f"{t}.attention.out", pooled, [C] * 3), strict=True)]
        n = net.norm(f"{t}.forward.norm", h)
        first = net.linear(f"{t}.forward.first", n, [FORWARD * (LMAX + 1), FORWARD, FORWARD])
        second = net.linear(f"{t}.forward.second", net.gate(first, FORWARD), [C] * 3)
        h = [a + b for a, b in zip(h, second, strict=True)]
    scalars = net.norm("layer2.norm", h)[0][:, 0]
    hidden = silu(net.dense("layer2.energy.read1", scalars))
    last = model.layer("layer2.energy").weight
    atomic = hidden @ last.view(-1, 1) / math.sqrt(7)
    return (torch.tensor([-1.0, -2.0, -3.0])[z] + 0.5 * atomic[:, 0] + 0.1).sum()


@pytest.mark.parametrize(("mmax", "keep"), [(2, "SO(3)"), (1, "SO(3)"), (2, "O(3)")])
def test_the_preset_is_its_published_equations(mmax, keep, presets):
    group = {"O(3)": "hard"} if keep == "O(3)" else {"SO(3)": "hard"}
    model = presets.built({**SECTION, "mmax": mmax, "keep": keep}, symmetry=group, cutoff=CUTOFF)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():  # what starts at 0 or 1
        for name, value in model.named_parameters():
            if name.endswith(("bias", "shift", "scale", "norm.weight", "first.weight", "alpha.weight")):
                value.add_(torch.randn(value.shape, generator=generator) * 0.3)
    for seed in range(2):
        inputs = presets.molecule(seed=seed, cutoff=CUTOFF)
        inputs["positions"].requires_grad_(True)
        expected = energy(model, inputs, mmax, keep)
        (gradient,) = torch.autograd.grad(expected, inputs["positions"])
        found = model({**inputs, "positions": inputs["positions"].detach()})
        assert float(found["energy"][0]) == pytest.approx(expected.item(), abs=1e-10)
        torch.testing.assert_close(found["forces"], -gradient, atol=1e-9, rtol=1e-9)


def test_mirror_images_are_kept_on_request_alone(presets):
    inputs = presets.molecule(seed=1, cutoff=CUTOFF)
    mirrored = {**inputs, "positions": inputs["positions"] * torch.tensor([-1.0, 1.0, 1.0])}
    for keep, group, claimed in (("SO(3)", "SO(3)", "broken"), ("O(3)", "O(3)", "exact")):
        model = presets.built({**SECTION, "keep": keep}, symmetry={group: "hard"}, cutoff=CUTOFF)
        verdicts = {claim.factor: claim.verdict for claim in model.plan.claims}
        assert verdicts["SO(3)"] == "exact"
        assert verdicts["inversion"] == claimed
        change = float(abs(model(inputs)["energy"] - model(mirrored)["energy"]))
        assert change > 1e-4 if claimed == "broken" else change < 1e-10


def test_products_on_the_sphere_are_exact(presets):
    section = {**SECTION, "activation": "s2_product", "keep": "O(3)"}
    model = presets.built(section, cutoff=CUTOFF)
    assert {claim.verdict for claim in model.plan.claims} == {"exact"}
    inputs = presets.molecule(seed=1, cutoff=CUTOFF)
    turn = o3.rand_matrix()
    turned = {**inputs, "positions": inputs["positions"] @ turn.T}
    assert float(abs(model(inputs)["energy"] - model(turned)["energy"])) < 1e-10
