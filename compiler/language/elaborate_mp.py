"""The message-passing template of level 2 as ops."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.ops import (
    Act,
    Add,
    Dilute,
    Envelope,
    Gather,
    Linear,
    Mlp,
    PairKind,
    Power,
    Product,
    Reduce,
    Sample,
    Saturate,
    Unsample,
    Weigh,
)
from ..ir.ops.act import gated_part
from ..ir.ops.base import MAX_SIZE
from ..ir.ops.paths import product_paths
from ..symmetry.irreps import Block as IrrepsBlock
from ..symmetry.irreps import Irrep, Irreps, harmonics
from .block_parts import ActSpec, DenseUpdate, MessageSpec, RadialLinear, SphereMixer
from .blocks import MpBlock
from .builder import Builder
from .levels import ModelSource
from .schema_model import AtomsModel

INVARIANT = Irrep(0, 1)


def invariants(count: int) -> Irreps:
    """`count` copies of 0e."""
    return Irreps((IrrepsBlock(count, INVARIANT),))


@dataclass(slots=True)
class Layers:
    """What passes from block to block: the graph so far, and the features that nodes carry.

    `tracks` are values beside those features that blocks of one kind hand to the next; `vectors_wanted` says
    that some target is no invariant.
    """

    graph: Builder
    model: AtomsModel
    where: ModelSource
    carried: str
    irreps: Irreps
    cutoff: float = 0.0
    tracks: dict[str, str] = field(default_factory=dict)
    track_irreps: dict[str, Irreps] = field(default_factory=dict)
    vectors_wanted: bool = False

    @property
    def is_unbounded(self) -> bool:
        """No distance ends an interaction."""
        return "lengths.normal" in self.graph

    def envelope(self) -> str | None:
        """The value of the envelope on every edge, made when first asked for; None where there is none."""
        shape = self.model.features.radial.shape
        if shape is None or self.is_unbounded:
            return None
        if "envelope" not in self.graph:
            self.graph.add("envelope", Envelope(of="lengths", shape=shape), self.where.anchor)
        return "envelope"

    def pairs(self) -> str:
        """The pair of species of every edge, made when first asked for."""
        if "pairs" not in self.graph:
            self.graph.add("pairs", PairKind(of="species"), self.where.anchor)
        return "pairs"


def message_passing(layers: Layers, block: MpBlock, k: int, prefix: str) -> None:
    """up -> gather -> product -> reduce -> (mix) -> (power) -> update -> skip -> act."""
    graph, where, irreps = layers.graph, layers.where, layers.irreps
    span, message = where.span(k), where.span(k, "message")
    sphere = harmonics(layers.model.features.harmonics)
    wanted = block.message.irreps
    if block.message.unreachable == "drop":
        wanted = wanted.keeping({path.out.irrep for path in product_paths(irreps, sphere, wanted)})
    up = graph.add(f"{prefix}.up", Linear(of=layers.carried, out=irreps), span)
    sources = graph.add(f"{prefix}.sources", Gather(of=up), span)
    count = sum(path.out.mul for path in product_paths(irreps, sphere, wanted))
    weights = _weights(layers, block.message, k, prefix, min(max(count, 1), MAX_SIZE))
    product = Product(of=(sources, "harmonics"), weights=weights, irreps=wanted)
    messages = graph.add(f"{prefix}.messages", product, where.span(k, "message", "irreps"))
    norm = "sum" if block.message.reduce == "density" else block.message.reduce
    value = graph.add(f"{prefix}.pooled", Reduce(of=messages, to="node", norm=norm), message)
    if block.message.reduce == "density":
        value = _diluted(layers, value, k, prefix)
    if block.mix == "species" or (block.power is not None and block.power.of == "mixed"):
        value = graph.add(f"{prefix}.A", Linear(of=value, out=wanted), message)
    if block.mix == "species":
        mix = Linear(of=value, out=wanted, species="species")
        value = graph.add(f"{prefix}.mix", mix, where.span(k, "mix"))
    if block.power is not None:
        spec = block.power
        op = Power(of=value, species="species", order=spec.order, out=block.carry, basis=spec.basis)
        value = graph.add(
            f"{prefix}.power", op, where.span(k, "power", causes=(("carry",), ("message", "irreps")))
        )
    carry = block.carry if block.message.unreachable == "refuse" else block.carry.keeping(wanted.kinds)
    _update(layers, block, k, prefix, value, carry)


def _weights(layers: Layers, message: MessageSpec, k: int, prefix: str, count: int) -> str:
    """One number for each path and channel of the product, on every edge.

    Where none or too many are asked for, the product says so.
    """
    graph, span, form = layers.graph, layers.where.span(k, "message"), message.radial
    name = f"{prefix}.weights"
    bare = f"{name}.bare" if layers.model.features.radial.ends == "weights" else name
    if isinstance(form, RadialLinear):
        species = layers.pairs() if form.per == "pair" else None
        weights = graph.add(bare, Linear(of="radial", out=invariants(count), species=species), span)
    elif isinstance(form, tuple):
        op = Mlp(of="radial", widths=form, out=count, activation=message.activation)
        weights = graph.add(bare, op, span)
    else:
        op = Mlp(of="radial", widths=form.widths, out=count, activation=form.activation, bias=form.bias)
        weights = graph.add(bare, op, span)
    envelope = layers.envelope() if bare != name else None
    return weights if envelope is None else graph.add(name, Weigh(of=weights, by=envelope), span)


def _diluted(layers: Layers, value: str, k: int, prefix: str) -> str:
    """Sums over one plus what the neighbours count: sum_j u tanh((sum_n w_n R_n)^2)."""
    graph, span = layers.graph, layers.where.span(k, "message", "reduce")
    name = f"{prefix}.crowd"
    count = graph.add(f"{name}.bare", Linear(of="radial", out=invariants(1)), span)
    count = graph.add(f"{name}.each", Saturate(of=count), span)
    envelope = layers.envelope() if layers.model.features.radial.ends == "weights" else None
    if envelope is not None:
        count = graph.add(f"{name}.ended", Weigh(of=count, by=envelope), span)
    count = graph.add(name, Reduce(of=count, to="node"), span)
    return graph.add(f"{prefix}.diluted", Dilute(of=value, by=count), span)


def _update(layers: Layers, block: MpBlock, k: int, prefix: str, value: str, carry: Irreps) -> None:
    """From the sum (or its powers) to the features that go on."""
    graph, where = layers.graph, layers.where
    before = _before(block.act, carry)
    if isinstance(block.update, DenseUpdate):
        dense = block.update
        op = Mlp(of=value, widths=dense.widths, out=carry.dim, activation=dense.activation, bias=dense.bias)
        value = graph.add(f"{prefix}.update", op, where.span(k, "update"))
    else:
        value = graph.add(f"{prefix}.update", Linear(of=value, out=before), where.span(k, "carry"))
    if block.skip == "identity":
        value = graph.add(f"{prefix}.sum", Add(of=(value, layers.carried)), where.span(k, "skip"))
    elif block.skip != "none":
        species = "species" if block.skip == "species" else None
        skip = Linear(of=layers.carried, out=before, species=species)
        if block.message.unreachable == "drop":
            skip = skip.model_copy(update={"missing": "zero"})
        kept = graph.add(f"{prefix}.skip", skip, where.span(k, "skip"))
        value = graph.add(f"{prefix}.sum", Add(of=(value, kept)), where.span(k, "skip"))
    layers.carried, layers.irreps = value, carry
    if block.act is not None:
        act = Act(of=value, form=block.act.form, f=block.act.f, gate=block.act.gate, odd=block.act.odd)
        activate(layers, f"{prefix}.act", act, before, k, "act")
    if block.mixer is not None:
        _mix_on_sphere(layers, block.mixer, k, prefix)


def _before(act: ActSpec | None, carry: Irreps) -> Irreps:
    """What the layer computes for its activation to give `carry`."""
    return gated_input(carry, act.odd) if act is not None and act.form == "gate" else carry


def gated_input(out: Irreps, odd: str | None) -> Irreps:
    """What a gate needs to give `out`: it eats one scalar per gated irrep."""
    gated = gated_part(out, odd).count
    return (invariants(gated) + out).simplified() if gated else out


def activate(layers: Layers, name: str, op: Act, irreps: Irreps, k: int, *keys: str) -> None:
    """Apply a nonlinearity to the carried features, which have these irreps."""
    layers.carried = layers.graph.add(name, op, layers.where.span(k, *(keys or ("form",))))
    layers.irreps = irreps
    if op.form == "gate":
        rest = Irreps(tuple(block for block in irreps if not block.irrep.is_invariant))
        kept = irreps.mul_of(INVARIANT) - gated_part(irreps, op.odd).count
        layers.irreps = (invariants(kept) if kept > 0 else Irreps(())) + rest


def _mix_on_sphere(layers: Layers, mixer: SphereMixer, k: int, prefix: str) -> None:
    """x + what a dense network makes of the values of x on a sphere, point by point (Miklaucic et al. 2025)."""
    graph, span, channels = layers.graph, layers.where.span(k, "mixer"), layers.irreps.channels or 1
    values = graph.add(f"{prefix}.sampled", Sample(of=layers.carried, degree=mixer.degree), span)
    network = Mlp(of=values, widths=mixer.widths, out=channels, activation=mixer.activation)
    mixed = graph.add(f"{prefix}.network", network, span)
    back = graph.add(f"{prefix}.mixed", Unsample(of=mixed), span)
    layers.carried = graph.add(f"{prefix}.mixer", Add(of=(layers.carried, back)), span)
