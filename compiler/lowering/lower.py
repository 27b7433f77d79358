"""Graph to plan: plain JSON that the runtime builds, trains, certifies and exports without the compiler."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from ..ir.graph import Graph, graph_hash
from ..ir.ops import Grad, Normalize, Reduce, Rescale, Scale, Tensor
from ..ir.types import Cartesian, Type
from ..language.schema import (
    HardWithin,
    Permutation,
    PhaseSpaceSystem,
    Points,
    Relaxed,
    Spec,
)
from ..language.schema_data import DataSet, Drawn, Label
from ..language.schema_train import LOSS_WEIGHTS, BatchSize, LossTerm, WeightSwitch
from ..passes.check_dynamics import conserved_quantities, is_separable
from ..passes.context import Context
from ..passes.find_radial import find_radial
from ..symmetry.cartesian import cartesian_shape
from ..symmetry.irreps import Irrep
from ..symmetry.units import Unit, conversion_factor

PLAN_VERSION = 4


def lower(
    graph: Graph, ctx: Context, *, steps: Graph, cites: tuple[str, ...], architecture: str | None
) -> dict[str, Any]:
    """The plan of a graph whose types are known and whose checks have passed.

    `steps` computes the same (the graph itself, or optimised); claims, hash and citations are the graph's.
    """
    spec = ctx.spec
    used = {node.op.cites() for node in graph.nodes} - {"", "definition"}
    return {
        "version": PLAN_VERSION,
        "name": spec.name,
        "kind": spec.system.kind,
        "architecture": architecture,
        "system": _system(graph, ctx),
        "steps": [_step(steps, name, ctx) for name in (node.name for node in steps.nodes)],
        "outputs": {target: _output(steps, name) for target, name in steps.outputs.items()},
        "statistics": _statistics(graph),
        "claims": [_claim(graph, ctx, factor) for factor in ctx.scope.factors],
        "conserved": [
            {"quantity": one.quantity, "because": one.because, "holds": one.holds, "broken_by": one.broken_by}
            for one in conserved_quantities(graph, ctx)
        ],
        "smoothness": {t: _finite(graph.type(n).smooth) for t, n in graph.outputs.items()},
        "locality": {t: _finite(graph.type(n).radius) for t, n in graph.outputs.items()},
        "data": _data(spec, ctx),
        "train": _train(spec, graph, ctx),
        "deploy": _deploy(spec, steps),
        "export": {"targets": list(spec.export.targets), "dtype": spec.export.dtype},
        "graph_hash": graph_hash(graph),
        "spec_hash": hashlib.sha256(_canonical(spec)).hexdigest(),
        "citations": sorted({*cites, *used}),
    }


def _canonical(spec: Spec) -> bytes:
    return json.dumps(
        spec.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False
    ).encode()


def _finite(value: float) -> float | None:
    """JSON has no infinity: analytic and global are null."""
    return None if value == float("inf") else value


def _step(graph: Graph, name: str, ctx: Context) -> dict[str, Any]:
    node = graph[name]
    result = graph.type(name)
    inputs = [source for _, source in node.op.inputs()]
    types = [graph.type(source) for source in inputs]
    params = node.op.lower(types, result, ctx.scope)
    errors = [eps for hold in result.holds.values() for op, eps in hold.errors if op == name]
    if errors:  # what its approximation costs, which the certificate measures on the layer
        params["eps"] = max(errors)
    return {
        "name": name,
        "layer": node.op.kind,  # type: ignore[attr-defined]
        "inputs": inputs,
        "params": params,
        "index": str(result.index),
        "rep": _rep(result),
        "unit": str(result.unit),
        "dim": result.dim,
    }


def _rep(type_: Type) -> str:
    return str(type_.rep.irreps if isinstance(type_.rep, Cartesian) else type_.rep)


def _output(graph: Graph, name: str) -> dict[str, Any]:
    type_ = graph.type(name)
    return {
        "step": name,
        "index": str(type_.index),
        "rep": _rep(type_),
        "unit": str(type_.unit),
        "form": "cartesian" if isinstance(type_.rep, Cartesian) else "irreps",
        "extensive": _is_sum(graph, name),
    }


def _is_sum(graph: Graph, name: str) -> bool:
    """Does the value of two systems far apart equal the sum of theirs?"""
    op = graph[name].op
    if isinstance(op, (Scale, Tensor)):
        return _is_sum(graph, op.of)
    return isinstance(op, Reduce) and op.to == "system" and op.norm == "sum"


def _system(graph: Graph, ctx: Context) -> dict[str, Any]:
    system = ctx.spec.system
    if not isinstance(system, PhaseSpaceSystem):
        return _points(system, ctx)
    hamiltonian = ctx.spec.constraints.hamiltonian
    swap = ctx.spec.symmetry.get("permutation")
    dims = dict(ctx.scope.coordinates)
    return {
        "coordinates": [{"name": n, "rep": rep, "dim": dims[n]} for n, rep in system.coordinates.items()],
        "dim": 2 * sum(dims.values()),
        "integrator": hamiltonian.integrator if hamiltonian else "rk4",
        "separable": is_separable(graph),
        "structure": "hamiltonian" if hamiltonian else "free",
        "masses": list(hamiltonian.masses) if hamiltonian and hamiltonian.masses else None,
        "swap": list(swap.swap) if isinstance(swap, Permutation) else None,
    }


def _points(system: Points, ctx: Context) -> dict[str, Any]:
    """Atoms and particles: their kinds, who sees whom, and what is known of them."""
    scope = ctx.scope
    return {
        "species": list(system.species),
        "cutoff": _finite(scope.cutoff),
        "pairs": scope.nearest or scope.pairs,
        "unit": str(scope.length),
        "periodic_stress": any(target.wrt == "strain" for target in ctx.spec.targets.values()),
        "inputs": [
            {
                "name": one.name,
                "index": str(one.index),
                "rep": str(one.rep),
                "unit": str(one.unit),
                "form": "cartesian" if cartesian_shape(one.rep) == (3, 3) else "irreps",
                "key": system.inputs[one.name].key or one.name,
            }
            for one in scope.inputs
        ],
    }


def _statistics(graph: Graph) -> list[str]:
    kinds = {node.op.kind for node in graph.nodes}  # type: ignore[attr-defined]
    names = []
    # what sums edges reads the number of neighbours, whatever it divides by
    if any(isinstance(node.op, Reduce) and node.op.to == "node" for node in graph.nodes):
        names.append("average_neighbors")
    if "shift_scale" in kinds:
        names += ["atomic_energies", "scale", "shift"]
    for op in (node.op for node in graph.nodes):
        if isinstance(op, (Rescale, Normalize)):
            name = op.target if isinstance(op, Rescale) else op.name
            names.append(f"{name}_scale")
            if graph.type(op.of).irreps.mul_of(Irrep(0, 1)):
                names.append(f"{name}_shift")
    return list(dict.fromkeys(names))


def _claim(graph: Graph, ctx: Context, factor: str) -> dict[str, Any]:
    mode, _ = ctx.mode(factor)
    hold = None
    for target in ctx.spec.targets:
        if target in graph.outputs:
            here = graph.type(graph.outputs[target]).hold(factor)
            hold = here if hold is None else hold.join(here)
    assert hold is not None
    relaxed = isinstance(mode, Relaxed) and mode.relaxed > 0
    return {
        "factor": factor,
        "mode": "relaxed" if relaxed else ("free" if mode == "free" else "hard"),
        "strength": mode.relaxed if isinstance(mode, Relaxed) and relaxed else None,
        "demanded": "any" if relaxed or mode == "free" else "exact",
        "verdict": str(hold.verdict),
        "eps": hold.eps,
        "ops": sorted(hold.ops),
        "within": mode.hard.within if isinstance(mode, HardWithin) else None,
    }


def _data(spec: Spec, ctx: Context) -> dict[str, Any] | None:
    data = spec.data
    if data is None:
        return None
    folder = os.path.dirname(os.path.abspath(ctx.source.path))
    inherited = data.train.labels or {}

    def one(part: DataSet) -> dict[str, Any]:
        labels = part.labels if part.labels is not None else inherited
        entry: dict[str, Any] = {
            "path": os.path.normpath(os.path.join(folder, part.path)),
            "labels": {target: _label(spec, target, label) for target, label in labels.items()},
        }
        if spec.system.kind == "phase_space":
            entry["state"] = part.state
        return entry

    sets: dict[str, Any] = {"train": one(data.train)}
    for name, split in (("validation", data.validation), ("test", data.test)):
        if split is None:
            continue
        if isinstance(split, DataSet):
            sets[name] = one(split)
        elif isinstance(split, Drawn):
            sets[name] = split.model_dump(exclude_none=True)
        else:
            sets[name] = {"count": split} if isinstance(split, int) else {"fraction": split}
    sets.update({name: one(part) for name, part in data.others.items()})
    prepared = None if data.prepared is None else os.path.normpath(os.path.join(folder, data.prepared))
    return {"sets": sets, "isolated_atoms": data.isolated_atoms, "seed": data.seed, "prepared": prepared}


def _label(spec: Spec, target: str, label: Label) -> dict[str, Any]:
    """The key of a label, and the factor from its unit to the model's; of a virial in eV, to eV/Å^3."""
    if not label.virial:
        return {"key": label.key, "factor": _factor(spec, target, label.unit)}
    energy, stress = Unit.parse(label.unit or "eV"), Unit.parse(spec.targets[target].unit or "eV/Å^3")
    volume = conversion_factor(Unit.parse("eV/Å^3"), stress)
    return {"key": label.key, "factor": conversion_factor(energy, Unit.parse("eV")) * volume, "virial": True}


