"""Layers whose features live on edges, or are made of products on them: Allegro, SEGNN, DeepPot-SE."""

from __future__ import annotations

import math

from ..ir.ops import (
    Act,
    Add,
    Bias,
    Concat,
    Filters,
    Gather,
    Gram,
    Keep,
    Linear,
    Mlp,
    Ones,
    Product,
    Reduce,
    Resnet,
    Scale,
    Unfilled,
    Weigh,
)
from ..ir.ops.base import Op
from ..symmetry.irreps import Block as IrrepsBlock
from ..symmetry.irreps import Irreps, harmonics
from .blocks import AllegroBlock, DescriptorBlock, SteerableBlock
from .elaborate_mp import Layers, gated_input, invariants


def allegro(layers: Layers, block: AllegroBlock, k: int, prefix: str) -> None:
    """A layer of Musaelian et al. 2023: scalars x and tensors V of every ordered pair of neighbours.

        x_ij = u(r) MLP(z_i, z_j, radial),  V_ij = w(x_ij) Y_ij                        before the first layer
        G_i  = sum_k w(x_ik) Y_ik / sqrt(N),  T_ij = V_ij (x) G_i, channel by channel
        x_ij <- (x_ij + a u(r) MLP(x_ij, scalars of T_ij)) / sqrt(1 + a^2),  V_ij <- W T_ij
        what atoms carry: sum_j MLP(x_ij) / sqrt(N)

    u is the envelope. Only atoms within one cutoff meet, however many layers there are.
    """
    graph, span, model = layers.graph, layers.where.span(k), layers.model
    sphere, envelope = harmonics(model.features.harmonics), layers.envelope()
    copies, size = block.channels, block.latent[-1]

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.{name}", op, span)

    def latent(name: str, of: tuple[str, ...]) -> str:
        seen = add(f"{name}.input", Concat(of=of))
        bare = add(name, Mlp(of=seen, widths=block.latent[:-1], out=size, activation=block.activation))
        return bare if envelope is None else add(f"{name}.ended", Weigh(of=bare, by=envelope))

    def spread(name: str, of: str) -> str:
        weights = add(f"{name}.weights", Linear(of=of, out=invariants(copies * len(sphere))))
        return add(name, Weigh(of="harmonics", by=weights, copies=copies))

    natural = Irreps(tuple(IrrepsBlock(copies, one.irrep) for one in sphere))
    x, tensors = layers.tracks.get("scalars"), layers.tracks.get("tensors")
    have = layers.track_irreps.get("tensors", natural)
    if x is None or tensors is None:
        ends = (
            add("targets", Gather(of=layers.carried, role="target")),
            add("sources", Gather(of=layers.carried)),
        )
        x = latent("start", (*ends, "radial"))
        tensors = spread("start.tensors", x)
    around = add("around", Reduce(of=spread("sent", x), to="node", norm="root_average"))
    there = add("around.targets", Gather(of=around, role="target"))
    reached = {c for a in have.kinds for b in sphere.kinds for c in a * b}
    wanted = block.tensors.keeping(reached)
    product = add("product", Product(of=(tensors, there), irreps=wanted, mode="uuu"))
    scalars = add("product.scalars", Linear(of=product, out=invariants(copies)))
    new = latent("latent", (x, scalars))
    total = add("latent.sum", Add(of=(x, add("latent.part", Scale(of=new, by=block.mixing)))))
    layers.tracks["scalars"] = add("latent.kept", Scale(of=total, by=1 / math.sqrt(1 + block.mixing**2)))
    layers.tracks["tensors"] = add("tensors", Linear(of=product, out=wanted))
    layers.track_irreps["tensors"] = wanted
    # without biases, a network of what fades fades
    read = Mlp(of=layers.tracks["scalars"], widths=block.readout, out=size, activation=block.activation)
    layers.carried = add("read.pooled", Reduce(of=add("read", read), to="node", norm="root_average"))
    layers.irreps = invariants(size)


