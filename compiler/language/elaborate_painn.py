"""Layers of PaiNN as ops: scalars s and vectors v of every atom."""

from __future__ import annotations

from ..ir.ops import Act, Add, Concat, Gather, Inner, Linear, Norms, Product, Reduce, Weigh
from ..ir.ops.base import Op
from ..symmetry.irreps import Block as IrrepsBlock
from ..symmetry.irreps import Irrep, Irreps
from .blocks import PainnBlock
from .elaborate_mp import Layers, invariants

VECTOR = Irrep(1, -1)


def painn(layers: Layers, block: PainnBlock, k: int, prefix: str) -> None:
    """A message and an update of Schütt et al. 2021, sections 3.1 and 3.2.

        s_i += sum_j a(s_j) w_a(r)                                  a, b, c, d, e, f dense networks
        v_i += sum_j v_j b(s_j) w_b(r) + c(s_j) w_c(r) Y_1          w sums of radial functions, enveloped
        s_i += d(s_i, |V v_i|) + e(s_i, |V v_i|) <U v_i, V v_i>
        v_i += f(s_i, |V v_i|) U v_i

    The networks of one line share their hidden layer.
    """
    span = layers.where.span(k)
    count = layers.irreps.dim
    scalar, vectors = invariants(count), Irreps((IrrepsBlock(count, VECTOR),))
    s, v = layers.tracks.get("scalars", layers.carried), layers.tracks.get("vectors")

    def add(name: str, op: Op) -> str:
        return layers.graph.add(f"{prefix}.{name}", op, span)

    def hidden(name: str, of: str) -> str:
        first = add(f"{name}.hidden", Linear(of=of, out=scalar, bias=True))
        return add(f"{name}.act", Act(of=first, f=block.activation))

    def sent(name: str, of: str) -> str:
        return add(f"{name}.sources", Gather(of=add(name, Linear(of=of, out=scalar, bias=True))))

    def filtered(name: str) -> str:
        envelope = layers.envelope()
        bias = layers.model.features.radial.ends == "weights"
        bare = add(f"{name}.filter", Linear(of="radial", out=scalar, bias=bias))
        return bare if envelope is None or not bias else add(f"{name}.weights", Weigh(of=bare, by=envelope))

    def summed(name: str, of: str) -> str:
        return add(f"{name}.pooled", Reduce(of=of, to="node", norm=block.reduce))

    network = hidden("message", s)
    message = add("message.s", Weigh(of=sent("message.a", network), by=filtered("message.a")))
    s = add("message.scalars", Add(of=(s, summed("message.s", message))))
    outward = add(
        "message.outward",
        Product(of=(sent("message.c", network), "harmonics"), weights=filtered("message.c"), irreps=vectors),
    )
    if v is None:
        v = summed("message.v", outward)
    else:
        gate = add("message.gate", Weigh(of=sent("message.b", network), by=filtered("message.b")))
        there = add("message.vectors.sources", Gather(of=v))
        both = add("message.v", Add(of=(outward, add("message.along", Weigh(of=there, by=gate)))))
        v = add("message.vectors", Add(of=(v, summed("message.v", both))))

    left = add("update.U", Linear(of=v, out=vectors))
    right = add("update.V", Linear(of=v, out=vectors))
    seen = add("update.input", Concat(of=(s, add("update.norms", Norms(of=right)))))
    network = hidden("update", seen)
    inner = add("update.inner", Inner(of=(left, right)))
    scale = add("update.e", Linear(of=network, out=scalar, bias=True))
    mixed = add("update.mixed", Weigh(of=inner, by=scale))
    s = add("scalars", Add(of=(s, add("update.d", Linear(of=network, out=scalar, bias=True)), mixed)))
    step = add("update.f", Linear(of=network, out=scalar, bias=True))
    v = add("vectors", Add(of=(v, add("update.v", Weigh(of=left, by=step)))))

    layers.tracks |= {"scalars": s, "vectors": v}
    layers.carried, layers.irreps = s, scalar
    if layers.vectors_wanted and k + 1 == len(layers.model.blocks):
        layers.carried, layers.irreps = add("features", Concat(of=(s, v))), scalar + vectors
