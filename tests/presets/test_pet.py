"""The Point Edge Transformer written out atom by atom, its messages found by the image they come from."""

import math

import pytest
import torch

CUTOFF, D, NODE, HEADS, HIDDEN = 3.5, 6, 8, 2, 5
SECTION = {
    "architecture": "pet",
    **{"channels": D, "node": NODE, "heads": HEADS, "forward": HIDDEN, "readout": [5, 4], "start": 0.6},
}
FORMS = {
    "of 2026": {},
    "of 2023": {
        **{"order": "post", "norm": "layer", "eps": 1e-5, "activation": "silu", "exchange": "residual"},
        **{"read": "all", "node": D},
    },
    "mixed": {"order": "post", "temperature": 1.7, "depth": 1, "start": 0.0},
    "narrow": {"node": D, "layers": 1, "norm": "layer", "eps": 1e-5},
}
FREE = {"O(3)": "free"}


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


class Network:
    def __init__(self, model, options):
        self.model = model
        self.options = {"order": "pre", "norm": "rms", "activation": "swiglu", "temperature": 1.0, **options}
        self.eps = self.options.get("eps", 1.1920929e-07)

    def linear(self, name, x):
        layer = self.model.layer(name)
        return x @ layer.weight.view(x.shape[-1], -1) / math.sqrt(x.shape[-1]) + layer.bias

    def dense(self, name, x):
        layer = self.model.layer(name)
        for k, (weight, bias) in enumerate(zip(layer.weights, layer.biases, strict=True)):
            x = (silu(x) if k else x) @ weight / math.sqrt(len(weight)) + bias
        return x

    def norm(self, name, x, form=None, eps=None):
        layer = self.model.layer(name)
        if (form or self.options["norm"]) == "layer":
            x = x - x.mean(-1, keepdim=True)
            return (
                x / (x.square().mean(-1, keepdim=True) + (eps or self.eps)).sqrt() * layer.weight + layer.bias
            )
        return x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt() * layer.weight

    def network(self, name, x):
        value = self.linear(f"{name}.in", x)
        if self.options["activation"] == "silu":
            return self.linear(name, silu(value))
        return self.linear(name, value * sigmoid(self.linear(f"{name}.gate", x)))

    def attention(self, name, tokens, u):
        """Rows: the atom, then its neighbours."""
        q, k, v = (self.linear(f"{name}.{part}", tokens) for part in ("queries", "keys", "values"))
        parts = []
        for head in range(HEADS):
            mine = slice(head * D // HEADS, (head + 1) * D // HEADS)
            logits = q[:, mine] @ k[:, mine].T / math.sqrt(D / HEADS) / self.options["temperature"]
            parts.append(torch.softmax(logits + u.clamp(min=1e-15).log(), dim=1) @ v[:, mine])
        return self.linear(f"{name}.out", torch.cat(parts, 1))

    def transformer(self, name, node, edges, u):
        expanded = len(node) != D
        centre = self.linear(f"{name}.contraction", node) if expanded else node
        tokens = torch.cat((centre[None], edges))
        if self.options["order"] == "pre":
            new = self.attention(f"{name}.attention", self.norm(f"{name}.attention.norm", tokens), u)
        else:
            new = self.norm(f"{name}.attention.norm", tokens + self.attention(f"{name}.attention", tokens, u))
            new = self.norm(f"{name}.network.norm", new + self.network(f"{name}.network", new))
        here, around = new[0], new[1:]
        if expanded:
            here = node + self.linear(f"{name}.expansion", here)
            here = here + self.network(f"{name}.node.network", self.norm(f"{name}.node.norm", here))
        if self.options["order"] == "pre":
            around = edges + around
            around = around + self.network(f"{name}.network", self.norm(f"{name}.network.norm", around))
        return here, around


def energy(model, inputs, options):
    net, z = Network(model, options), inputs["species"]
    source, target = inputs["edges"]
    lattice = inputs["cell"][inputs["system"][target]]
    r = inputs["positions"][source] - inputs["positions"][target]
    r = r + torch.einsum("ek,ekx->ex", inputs["shifts"], lattice)
    length = r.norm(dim=1, keepdim=True)
    start = options.get("start", 0.6)
    x = ((length / CUTOFF - start) / (1 - start)).clamp(1e-9, 1 - 1e-9)
    u = (1 + torch.tanh(1 / torch.tan(math.pi * x))) / 2
    ends = [
        (int(s), int(t), *(int(n) for n in shift))
        for s, t, shift in zip(source, target, inputs["shifts"], strict=True)
    ]
    back = [ends.index((t, s, -a, -b, -c)) for s, t, a, b, c in ends]
    layers = options.get("layers", 2)
    residual = options.get("exchange") == "residual"
    messages = model.layer("layer1.messages.species").weight[z][source]
    nodes = model.layer("layer1.node").weight[z]
    total = 0.0
    for t in range(1, layers + 1):
        if residual:
            nodes = model.layer(f"layer{t}.node").weight[z]
        parts = [net.dense(f"layer{t}.geometry", torch.cat((r, length), 1))]
        if t > 1:
            parts.append(model.layer(f"layer{t}.species").weight[z][source])
        tokens = net.dense(f"layer{t}.compress", torch.cat((*parts, messages), 1))
        new_nodes, new_edges = [], torch.zeros_like(tokens)
        for i in range(len(z)):
            near = (target == i).nonzero()[:, 0]
            weights = torch.cat((torch.ones(1), u[near, 0]))
            here, around = nodes[i], tokens[near]
            for n in range(1, options.get("depth", 2) + 1):
                here, around = net.transformer(f"layer{t}.transformer{n}", here, around, weights)
            new_nodes.append(here)
            new_edges = new_edges.index_copy(0, near, around)
        nodes, answer = torch.stack(new_nodes), new_edges[back]
        read = new_edges
        if residual:
            messages = (messages + answer) / 2
        else:
            both = net.norm(f"layer{t}.combine.norm", torch.cat((new_edges, answer), 1), "layer", 1e-5)
            read = messages = messages + new_edges + net.dense(f"layer{t}.combine", both)
        if not residual and t < layers:
            continue

        def head(name, value, t=t):
            for n in (1, 2):
                value = silu(net.linear(f"layer{t}.read.{name}{n}", value))
            return value

        # the last layers of atoms and edges, side by side in one matrix: weights, then biases
        last = model.layer(f"layer{t}.energy").weight / math.sqrt(2 * 4 + 2)
        of_node = head("node", nodes) @ last[:4] + last[9]
        of_edge = (head("edges", read) @ last[4:8] + last[8]) * u[:, 0]
        total = total + of_node.index_add(0, target, of_edge)
    return (torch.tensor([-1.0, -2.0, -3.0])[z] + 0.5 * total + 0.1).sum()


def model_of(options, presets):
    model = presets.built({**SECTION, **options}, symmetry=FREE, cutoff=CUTOFF)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():  # what starts at 0 or 1
        for name, value in model.named_parameters():
            if "bias" in name or name.endswith("norm.weight"):
                value.add_(torch.randn(value.shape, generator=generator) * 0.3)
    return model


@pytest.mark.parametrize("name", FORMS)
def test_the_preset_is_its_published_equations(name, presets):
    model = model_of(FORMS[name], presets)
    for inputs in (presets.molecule(seed=0, cutoff=CUTOFF), presets.molecule(3, 1, CUTOFF, periodic=True)):
        inputs["positions"].requires_grad_(True)
        expected = energy(model, inputs, FORMS[name])
        (gradient,) = torch.autograd.grad(expected, inputs["positions"])
        found = model({**inputs, "positions": inputs["positions"].detach()})
        assert float(found["energy"][0]) == pytest.approx(expected.item(), abs=1e-10)
        torch.testing.assert_close(found["forces"], -gradient, atol=1e-8, rtol=1e-8)


def test_it_does_not_keep_rotations_and_says_so(presets):
    model = model_of({}, presets)
    verdicts = {claim.factor: claim.verdict for claim in model.plan.claims}
    assert verdicts == {
        "SO(3)": "broken",
        "inversion": "broken",
        "translation": "exact",
        "permutation": "exact",
    }
    inputs = presets.molecule(seed=1, cutoff=CUTOFF)
    turned = {**inputs, "positions": inputs["positions"] @ torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])}
    assert float(abs(model(inputs)["energy"] - model(turned)["energy"])) > 1e-4
