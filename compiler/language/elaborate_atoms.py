"""Level 2 to ops for atoms: the message-passing template."""

from __future__ import annotations

from ..ir.ops import (
    Act,
    Length,
    Linear,
    Mlp,
    Normalize,
    Radial,
    Reduce,
    Relative,
    Sph,
    Transform,
    Weigh,
    Zbl,
)
from ..symmetry.irreps import Irreps
from .blocks import (
    LAYER_BLOCKS,
    ActBlock,
    AllegroBlock,
    DenseAllegroBlock,
    DescriptorBlock,
    EgnnBlock,
    EquiformerBlock,
    LinearBlock,
    MpBlock,
    PainnBlock,
    PetBlock,
    SteerableBlock,
)
from .builder import Builder
from .codes import Code
from .diagnostics import Report
from .elaborate_allegro import allegro_dense
from .elaborate_edges import allegro, descriptor, steerable
from .elaborate_egnn import egnn
from .elaborate_equiformer import equiformer
from .elaborate_heads import START, Carried, add_heads, energy_target
from .elaborate_inputs import start_features
from .elaborate_mp import Layers, activate, message_passing
from .elaborate_painn import painn
from .elaborate_pet import pet
from .levels import ModelSource
from .schema import Points, Spec, System
from .schema_model import AtomsModel


def elaborate_atoms(model: AtomsModel, where: ModelSource, spec: Spec, report: Report) -> Builder:
    """Features, blocks and heads as ops; every target that is computed is an op of its name.

    Shapes: node features [N, dim], edge features [E, dim].
    """
    graph = Builder()
    top = where.anchor
    vectors = graph.add("vectors", Relative(of="positions"), top)
    graph.add("lengths", Length(of=vectors), top)
    layers = Layers(graph, model, where, "species", Irreps(()), cutoff=reach(spec.system))
    _radial(layers, spec)
    graph.add("harmonics", Sph(of=vectors, lmax=model.features.harmonics), top)
    layers.carried, layers.irreps = start_features(graph, model.features.node, spec, where, report)
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
            case DenseAllegroBlock():
                allegro_dense(layers, block, k, prefix)
            case SteerableBlock():
                steerable(layers, block, k, prefix)
            case DescriptorBlock():
                descriptor(layers, block, k, prefix)
            case EquiformerBlock():
                equiformer(layers, block, k, prefix)
            case PetBlock():
                pet(layers, block, k, prefix)
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
    if model.repulsion.form != "none":
        _repulsion(layers, spec, report)
    add_heads(graph, ends, model.heads, spec, where, report)
    return graph


def has_inputs(system: System) -> bool:
    """Is anything known of the nodes beside where they are?"""
    return isinstance(system, Points) and bool(system.inputs)


def reach(system: System) -> float:
    """How far a node sees in one layer; 1, the unit of length, where nothing ends that."""
    ends = system.reach if isinstance(system, Points) else None
    return 1.0 if ends is None else ends


def _radial(layers: Layers, spec: Spec) -> None:
    """Functions of the edge length; where there is no cutoff that they could end at, a dense layer of it."""
    graph, features, top = layers.graph, layers.model.features.radial, layers.where.anchor
    if isinstance(spec.system, Points) and spec.system.reach is None:
        plain = graph.add("lengths.normal", Normalize(of="lengths", name="edge_length"), top)
        graph.add("radial", Mlp(of=plain, widths=(features.count,), out=features.count, bias=True), top)
        return
    ended = features.shape is not None and features.ends == "functions"
    moved = features.distance != "plain"
    of = "lengths"
    if features.distance != "plain":
        transform = Transform(of=of, pairs=layers.pairs(), form=features.distance)
        of = graph.add("lengths.transformed", transform, top)
    op = Radial(
        of=of,
        basis=features.basis,
        count=features.count,
        envelope=features.shape if ended and not moved else None,
        trainable=features.trainable,
    )
    bare = graph.add("radial.bare" if ended and moved else "radial", op, top)
    envelope = layers.envelope() if ended and moved else None
    if envelope is not None:
        graph.add("radial", Weigh(of=bare, by=envelope), top)


def _repulsion(layers: Layers, spec: Spec, report: Report) -> None:
    """What screened nuclei do to the energy, as a value of every node that the head adds."""
    graph, model = layers.graph, layers.model.repulsion
    span = layers.where.source.span(("model", "repulsion", "form"))
    energy = energy_target(spec)
    if energy is None:
        report.error(
            Code.TERM_WITHOUT_ENERGY,
            span,
            f"`{model.form}` is a repulsion, a term of an energy, but no target is one",
            help="add `energy: {per: system, rep: 0e, unit: eV}` to the targets, or leave the repulsion out",
        )
        return
    unit = spec.targets[energy].unit or "eV"
    zbl = Zbl(of="lengths", pairs=layers.pairs(), unit=unit, envelope=model.envelope, strength=model.strength)
    graph.add("repulsion", Reduce(of=graph.add("repulsion.pairs", zbl, span), to="node"), span)
