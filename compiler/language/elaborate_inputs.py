"""What nodes start with: their species, and what is known of them and of their system."""

from __future__ import annotations

from ..ir.ops import Add, Concat, Embed, Linear, Mlp, Normalize, Spread
from ..symmetry.irreps import Block as IrrepsBlock
from ..symmetry.irreps import Irrep, Irreps
from .builder import Builder
from .codes import Code
from .diagnostics import Report
from .levels import ModelSource
from .schema import AtomsSystem, ParticlesSystem, Spec

_INVARIANT = Irrep(0, 1)


def start_features(
    graph: Builder, node: Irreps, spec: Spec, where: ModelSource, report: Report
) -> tuple[str, Irreps]:
    """The first features of every node, as irreps `node` and those of the inputs.

        h_i = W[z_i] + MLP(invariants of the inputs)  (+)  linear maps of their other irreps

    Irreps of inputs that `node` does not name get as many channels as it has invariants. Without inputs, features
    are those of the species.
    """
    assert isinstance(spec.system, (AtomsSystem, ParticlesSystem))
    inputs = spec.system.inputs
    top = where.anchor
    channels = node.mul_of(_INVARIANT)
    known = {one for field in inputs.values() for one in field.rep.kinds}
    foreign = [one for one in node.kinds if one != _INVARIANT and one not in known]
    if foreign or not channels:
        report.error(
            Code.FEATURES_NOT_INVARIANT,
            where.source.span(("model", "features", "node")),
            f"nodes start with invariants (`0e`) and with irreps of their inputs, not with `{node.short}`",
            help="write `64x0e`; blocks with harmonics bring the higher degrees, and inputs add theirs",
        )
    scalars = Irreps((IrrepsBlock(max(channels, 1), _INVARIANT),))
    features = graph.add(
        "species.features" if inputs else "features", Embed(of="species", out=scalars.dim), top
    )
    if not inputs:
        return features, scalars
    parts, rep = [], Irreps(())
    for name, field in inputs.items():
        value = graph.add(f"{name}.normal", Normalize(of=name, name=name), top)
        if field.per == "system":
            value = graph.add(f"{name}.spread", Spread(of=value), top)
        parts.append(value)
        rep = rep + field.rep
    everything = parts[0] if len(parts) == 1 else graph.add("inputs", Concat(of=tuple(parts)), top)
    if rep.mul_of(_INVARIANT):
        numbers = graph.add("inputs.invariants", Linear(of=everything, out=scalars), top)
        dense = Mlp(of=numbers, widths=(scalars.dim,), out=scalars.dim, bias=True)
        embedded = graph.add("inputs.embedded", dense, top)
        features = graph.add("invariants", Add(of=(features, embedded)), top)
    moving = tuple(
        IrrepsBlock(node.mul_of(one) or scalars.dim, one) for one in rep.kinds if one != _INVARIANT
    )
    if not moving:
        return graph.add("features", Linear(of=features, out=scalars), top), scalars
    turned = graph.add("inputs.moving", Linear(of=everything, out=Irreps(moving)), top)
    return graph.add("features", Concat(of=(features, turned)), top), scalars + Irreps(moving)
