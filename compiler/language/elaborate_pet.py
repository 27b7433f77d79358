"""Layers of the Point Edge Transformer as ops."""

from __future__ import annotations

from ..ir.ops import (
    Act,
    Add,
    Attend,
    Concat,
    Embed,
    Gather,
    Linear,
    Mlp,
    Norm,
    Ones,
    Reduce,
    Scale,
    Tokens,
    Weigh,
)
from ..ir.ops.base import Op
from .blocks import PetBlock
from .elaborate_mp import Layers, invariants


def pet(layers: Layers, block: PetBlock, k: int, prefix: str) -> None:
    """A layer of Pozdnyakov and Ceriotti 2023, as metatrain has it since 2025.

        t_ij = C(A (r_ij, |r_ij|) [, N z_j], m_ij),  t_i = n_i           m_ij = M z_j, n_i = N_0 z_i at first
        t    <- transformer over {t_i, t_ij: j}, softmax(q k / sqrt(d) + ln u_ij)
        m_ij += t_ij + F(LN(t_ij, t_ji))  (`feedforward`), or (m_ij + t_ji) / 2  (`residual`)
        what atoms carry: H(n_i), sum_j u_ij G(m_ij), sum_j u_ij, 1

    r_ij leads from the atom i to its neighbour j, u is the envelope; C, F, G and H are dense networks. Components of
    r are taken for plain numbers, so nothing of this keeps rotations.
    """
    graph, span = layers.graph, layers.where.span(k)
    width, envelope = block.channels, layers.envelope()

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.{name}", op, span)

    def neighbours(name: str) -> str:
        return add(f"{name}.sources", Gather(of=add(name, Embed(of="species", out=width))))

    messages = layers.tracks.get("messages")
    first = messages is None
    if messages is None:
        messages = neighbours("messages.species")
    if first or block.exchange == "residual":
        node = add("node", Embed(of="species", out=block.node))
    else:
        node = layers.tracks["node"]
    outward = _outward(layers, k)
    seen = add("geometry.input", Concat(of=(outward, "lengths")))
    geometry = add("geometry", Mlp(of=seen, widths=(), out=width, bias=True))
    parts = (geometry, messages) if first else (geometry, neighbours("species"), messages)
    joined = add("compress.input", Concat(of=parts))
    edges = add("compress", Mlp(of=joined, widths=(width,), out=width, bias=True))
    for n in range(1, block.depth + 1):
        node, edges = _transformer(layers, block, k, f"{prefix}.transformer{n}", node, edges)

    # the residual form reads what the transformer gives, the other what has been exchanged since
    read = edges
    back = add("reverse", Gather(of=edges, role="reverse"))
    if block.exchange == "residual":
        total = add("messages.sum", Add(of=(messages, back)))
        layers.tracks["messages"] = add("messages", Scale(of=total, by=0.5))
    else:
        both = add("combine.norm", Norm(of=add("combine.input", Concat(of=(edges, back)))))
        mixed = add("combine", Mlp(of=both, widths=(2 * width,), out=width, bias=True))
        read = layers.tracks["messages"] = add("messages", Add(of=(messages, edges, mixed)))
    layers.tracks["node"] = node
    _read(layers, block, k, prefix, node, read, envelope)


def _transformer(
    layers: Layers, block: PetBlock, k: int, prefix: str, node: str, edges: str
) -> tuple[str, str]:
    """One layer: attention among the tokens of every atom, then a network of each."""
    graph, span = layers.graph, layers.where.span(k)
    expanded = block.node != block.channels

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.{name}", op, span)

    def linear(name: str, of: str, out: int) -> str:
        return add(name, Linear(of=of, out=invariants(out), bias=True))

    def norm(name: str, of: str) -> str:
        return add(name, Norm(of=of, form=block.norm, eps=block.eps))

    def network(name: str, of: str, hidden: int, out: int) -> str:
        value = linear(f"{name}.in", of, hidden)
        if block.activation == "silu":
            return linear(name, add(f"{name}.act", Act(of=value, f="silu")), out)
        gate = add(f"{name}.gate.act", Act(of=linear(f"{name}.gate", of, hidden), f="sigmoid"))
        return linear(name, add(f"{name}.act", Weigh(of=value, by=gate)), out)

    centre = linear("contraction", node, block.channels) if expanded else node
    tokens = add("tokens", Tokens(of=(edges, centre)))
    normal = norm("attention.norm", tokens) if block.order == "pre" else tokens
    queries = linear("attention.queries", normal, block.channels)
    if block.temperature != 1.0:
        queries = add("attention.queries.cool", Scale(of=queries, by=1 / block.temperature))
    keys, values = (linear(f"attention.{name}", normal, block.channels) for name in ("keys", "values"))
    attend = Attend(
        of=values,
        by=(queries, keys),
        logit="dot",
        scope="tokens",
        heads=block.heads,
        envelope=layers.envelope(),
    )
    new = linear("attention.out", add("attention", attend), block.channels)
    if block.order == "post":
        new = norm("attention.norm", add("attention.sum", Add(of=(tokens, new))))
        mixed = network("network", new, block.forward, block.channels)
        new = norm("network.norm", add("network.sum", Add(of=(new, mixed))))
    here, around = add("nodes", Gather(of=new, role="nodes")), add("edges", Gather(of=new, role="edges"))
    if expanded:
        moved = add("node.sum", Add(of=(node, linear("expansion", here, block.node))))
        mixed = network("node.network", norm("node.norm", moved), 2 * block.node, block.node)
        here = add("node", Add(of=(moved, mixed)))
    if block.order == "post":
        return here, around
    moved = add("edges.sum", Add(of=(edges, around)))
    mixed = network("network", norm("network.norm", moved), block.forward, block.channels)
    return here, add("edges.new", Add(of=(moved, mixed)))


def _outward(layers: Layers, k: int) -> str:
    """The vectors from atoms to their neighbours."""
    if "outward" not in layers.graph:
        layers.graph.add("outward", Scale(of="vectors", by=-1.0), layers.where.span(k))
    return "outward"


def _read(
    layers: Layers, block: PetBlock, k: int, prefix: str, node: str, edges: str, envelope: str | None
) -> None:
    """What a linear head reads: networks of the atom and of its edges, and what their biases multiply."""
    graph, span = layers.graph, layers.where.span(k)

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.read.{name}", op, span)

    def network(name: str, of: str) -> str:
        for n, width in enumerate(block.readout, 1):
            hidden = add(f"{name}{n}", Linear(of=of, out=invariants(width), bias=True))
            of = add(f"{name}{n}.act", Act(of=hidden))
        return of

    def summed(name: str, of: str) -> str:
        ended = of if envelope is None else add(f"{name}.ended", Weigh(of=of, by=envelope))
        return add(f"{name}.pooled", Reduce(of=ended, to="node"))

    pairs, ones = add("pairs", Ones(of=edges)), add("ones", Ones(of=node))
    parts = (network("node", node), summed("edges", network("edges", edges)), summed("pairs", pairs), ones)
    layers.carried = add("features", Concat(of=parts))
    last = block.readout[-1] if block.readout else 0
    widths = (last or block.node) + (last or block.channels) + 2
    layers.irreps = invariants(widths)
