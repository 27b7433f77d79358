"""Allegro as nequip-allegro 0.8 has it: tensors of pairs, and scalars that every layer adds to those before."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..ir.ops import Act, Concat, Embed, Gather, Keep, Linear, Mlp, Product, Reduce, SumBlocks, Weigh
from ..ir.ops.base import Op
from ..symmetry.irreps import Block as IrrepsBlock
from ..symmetry.irreps import Irrep, Irreps, harmonics
from .blocks import DenseAllegroBlock
from .elaborate_mp import INVARIANT, Layers, invariants


def allegro_dense(layers: Layers, block: DenseAllegroBlock, k: int, prefix: str) -> None:
    """A layer of Musaelian et al. 2023 as it is released: scalars x and tensors V of every ordered pair.

        s_ij = MLP((a_(z_i) (+) b_(z_j)) B radial_ij),  V_ij = (W s_ij) Y_ij,  x_0 = W s_ij,  w_0 = W s_ij
        A_i  = sum_k w_ik Y_ik / sqrt(N),  V_ij <- sum_paths v_p V_ij (x) A_i, channel by channel
        x_(t+1) (+) w_(t+1) = MLP(x_0 (+) ... (+) x_t (+) scalars of V_ij)
        what atoms carry: sum_j MLP(x_0 (+) ... (+) x_(t+1)) / sqrt(N)

    The radial functions end at the cutoff, and no network has a bias: everything ends with them.
    """
    graph, span, model = layers.graph, layers.where.span(k), layers.model
    sphere = harmonics(model.features.harmonics)
    copies = block.channels

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.{name}", op, span)

    if "dense.scalars" not in layers.tracks:
        ends = tuple(
            add(
                role,
                Gather(of=add(f"{role}.embedded", Embed(of="species", out=block.embedding // 2)), role=role),
            )
            for role in ("target", "source")
        )
        lengths = add("lengths", Linear(of="radial", out=invariants(block.embedding)))
        seen = add("start.input", Weigh(of=add("species", Concat(of=ends)), by=lengths))
        start = add("start", Mlp(of=seen, widths=block.start, out=block.scalars, activation=block.activation))
        weights = add("start.weights", Linear(of=start, out=invariants(copies * len(sphere))))
        layers.tracks["dense.tensors"] = add(
            "start.tensors", Weigh(of="harmonics", by=weights, copies=copies)
        )
        layers.tracks["dense.scalars"] = add("start.scalars", Linear(of=start, out=invariants(block.scalars)))
        layers.tracks["dense.sent"] = add(
            "sent.weights", Linear(of=start, out=invariants(copies * len(sphere)))
        )
        layers.track_irreps["dense.tensors"] = sphere
    sent = add("sent", Weigh(of="harmonics", by=layers.tracks["dense.sent"], copies=copies))
    around = add("around", Reduce(of=sent, to="node", norm="root_average"))
    there = add("around.targets", Gather(of=around, role="target"))
    allowed = []
    for follower in model.blocks[k:]:
        if not isinstance(follower, DenseAllegroBlock):
            break
        allowed.append(frozenset(follower.tensors.kinds))
    kinds = kept_kinds(layers.track_irreps["dense.tensors"].kinds, sphere.kinds, allowed)
    wanted = Irreps(tuple(IrrepsBlock(copies, kind) for kind in kinds))
    paths = add("paths", Product(of=(layers.tracks["dense.tensors"], there), irreps=wanted, mode="uuu"))
    tensors = add("tensors", SumBlocks(of=paths))
    scalars = add("invariants", Keep(of=tensors, irreps=invariants(copies)))
    old = layers.tracks["dense.scalars"]
    *hidden, width = block.latent
    seen = add("latent.input", Concat(of=(old, scalars)))
    bare = add("latent", Mlp(of=seen, widths=tuple(hidden), out=width, activation=block.activation))
    inner = add("latent.act", Act(of=bare, form="pointwise", f=block.activation))
    new = add("latent.scalars", Linear(of=inner, out=invariants(block.scalars)))
    if len(allowed) > 1:
        layers.tracks["dense.sent"] = add(
            "latent.sent", Linear(of=inner, out=invariants(copies * len(sphere)))
        )
    layers.tracks["dense.tensors"], layers.track_irreps["dense.tensors"] = tensors, wanted
    layers.tracks["dense.scalars"] = add("scalars", Concat(of=(old, new)))
    read = Mlp(of=layers.tracks["dense.scalars"], widths=block.readout, out=1, activation=block.activation)
    layers.carried = add("read.pooled", Reduce(of=add("read", read), to="node", norm="root_average"))
    layers.irreps = invariants(1)


def kept_kinds(
    have: Sequence[Irrep], sphere: Sequence[Irrep], allowed: Sequence[frozenset[Irrep]]
) -> list[Irrep]:
    """The irreps that the first of several layers has to make of `have`, for the last to make scalars.

    `allowed` is what each layer may make; the last makes 0e alone.
    """

    around = tuple(sphere)
    reached = [frozenset(have)]
    for t, kinds in enumerate(allowed):
        may = frozenset({INVARIANT}) if t + 1 == len(allowed) else kinds
        reached.append(_made(reached[-1], around) & may)
    useful = frozenset({INVARIANT})
    for kinds in reversed(reached[1:-1]):
        useful = _leading(kinds, useful, around)
    return sorted(useful, key=lambda one: (one.l, one.p))


# a deep model has few irreps, and asks the same of each in every layer
@lru_cache(maxsize=4096)
def _made(kinds: frozenset[Irrep], sphere: tuple[Irrep, ...]) -> frozenset[Irrep]:
    """What products of these irreps with the sphere's hold."""
    return frozenset(made for one in kinds for other in sphere for made in one * other)


@lru_cache(maxsize=4096)
def _leading(
    kinds: frozenset[Irrep], useful: frozenset[Irrep], sphere: tuple[Irrep, ...]
) -> frozenset[Irrep]:
    """Those of the irreps that a product makes something useful of."""
    return frozenset(one for one in kinds if _made(frozenset({one}), sphere) & useful)