def _factor(spec: Spec, target: str, unit: str | None) -> float:
    """From the label's unit to the model's."""
    declared = spec.targets[target].unit
    if unit is None or declared is None:
        return 1.0
    return conversion_factor(Unit.parse(unit), Unit.parse(declared))


def _train(spec: Spec, graph: Graph, ctx: Context) -> dict[str, Any]:
    train = spec.train.model_dump(mode="json", by_alias=True)
    if spec.train.from_ is not None:
        folder = os.path.dirname(os.path.abspath(ctx.source.path))
        train["from"] = os.path.normpath(os.path.join(folder, spec.train.from_))
    if isinstance(spec.train.batch, BatchSize):
        train["batch"] = spec.train.batch.model_dump(exclude_none=True)
    labels = (spec.data.train.labels or {}) if spec.data is not None else {}
    train["loss"] = {}
    for name in spec.targets:
        if labels and name not in labels:
            continue
        term = spec.train.loss.get(name, LossTerm())
        is_energy = f"node_{name}" in graph.outputs
        entry: dict[str, Any] = {
            "weight": _usual_weight(graph, name, is_energy) if term.weight is None else term.weight,
            "per_atom": is_energy if term.per_atom is None else term.per_atom,
        }
        if isinstance(term.weight, WeightSwitch):
            entry["weight"] = term.weight.model_dump(by_alias=True)
        if term.form != "mse":
            entry |= {"form": term.form} | ({"delta": term.delta} if term.delta is not None else {})
        train["loss"][name] = entry
    return train


def _deploy(spec: Spec, steps: Graph) -> dict[str, Any]:
    """What may be tabulated, and the error asked for where the spec wants it."""
    wanted = spec.deploy.tabulate
    radial = [{"step": name, "by": by} for name, by in find_radial(steps).items()]
    return {"tabulate": None if wanted is None else {"radial": wanted.radial}, "radial": radial}


def _usual_weight(graph: Graph, name: str, is_energy: bool) -> float | None:
    """That of energies and their derivatives; None, one over the variance of the labels, where that is known."""
    op = graph[graph.outputs[name]].op
    if isinstance(op, Grad):
        return LOSS_WEIGHTS.get({"positions": "forces", "strain": "stress"}.get(op.wrt, ""))
    if is_energy:
        return LOSS_WEIGHTS["energy"]
    scaled = {one.op.target for one in graph.nodes if isinstance(one.op, Rescale)}
    return None if name in scaled else 1.0


__all__ = ["PLAN_VERSION", "lower"]
