"""Level 2 to ops for atoms: the message-passing template."""

from __future__ import annotations

from ..ir.ops import Act, Embed, Length, Linear, Radial, Relative, Sph
from .blocks import ActBlock, AtomsModel, LinearBlock, MpBlock, RadialFeatures
from .builder import Builder
from .codes import Code
from .diagnostics import Report
from .elaborate_heads import Carried, add_heads
from .elaborate_mp import Layers, activate, message_passing
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

    ends: list[Carried] = []
    layer = 0
    for k, block in enumerate(model.blocks):
        prefix = f"layer{layer + 1}" if isinstance(block, MpBlock) else f"block{k + 1}"
        match block:
            case MpBlock():
                layer += 1
                message_passing(layers, block, k, prefix)
            case ActBlock():
                op = Act(of=layers.carried, form=block.form, f=block.f)
                activate(layers, prefix, op, layers.irreps, k)
            case LinearBlock():
                linear = Linear(of=layers.carried, out=block.out)
                layers.carried, layers.irreps = graph.add(prefix, linear, where.span(k, "out")), block.out
        # Read after every layer, and after what follows the last one.
        is_layer_end = k + 1 == len(model.blocks) or isinstance(model.blocks[k + 1], MpBlock)
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
