"""Layers of EquiformerV2 as ops."""

from __future__ import annotations

from ..ir.ops import (
    Act,
    Add,
    Attend,
    Bias,
    Concat,
    Embed,
    Frame,
    FromFrame,
    Gather,
    Keep,
    Linear,
    Norm,
    Reduce,
    So2,
    ToFrame,
    Weigh,
)
from ..ir.ops.base import Op
from ..symmetry.irreps import Block as IrrepsBlock
from ..symmetry.irreps import Irreps, harmonics
from .blocks import EquiformerBlock
from .elaborate_mp import Layers, gated_input, invariants


def equiformer(layers: Layers, block: EquiformerBlock, k: int, prefix: str) -> None:
    """A block of Liao et al. 2024, figure 2; in the frame of an edge x' = D(Q_ij) x.

        g_ij = R(radial(r_ij), S z_i, T z_j)                   R, S, T of every use their own
        x_i  = E z_i (+) sum_j u g_ij Y_ij / N                 before the first layer
        m'   = SO2(g (n_i, n_j)'),  n = norm(x);  s_ij = f(LN(alpha(m')))
        x_i += W sum_j softmax_j(s_ij; u_ij) u_ij D^-1 SO2(act(m'))
        x_i += W act(W norm(x_i))

    R is a network with layer norms; act gates, or multiplies functions on the sphere. The envelope
    u is in the softmax and after it, so that nothing jumps at the cutoff.
    """
    graph, span = layers.graph, layers.where.span(k)

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.{name}", op, span)

    if layers.carried == "features":
        layers.carried = _start(layers, block, k, prefix)
        layers.irreps = block.irreps
    old = layers.carried
    normal = add("attention.norm", Norm(of=old, statistic="merged"))
    ends = (
        add("attention.targets", Gather(of=normal, role="target")),
        add("attention.sources", Gather(of=normal)),
    )
    both = add("attention.ends", Concat(of=ends))
    weights = _radial(layers, block, f"{prefix}.attention.radial", k, 2 * block.irreps.count)
    weighed = add("attention.weighed", Weigh(of=both, by=weights))
    axes = _axes(layers, block.irreps.lmax, k)
    turned = add("attention.turned", ToFrame(of=(weighed, axes)))

    def mixed(name: str, of: str, out: Irreps) -> str:
        return add(name, So2(of=of, out=out, mmax=block.mmax, keep=block.keep))

    features = invariants(block.heads * block.alpha)
    inner = _before(_times(block.irreps, block.hidden), block.activation)
    alpha = add("attention.alpha", Bias(of=mixed("attention.alpha.map", turned, features)))
    first = add("attention.first", Bias(of=mixed("attention.first.map", turned, inner)))
    message = add("attention.act", Act(of=first, form=block.activation))
    sent = _times(block.irreps, block.heads * block.values)
    second = mixed("attention.second", message, sent)
    values = add("attention.values", FromFrame(of=(second, axes)))
    envelope = layers.envelope()
    if envelope is not None:
        values = add("attention.values.ended", Weigh(of=values, by=envelope))
    attend = Attend(of=values, by=(alpha,), heads=block.heads, envelope=envelope)
    pooled = add("attention", attend)
    moved = add("attention.out", Linear(of=pooled, out=block.irreps, bias=True))
    old = add("attention.sum", Add(of=(old, moved)))

    normal = add("forward.norm", Norm(of=old, statistic="merged"))
    inner = _before(_times(block.irreps, block.forward), block.activation)
    first = add("forward.first", Linear(of=normal, out=inner, bias=True))
    second = add("forward.act", Act(of=first, form=block.activation))
    new = add("sum", Add(of=(old, add("forward.second", Linear(of=second, out=block.irreps, bias=True)))))
    layers.carried = add("norm", Norm(of=new, statistic="merged")) if block.normed else new


def _times(irreps: Irreps, copies: int) -> Irreps:
    """These irreps with so many copies of each."""
    return Irreps(tuple(IrrepsBlock(copies, kind) for kind in irreps.kinds))


def _before(wide: Irreps, activation: str) -> Irreps:
    """What an activation needs to give `wide`."""
    if activation == "gate":
        return gated_input(wide, None)
    return Irreps(tuple(IrrepsBlock(2 * block.mul, block.irrep) for block in wide))


def _axes(layers: Layers, lmax: int, k: int) -> str:
    """The frame of every edge, made once."""
    if "axes" not in layers.tracks:
        op = Frame(of=("vectors",), lmax=lmax)
        layers.tracks["axes"] = layers.graph.add("axes", op, layers.where.span(k))
    return layers.tracks["axes"]


def _radial(layers: Layers, block: EquiformerBlock, name: str, k: int, out: int) -> str:
    """Numbers of every edge: a network with layer norms of its radial functions and the species at its ends."""
    graph, span = layers.graph, layers.where.span(k)

    def add(part: str, op: Op) -> str:
        return graph.add(f"{name}.{part}", op, span)

    ends = []
    for role in ("target", "source"):
        species = add(f"{role}.species", Embed(of="species", out=block.radial[-1]))
        ends.append(add(role, Gather(of=species, role=role)))  # type: ignore[arg-type]
    value = add("input", Concat(of=("radial", *ends)))
    for n, width in enumerate(block.radial, 1):
        value = add(f"hidden{n}", Linear(of=value, out=invariants(width), bias=True))
        value = add(f"hidden{n}.norm", Norm(of=value))
        value = add(f"hidden{n}.act", Act(of=value))
    return graph.add(name, Linear(of=value, out=invariants(out), bias=True), span)


def _start(layers: Layers, block: EquiformerBlock, k: int, prefix: str) -> str:
    """Species, and what neighbours are around: harmonics weighed by networks of edges."""
    graph, span = layers.graph, layers.where.span(k)

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.start.{name}", op, span)

    sphere = harmonics(layers.model.features.harmonics)
    copies = layers.irreps.dim
    weights = _radial(layers, block, f"{prefix}.start.radial", k, copies * len(sphere))
    around = add("spheres", Weigh(of="harmonics", by=weights, copies=copies))
    envelope = layers.envelope()
    if envelope is not None:
        around = add("ended", Weigh(of=around, by=envelope))
    pooled = add("pooled", Reduce(of=around, to="node", norm="average"))
    scalars = add("scalars", Keep(of=pooled, irreps=layers.irreps))
    sum_ = add("sum", Add(of=(layers.carried, scalars)))
    if len(sphere) == 1:
        return sum_
    rest = Irreps(tuple(IrrepsBlock(copies, one.irrep) for one in sphere.blocks[1:]))
    return add("features", Concat(of=(sum_, add("others", Keep(of=pooled, irreps=rest)))))
