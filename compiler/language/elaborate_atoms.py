"""Level 2 to ops for atoms: the message-passing template."""

from __future__ import annotations

from ..ir.ops import Act, Length, Linear, Mlp, Normalize, Radial, Relative, Sph
from .blocks import (
    LAYER_BLOCKS,
    ActBlock,
    AllegroBlock,
    AtomsModel,
    DescriptorBlock,
    EgnnBlock,
    EquiformerBlock,
    LinearBlock,
    MpBlock,
    PainnBlock,
    RadialFeatures,
    SteerableBlock,
)
from .builder import Builder
from .diagnostics import Report
from .elaborate_edges import allegro, descriptor, steerable
from .elaborate_egnn import egnn
from .elaborate_equiformer import equiformer
from .elaborate_heads import START, Carried, add_heads
from .elaborate_inputs import start_features
from .elaborate_mp import Layers, activate, message_passing
from .elaborate_painn import painn
from .levels import ModelSource
from .schema import AtomsSystem, ParticlesSystem, Points, Spec, System
from .schema_points import PairsWithin


def elaborate_atoms(model: AtomsModel, where: ModelSource, spec: Spec, report: Report) -> Builder:
    """Features, blocks and heads as ops; every target that is computed is an op of its name.

    Shapes: node features [N, dim], edge features [E, dim].
    """
    graph = Builder()
    top = where.anchor
    vectors = graph.add("vectors", Relative(of="positions"), top)
    lengths = graph.add("lengths", Length(of=vectors), top)
    _radial(graph, model.features.radial, lengths, spec, where)
    graph.add("harmonics", Sph(of=vectors, lmax=model.features.harmonics), top)
    layers = Layers(graph, model, where, *start_features(graph, model.features.node, spec, where, report))
    layers.cutoff = reach(spec.system)
    computed = [target.rep for target in spec.targets.values() if target.is_computed]
    layers.vectors_wanted = any(
        rep and set(rep.replace(" ", "").split("+")) - {"0e", "1x0e"} for rep in computed
    )

    # what is known of a node itself need not come back to it from its neighbours
    ends = [Carried(START, layers.carried, layers.irreps)] if has_inputs(spec.system) else []
    layer = 0
    for k, block in enumerate(model.blocks):
        is_layer = isinstance(block, LAYER_BLOCKS)
        layer += is_layer
        prefix = f"layer{layer}" if is_layer else f"block{k + 1}"
        match block:
            case MpBlock():
                message_passing(layers, block, k, prefix)
            case PainnBlock():
                painn(layers, block, k, prefix)
            case EgnnBlock():
                egnn(layers, block, k, prefix)
            case AllegroBlock():
                allegro(layers, block, k, prefix)
            case SteerableBlock():
                steerable(layers, block, k, prefix)
            case DescriptorBlock():
                descriptor(layers, block, k, prefix)
            case EquiformerBlock():
                equiformer(layers, block, k, prefix)
            case ActBlock():
                op = Act(of=layers.carried, form=block.form, f=block.f)
                activate(layers, prefix, op, layers.irreps, k)
            case LinearBlock():
                linear = Linear(of=layers.carried, out=block.out)
                layers.carried, layers.irreps = graph.add(prefix, linear, where.span(k, "out")), block.out
        # Read after every layer, and after what follows the last one.
        is_layer_end = k + 1 == len(model.blocks) or isinstance(model.blocks[k + 1], LAYER_BLOCKS)
        if is_layer_end:
            ends.append(Carried(prefix, layers.carried, layers.irreps))
    add_heads(graph, ends, model.heads, spec, where, report)
    return graph


def has_inputs(system: System) -> bool:
    """Is anything known of the nodes beside where they are?"""
    return isinstance(system, Points) and bool(system.inputs)


def reach(system: System) -> float:
    """How far a node sees in one layer; 1, the unit of length, where nothing ends that."""
    if isinstance(system, AtomsSystem):
        return system.cutoff
    ends = isinstance(system, ParticlesSystem) and isinstance(system.interactions, PairsWithin)
    return system.interactions.within if ends else 1.0  # type: ignore[union-attr]


def _radial(graph: Builder, features: RadialFeatures, lengths: str, spec: Spec, where: ModelSource) -> None:
    """Functions of the edge length; where there is no cutoff that they could end at, a dense layer of it."""
    top = where.anchor
    if isinstance(spec.system, ParticlesSystem) and not isinstance(spec.system.interactions, PairsWithin):
        plain = graph.add("lengths.normal", Normalize(of=lengths, name="edge_length"), top)
        graph.add("radial", Mlp(of=plain, widths=(features.count,), out=features.count, bias=True), top)
        return
    shape = features.shape if features.ends == "functions" else None
    op = Radial(
        of=lengths,
        basis=features.basis,
        count=features.count,
        envelope=shape,
        trainable=features.trainable,
    )
    graph.add("radial", op, top)