def steerable(layers: Layers, block: SteerableBlock, k: int, prefix: str) -> None:
    """A layer of Brandstetter et al. 2022: every product is with the attributes of an edge or a node.

        a_ij = Y_ij,  a_i = 1 (+) mean_j u(r) Y_ij for l > 0
        m_ij = u(r) G(TP[a_ij] G(TP[a_ij](f_i, f_j, radial)))
        f_i <- f_i + TP[a_i] G(TP[a_i](f_i, sum_j m_ij))          at first f_i = TP[a_i](species)

    TP: a fully connected product with a bias on invariants; G: a gate.
    """
    graph, span, model = layers.graph, layers.where.span(k), layers.model
    sphere, envelope = harmonics(model.features.harmonics), layers.envelope()

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.{name}", op, span)

    def ended(name: str, of: str) -> str:
        return of if envelope is None else add(f"{name}.ended", Weigh(of=of, by=envelope))

    def product(name: str, of: str, have: Irreps, by: str, gated: bool) -> tuple[str, Irreps]:
        out = block.irreps.keeping({c for a in have.kinds for b in sphere.kinds for c in a * b})
        before = gated_input(out, None) if gated else out
        value = add(f"{name}.product", Product(of=(of, by), irreps=before, mode="uvw"))
        value = add(name, Bias(of=value))
        return (add(f"{name}.act", Act(of=value, form="gate", f=block.activation)) if gated else value), out

    if "attributes" not in layers.tracks:
        ones = add("ones", Ones(of="features"))
        attributes = ones
        if len(sphere) > 1:
            around = add("around", Reduce(of=ended("around", "harmonics"), to="node", norm="average"))
            higher = Irreps(sphere.blocks[1:])
            attributes = add(
                "attributes", Concat(of=(ones, add("around.higher", Keep(of=around, irreps=higher))))
            )
        layers.tracks["attributes"] = attributes
        layers.carried, layers.irreps = product("start", layers.carried, layers.irreps, attributes, False)
    old, have, by = layers.carried, layers.irreps, layers.tracks["attributes"]
    ends = add("targets", Gather(of=old, role="target")), add("sources", Gather(of=old))
    seen = add("message.input", Concat(of=(*ends, "radial")))
    inside = have + have + invariants(model.features.radial.count)
    first, middle = product("message.first", seen, inside, "harmonics", True)
    second, sent = product("message.second", first, middle, "harmonics", True)
    pooled = add("message.pooled", Reduce(of=ended("message", second), to="node", norm=block.reduce))
    both = add("update.input", Concat(of=(old, pooled)))
    first, middle = product("update.first", both, have + sent, by, True)
    second, out = product("update.second", first, middle, by, False)
    if out == have:
        second = add("sum", Add(of=(old, second)))
    layers.carried, layers.irreps = second, out


def descriptor(layers: Layers, block: DescriptorBlock, k: int, prefix: str) -> None:
    """The smooth DeepPot-SE descriptor of Zhang et al. 2018 and its fitting network.

        s = u(r) / r,  x = (s - mean) / size,  g = N_(z_i z_j)(x)
        A_i = sum_j g_j (x) (x, s r_j / (r spread)) / N, where free places count as neighbours at the cutoff
        D_i = A_i^T A_i restricted to the first `axis` columns;  F_(z_i)(D_i)

    N and F are networks with shortcuts, one for each pair of species and for each species. Beyond its places
    (`sel`, which deepmd-kit has to number), an atom keeps its neighbours.
    """
    graph, span = layers.graph, layers.where.span(k)
    copies, lmax = block.embedding[-1], layers.model.features.harmonics

    def add(name: str, op: Op) -> str:
        return graph.add(f"{prefix}.{name}", op, span)

    filters = Filters(
        of="radial",
        species=layers.pairs(),
        widths=block.embedding,
        lmax=lmax,
        mean=_listed(block.mean),
        size=_listed(block.size),
        spread=_listed(block.spread) or None,
        sel=block.sel,
        one_side=block.one_side,
        activation=block.activation,
        timestep=block.timestep in ("embedding", "both"),
    )
    weights = add("filters", filters)
    spheres = add("spheres", Weigh(of="harmonics", by=weights, copies=copies))
    norm = "sum" if block.sel else block.reduce
    pooled = add("pooled", Reduce(of=spheres, to="node", norm=norm))
    if block.sel:
        pooled = add("pooled.shares", Scale(of=pooled, by=1 / max(sum(block.sel), 1)))
        if any(filters.mean):
            free = add("unfilled", Unfilled(of=weights, species="species", lmax=lmax))
            pooled = add("environment", Add(of=(pooled, free)))
    gram = add("descriptor", Gram(of=pooled, columns=block.axis))
    fit = Resnet(
        of=gram,
        species="species",
        widths=block.fitting,
        out=block.out,
        activation=block.activation,
        timestep=block.timestep in ("fitting", "both"),
    )
    layers.carried, layers.irreps = add("fit", fit), invariants(block.out)


def _listed(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
