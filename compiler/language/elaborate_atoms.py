"""Level 2 to ops for atoms: the message-passing template."""

from __future__ import annotations

from ..ir.ops import Act, Embed, Length, Linear, Radial, Relative, Sph
from .blocks import (
    LAYER_BLOCKS,
    ActBlock,
    AtomsModel,
    EgnnBlock,
    LinearBlock,
    MpBlock,
    PainnBlock,
    RadialFeatures,
)
from .builder import Builder
from .codes import Code
from .diagnostics import Report
from .elaborate_egnn import egnn
from .elaborate_heads import Carried, add_heads
from .elaborate_mp import Layers, activate, message_passing
from .elaborate_painn import painn
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
    vectors = graph.add("vectors", Relative(of="positions"), top)
    lengths = graph.add("lengths", Length(of=vectors), top)
    graph.add("radial", _radial(model.features.radial, lengths), top)
    graph.add("harmonics", Sph(of=vectors, lmax=model.features.harmonics), top)
    layers = Layers(graph, model, where, graph.add("features", Embed(of="species", out=node.dim), top), node)
    layers.cutoff = getattr(spec.system, "cutoff", 0.0)
    computed = [target.rep for target in spec.targets.values() if target.is_computed]
    layers.vectors_wanted = any(
        rep and set(rep.replace(" ", "").split("+")) - {"0e", "1x0e"} for rep in computed
    )

    ends: list[Carried] = []
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


def _radial(features: RadialFeatures, lengths: str) -> Radial:
    shape = features.shape if features.ends == "functions" else None
    return Radial(
        of=lengths,
        basis=features.basis,
        count=features.count,
        envelope=shape,
        trainable=features.trainable,
    )
