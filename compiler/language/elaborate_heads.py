"""Level 2 to ops: how each target that is computed is read from the layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..ir.ops import Act, Add, Linear, Reduce, Rescale, ShiftScale, Tensor
from ..symmetry.cartesian import cartesian_shape
from ..symmetry.irreps import Block as IrrepsBlock
from ..symmetry.irreps import Irrep, Irreps, IrrepsError
from ..symmetry.units import Unit
from .builder import Builder
from .codes import Code
from .diagnostics import Report
from .foreign import our_value
from .levels import ModelSource
from .presets import load_preset
from .schema import AtomsSystem, Relaxed, Spec, Target
from .schema_model import Head
from .wording import clip

INVARIANT = Irrep(0, 1)
START = "start"  # the prefix of what is read from the first features
_GROWS = re.compile(r"\.\.\s*\$\{(\w+)\}\s*\)")  # the parameter of a preset that a range of degrees ends at


@dataclass(frozen=True, slots=True)
class Carried:
    """What a layer hands on: the value and its irreps; values read from it are called `prefix.TARGET`."""

    prefix: str
    value: str
    irreps: Irreps


def energy_target(spec: Spec) -> str | None:
    """The target that is counted from the energies of free atoms: an invariant sum over atoms, in a unit of energy.

    Where there are several, one that is differentiated comes first. Its unit may be left out if it is that
    one, or is called `energy`.
    """
    if not isinstance(spec.system, AtomsSystem):
        return None
    differentiated = {target.gradient_of for target in spec.targets.values()}
    found = [
        name
        for name, target in spec.targets.items()
        if target.is_computed
        and target.per != "node"
        and target.pool != "mean"
        and (target.rep or "0e").removeprefix("1x") == "0e"
        and (
            name == "energy" or name in differentiated
            if target.unit is None
            else Unit.parse(target.unit).dimension == Unit.parse("eV").dimension
        )
    ]
    return next((name for name in found if name in differentiated), found[0] if found else None)


def add_heads(
    graph: Builder,
    layers: Sequence[Carried],
    heads: Mapping[str, Head],
    spec: Spec,
    where: ModelSource,
    report: Report,
) -> None:
    """An op of each target's name, from all layers that carry what it is made of.

        y_i = s sum_layers W x_i (+ t),  the last layer through a small network;  y = sum_i y_i where per system

    Energies are counted from those of free atoms (`shift_scale`), all else from the mean label (`rescale`).
    """
    energy = energy_target(spec)
    for name, target in spec.targets.items():
        if not target.is_computed:
            continue
        irreps = _irreps_of(name, target, energy, where, report)
        if irreps is None or not _is_free(name, graph, where, report):
            continue
        # an atom alone has the energy of a free one: what it starts with adds nothing
        read_from = [one for one in layers if name != energy or one.prefix != START]
        readable = [
            one for one in read_from if all(_reaches(one.irreps, kind, spec) for kind in irreps.kinds)
        ]
        if not readable:
            _not_carried(name, irreps, layers, spec, where, report)
            continue
        head = heads.get(name) or heads.get("default") or Head()
        readable = readable[-1:] if head.layers == "last" else readable
        read = [_read(graph, head, name, irreps, one, one is layers[-1], where) for one in readable]
        total = read[0]
        if len(read) > 1:
            total = graph.add(f"{name}.readout", Add(of=tuple(read)), where.anchor)
        _quantity(graph, name, target, total, irreps, head if name == energy else None, where)


_DERIVED = {
    "forces": "forces are a gradient: `{gradient_of: energy, wrt: positions, scale: -1}`; others have a `rep: 1o`",
    "stress": "a stress is a gradient: `{gradient_of: energy, wrt: strain}`",
}


def _irreps_of(
    name: str, target: Target, energy: str | None, where: ModelSource, report: Report
) -> Irreps | None:
    if target.rep is None and name != energy:
        report.error(
            Code.MISSING_KEY,
            where.source.span(("targets", name), key=True),
            f"`{name}` does not say how it transforms",
            help=_DERIVED.get(name)
            or "write `rep: 0e` for an invariant, `1o` for a vector, `0e+2e` for a symmetric matrix",
        )
        return None
    try:
        irreps = Irreps.parse(target.rep or "0e")
    except IrrepsError as error:
        code = Code.IRREPS_TOO_LARGE if error.too_large else Code.BAD_IRREPS
        ours = our_value("rep", target.rep)
        help = error.help if ours is None else f"write `rep: {ours}`"
        report.error(code, where.source.span(("targets", name, "rep")), error.message, help=help)
        return None
    if irreps.blocks:
        return irreps
    report.error(
        Code.BAD_IRREPS,
        where.source.span(("targets", name, "rep")),
        f"`{target.rep}` holds nothing to predict",
        help="ask for at least one copy, such as `1x0e`",
    )
    return None


def _is_free(name: str, graph: Builder, where: ModelSource, report: Report) -> bool:
    """A target becomes a value of the graph, beside those of the model."""
    if not any(one in graph for one in (name, f"node_{name}", f"sum_{name}", f"learned_{name}")):
        return True
    report.error(
        Code.NAME_TAKEN,
        where.source.span(("targets", name), key=True),
        f"a target cannot be called `{name}`: a value of the model is",
        help=f"give it another name, such as `{name}_`",
    )
    return False


def _open_factors(spec: Spec) -> frozenset[str]:
    """The factors of O(3) that linear maps may leave."""

    def is_open(group: str) -> bool:
        mode = spec.symmetry.get(group, "free")
        return mode.relaxed > 0 if isinstance(mode, Relaxed) else mode == "free"

    both = frozenset({"SO(3)", "inversion"})
    if "O(3)" in spec.symmetry:
        return both if is_open("O(3)") else frozenset()
    return frozenset(factor for factor in both if is_open(factor))


def _reaches(have: Irreps, want: Irrep, spec: Spec) -> bool:
    """Does a linear map, relaxed as the spec says, lead from these features to an irrep?"""
    opened = _open_factors(spec)
    return any(
        (one.l == want.l or "SO(3)" in opened) and (one.p == want.p or "inversion" in opened)
        for one in have.kinds
    )


def _read(
    graph: Builder, head: Head, name: str, irreps: Irreps, layer: Carried, last: bool, where: ModelSource
) -> str:
    """The target's irreps per node from one layer: a linear map, or a small network after the last layer.

    The network has `width` copies of each of them, pointwise on invariants, gated otherwise.
    """
    value, prefix = layer.value, f"{layer.prefix}.{name}"
    while prefix in graph:  # a target may have the name of a part of a layer
        prefix += "_target"
    for n, width in enumerate(head.last if last else ()):
        hidden = Irreps(tuple(IrrepsBlock(width, one) for one in irreps.kinds))
        gates = sum(block.mul for block in hidden if not block.irrep.is_invariant)
        before = (Irreps((IrrepsBlock(gates, INVARIANT),)) + hidden).simplified() if gates else hidden
        value = graph.add(f"{prefix}.read{n + 1}", Linear(of=value, out=before, bias=head.bias), where.anchor)
        act = Act(of=value, form="gate" if gates else "pointwise", f=head.activation)
        value = graph.add(f"{prefix}.read{n + 1}.act", act, where.anchor)
    return graph.add(prefix, Linear(of=value, out=irreps), where.anchor)


def _quantity(
    graph: Builder,
    name: str,
    target: Target,
    value: str,
    irreps: Irreps,
    energy: Head | None,
    where: ModelSource,
) -> None:
    """From features of nodes to the target: its unit, the sum over nodes, and its Cartesian form.

    `energy` is the head of an energy, None for everything else.
    """
    ops: list[tuple[str, Add | Linear | ShiftScale | Rescale | Reduce | Tensor]] = []
    if energy is not None:
        repelled = "repulsion" in graph
        per: Literal["species"] | None = "species" if energy.scale == "species" else None
        atomic = ShiftScale(of=value, species="species", unit=target.unit or "eV", per=per)
        ops.append(("learned" if repelled else "node", atomic))
        if repelled:
            ops.append(("node", Add(of=("repulsion",))))
    else:
        ops.append(("node", Rescale(of=value, target=name, unit=target.unit or "1")))
    if target.per != "node":
        ops.append(("sum", Reduce(of=value, to="system", norm=target.pool or "sum")))
    if target.form != "irreps" and cartesian_shape(irreps) == (3, 3):
        ops.append(("matrix", Tensor(of=value, to="cartesian")))
    for k, (step, op) in enumerate(ops):
        called = name if k + 1 == len(ops) else f"{step}_{name}"
        of = (value, *op.of) if isinstance(op, Add) else value
        value = graph.add(called, op.model_copy(update={"of": of}), where.anchor)


def _not_carried(
    name: str, irreps: Irreps, layers: Sequence[Carried], spec: Spec, where: ModelSource, report: Report
) -> None:
    """No layer carries what the target is made of: say what is missing, and which key brings it."""
    richest = max((layer.irreps for layer in layers), key=lambda one: one.lmax)
    missing = [one for one in irreps.kinds if not _reaches(richest, one, spec)]
    names = " and ".join(f"`{one}`" for one in missing)
    scalars = richest.all_scalar and any(one.l > 0 for one in missing)
    wanted = clip(spec.targets[name].rep or "0e")
    report.error(
        Code.TARGET_FROM_SCALARS if scalars else Code.TARGET_NOT_CARRIED,
        where.source.span(("targets", name, "rep")),
        f"`{name}` is `{wanted}`, but the layers carry scalars only (`{richest.short}`)"
        if scalars
        else f"`{name}` is `{wanted}`, but no layer carries {names}, only `{richest.short}`",
        help=_how_to_carry(missing, where),
        related=((where.anchor, "by this model"),) if where.preset else (),
    )


def _how_to_carry(missing: Sequence[Irrep], where: ModelSource) -> str:
    natural = all(one.p == (-1) ** one.l for one in missing)
    degree = max(one.l for one in missing)
    if where.preset is None:
        added = "+".join(f"16x{one}" for one in missing)
        return f"add `{added}` to `carry` of a layer, and to `irreps` of its message"
    preset = load_preset(where.preset)
    grown = _GROWS.findall(" ".join(_carries(preset.model)))
    parameter = next((one for one in grown if one in preset.parameters), None)
    most = preset.parameters[parameter].maximum if parameter else None
    if natural and parameter is not None and (most is None or degree <= most):
        return f"write `{parameter}: {degree}` in the model"
    wanted = " and ".join(f"`{one}`" for one in missing)
    return f"no parameter of `{preset.preset}` brings {wanted}: write the layers as `blocks:`, with it in `carry`"


def _carries(value: object) -> list[str]:
    """Every text under a key `carry` of a preset's model."""
    if isinstance(value, dict):
        found = [one for key, one in value.items() if key == "carry" and isinstance(one, str)]
        return found + [text for one in value.values() for text in _carries(one)]
    if isinstance(value, list):
        return [text for one in value for text in _carries(one)]
    return []
