"""Level 2 to ops for atoms: the message-passing template."""

from __future__ import annotations

from ..ir.ops import (
    Act,
    Add,
    Embed,
    Gather,
    Length,
    Linear,
    Mlp,
    Power,
    Product,
    Radial,
    Reduce,
    Relative,
    Sph,
)
from ..ir.ops.base import MAX_SIZE
from ..ir.ops.paths import product_paths
from ..symmetry.irreps import Block as IrrepsBlock
from ..symmetry.irreps import Irrep, Irreps, harmonics
from .blocks import ActBlock, ActSpec, AtomsModel, LinearBlock, MpBlock
from .builder import Builder
from .codes import Code
from .diagnostics import Report
from .elaborate_heads import Carried, add_heads
from .levels import ModelSource
from .schema import Spec


def elaborate_atoms(model: AtomsModel, where: ModelSource, spec: Spec, report: Report) -> Builder:
    """Features, blocks and heads as ops; every target that is computed is an op of its name.

    Shapes: node features [N, dim], edge features [E, dim].
    """
    graph = Builder()
    top = where.anchor
    node = model.features.node
    if not node.all_invariant:
        report.error(
            Code.FEATURES_NOT_INVARIANT,
            where.source.span(("model", "features", "node")),
            f"atoms start with invariants (`0e`), not with `{node.short}`",
            help="write `64x0e`; blocks with harmonics bring the higher degrees",
        )
    radial = model.features.radial
    vectors = graph.add("vectors", Relative(of="positions"), top)
    lengths = graph.add("lengths", Length(of=vectors), top)
    basis = graph.add("radial", Radial(of=lengths, count=radial.count, envelope=radial.envelope), top)
    graph.add("harmonics", Sph(of=vectors, lmax=model.features.harmonics), top)
    carried = graph.add("features", Embed(of="species", out=node.dim), top)
    irreps = node

    layers: list[Carried] = []
    layer = 0
    for k, block in enumerate(model.blocks):
        prefix = f"layer{layer + 1}" if isinstance(block, MpBlock) else f"block{k + 1}"
        match block:
            case MpBlock():
                layer += 1
                carried, irreps = _message_passing(
                    graph, block, k, prefix, carried, irreps, basis, model, where
                )
            case ActBlock():
                op = Act(of=carried, form=block.form, f=block.f)
                carried, irreps = _activate(graph, prefix, op, irreps, where, k)
            case LinearBlock():
                carried = graph.add(prefix, Linear(of=carried, out=block.out), where.span(k, "out"))
                irreps = block.out
        # Read after every layer, and after what follows the last one.
        is_layer_end = k + 1 == len(model.blocks) or isinstance(model.blocks[k + 1], MpBlock)
        if is_layer_end:
            layers.append(Carried(prefix, carried, irreps))
    add_heads(graph, layers, model.heads, spec, where, report)
    return graph


def _message_passing(
    graph: Builder,
    block: MpBlock,
    k: int,
    prefix: str,
    carried: str,
    irreps: Irreps,
    basis: str,
    model: AtomsModel,
    where: ModelSource,
) -> tuple[str, Irreps]:
    """up -> gather -> product -> reduce -> down -> mix -> power -> update -> skip -> act."""
    span = where.span(k)
    message = where.span(k, "message")
    wanted = block.message.irreps
    up = graph.add(f"{prefix}.up", Linear(of=carried, out=irreps), span)
    sources = graph.add(f"{prefix}.sources", Gather(of=up), span)
    count = sum(path.out.mul for path in product_paths(irreps, harmonics(model.features.harmonics), wanted))
    weights = graph.add(
        f"{prefix}.weights",
        # none or too many: the product says so below
        Mlp(
            of=basis,
            widths=block.message.radial,
            out=min(max(count, 1), MAX_SIZE),
            activation=block.message.activation,
        ),
        message,
    )
    product = Product(of=(sources, "harmonics"), weights=weights, irreps=wanted)
    messages = graph.add(f"{prefix}.messages", product, where.span(k, "message", "irreps"))
    pooled = graph.add(f"{prefix}.pooled", Reduce(of=messages, to="node", norm=block.message.reduce), message)
    value = graph.add(f"{prefix}.A", Linear(of=pooled, out=wanted), message)
    if block.mix == "species":
        value = graph.add(
            f"{prefix}.mix", Linear(of=value, out=wanted, species="species"), where.span(k, "mix")
        )
    if block.power is not None:
        op = Power(of=value, species="species", order=block.power.order, out=block.carry)
        value = graph.add(f"{prefix}.power", op, where.span(k, "power"))
    value = graph.add(f"{prefix}.update", Linear(of=value, out=_before(block)), where.span(k, "carry"))
    if block.skip != "none":
        species = "species" if block.skip == "species" else None
        skip = Linear(of=carried, out=_before(block), species=species)
        kept = graph.add(f"{prefix}.skip", skip, where.span(k, "skip"))
        value = graph.add(f"{prefix}.sum", Add(of=(value, kept)), where.span(k, "skip"))
    if block.act is not None:
        act = Act(of=value, form=block.act.form, f=block.act.f)
        return _activate(graph, f"{prefix}.act", act, _before(block), where, k, "act")
    return value, block.carry


def _before(block: MpBlock) -> Irreps:
    """What the layer computes for its activation to give `carry`: a gate eats one scalar per gated irrep."""
    if isinstance(block.act, ActSpec) and block.act.form == "gate":
        gated = sum(one.mul for one in block.carry if not one.irrep.is_invariant)
        if gated:
            return (Irreps((IrrepsBlock(gated, Irrep(0, 1)),)) + block.carry).simplified()
    return block.carry


def _activate(
    graph: Builder, name: str, op: Act, irreps: Irreps, where: ModelSource, k: int, *keys: str
) -> tuple[str, Irreps]:
    value = graph.add(name, op, where.span(k, *(keys or ("form",))))
    if op.form != "gate":
        return value, irreps
    gated = Irreps(tuple(block for block in irreps if not block.irrep.is_invariant))
    kept = irreps.mul_of(Irrep(0, 1)) - gated.count
    first = (IrrepsBlock(kept, Irrep(0, 1)),) if kept > 0 else ()
    return value, Irreps(first + gated.blocks)
