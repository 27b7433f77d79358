"""What the training data tells a model before it is trained: reference energies and scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from equic.runtime.irreps import Irreps
from equic.runtime.plan import Plan
from equic.runtime.tables.cartesian import to_irreps
from numpy.typing import NDArray

from .arrays import ArraySet
from .distances import edge_lengths
from .frame import Frame
from .frames import FrameSet, Lazy

Array = NDArray[np.float64]


def compute_statistics(
    plan: Plan, frames: Sequence[Frame] | ArraySet, *, notes: list[str] | None = None
) -> dict[str, float | list[float]]:
    """The statistics that the plan asks for, from its training set.

        average_neighbors = edges / atoms
        atomic_energies   = e0[z], one per species, in eV: see below
        shift             = Σ_frames (E − Σ_atoms e0) / Σ_frames N, in eV
        scale             = RMS of the force components, in eV/Å;
                            without forces, standard deviation over the frames of (E − Σ e0)/N, in eV
                            where the plan has one for each species: that of its atoms' forces, and the
                            shifts of smallest norm that fit E − Σ e0 best
        T_scale, T_shift  = of every target T that is rescaled: see `target_statistics`

    `plan.data["isolated_atoms"]` says where e0 comes from. A mapping gives eV per species. `frames`, or
    {path: FILE}, takes the energies of the isolated atoms found with the set. `least_squares` takes the
    e0 of smallest norm among those that fit E ≈ Σ e0 best: it follows the data's mean, not the energy of
    free atoms, and where compositions do not tell elements apart, only sums of e0 mean something; `notes`
    says both. Without energies, e0 and shift are zero.

    Args:
        frames: the training set; isolated atoms in it count for e0 alone.
        notes: what the user should know beside errors is appended here, a sentence each.

    Returns:
        Plain numbers and lists, for `Model.set_statistics`; nothing for phase space.

    Raises:
        DataError: isolated atoms are missing, or have no energy, or two differ.
    """
    if isinstance(frames, ArraySet) or not plan.is_points or not plan.statistics:
        return {}
    notes = [] if notes is None else notes
    isolated = list(frames.isolated) if isinstance(frames, FrameSet) else []
    bulk: Sequence[Frame] = frames
    if not (isinstance(frames, FrameSet) and isinstance(frames.frames, Lazy)):  # these hold none
        isolated += [frame for frame in frames if frame.is_isolated_atom]
        bulk = [frame for frame in frames if not frame.is_isolated_atom]
    if not bulk:
        raise DataError(
            "the training set has no frames", help="isolated atoms alone do not make a training set"
        )
    found: dict[str, float | list[float]] = {"average_neighbors": _average_neighbors(bulk, notes)}
    if "atomic_energies" in plan.statistics:
        reference = _atomic_energies(plan, bulk, isolated, notes)
        found["atomic_energies"] = reference.tolist()
        scale, shift = _scale(plan, bulk, reference, notes), _shift(plan, bulk, reference)
        if any(step.params.get("per") == "species" for step in plan.steps if step.layer == "shift_scale"):
            found["scale"] = _scales(plan, bulk, scale, notes)
            found["shift"] = _shifts(plan, bulk, reference)
        else:
            found["scale"], found["shift"] = scale, shift
    found |= target_statistics(plan, bulk, notes)
    found |= input_statistics(plan, bulk)
    return {name: found[name] for name in plan.statistics}


def atomic_counts(frames: Iterable[Frame], species: int) -> Array:
    """How many atoms of each species every frame has: [frames, species]."""
    return np.array([np.bincount(frame.species, minlength=species) for frame in frames], dtype=np.float64)


def _average_neighbors(frames: Sequence[Frame], notes: list[str]) -> float:
    edges = sum(frame.edges.shape[1] for frame in frames)
    if edges == 0:
        notes.append("no two atoms of the training set are within the cutoff")
        return 1.0  # the model divides by it
    return edges / sum(map(len, frames))


def _atomic_energies(
    plan: Plan, frames: Sequence[Frame], isolated: Sequence[Frame], notes: list[str]
) -> Array:
    species: Sequence[str] = plan.system["species"]
    given: Any = None if plan.data is None else plan.data["isolated_atoms"]
    if isinstance(given, Mapping) and "path" not in given:
        if missing := [symbol for symbol in species if symbol not in given]:
            raise DataError(
                f"`isolated_atoms` has no energy for {', '.join(missing)}",
                help="give one for every species, or write `isolated_atoms: least_squares`",
            )
        return np.array([float(given[symbol]) for symbol in species])
    if given == "frames" or isinstance(given, Mapping):
        return _from_isolated(plan, isolated)
    if given not in (None, "least_squares"):
        raise DataError(
            f"`isolated_atoms: {given}` is not known", help="a mapping, `frames` or `least_squares`"
        )
    if plan.energy not in frames[0].labels:
        notes.append("the training set has no energies: isolated-atom energies are taken as zero")
        return np.zeros(len(species))
    return _least_squares(plan, frames, notes)


def _from_isolated(plan: Plan, isolated: Sequence[Frame]) -> Array:
    species: Sequence[str] = plan.system["species"]
    energies: dict[int, tuple[float, str]] = {}
    for frame in isolated:
        if plan.energy not in frame.labels:
            raise DataError(f"{frame.source}: the isolated atom has no energy")
        index, energy = int(frame.species[0]), float(frame.labels[plan.energy])
        before, source = energies.setdefault(index, (energy, frame.source))
        if abs(before - energy) > 1e-6:
            raise DataError(
                f"{source} and {frame.source} are both isolated {species[index]}, "
                f"with energies {before} and {energy} eV",
                help="keep one of them",
            )
    if missing := [symbol for index, symbol in enumerate(species) if index not in energies]:
        raise DataError(
            f"the data has no isolated atom for {', '.join(missing)}",
            help="add a frame of one atom with config_type=IsolatedAtom, or use least_squares",
        )
    return np.array([energies[index][0] for index in range(len(species))])


def _least_squares(plan: Plan, frames: Sequence[Frame], notes: list[str]) -> Array:
    species: Sequence[str] = plan.system["species"]
    counts = atomic_counts(frames, len(species))
    energies = np.array([float(frame.labels[plan.energy]) for frame in frames])
    # columns may differ in size; singular values below this are rounding
    solution, _, rank, _ = np.linalg.lstsq(counts, energies, rcond=1e-10)
    text = (
        "isolated-atom energies are a least-squares fit to the training energies, not energies of free atoms"
    )
    if rank < len(species):
        text += f"; the compositions fix only {rank} of the {len(species)} ({', '.join(species)})"
        text += ", the smallest solution is used"
    notes.append(text)
    return np.asarray(solution, dtype=np.float64)


def _residuals(plan: Plan, frames: Sequence[Frame], reference: Array) -> Array:
    """E − Σ e0 of every frame, in eV."""
    energies = np.array([float(frame.labels[plan.energy]) for frame in frames])
    return energies - atomic_counts(frames, len(reference)) @ reference


def _shift(plan: Plan, frames: Sequence[Frame], reference: Array) -> float:
    if plan.energy not in frames[0].labels:
        return 0.0
    return float(_residuals(plan, frames, reference).sum() / sum(map(len, frames)))


def _scale(plan: Plan, frames: Sequence[Frame], reference: Array, notes: list[str]) -> float:
    name = plan.derivative("positions")
    if name in frames[0].labels:
        forces = np.concatenate([frame.labels[name] for frame in frames])
        scale = float(np.sqrt(np.mean(forces**2)))
    elif plan.energy in frames[0].labels:
        sizes = np.array([len(frame) for frame in frames])
        scale = float(np.std(_residuals(plan, frames, reference) / sizes))
    else:
        return 1.0
    # residuals that are only rounding tell no scale
    if not scale > 1e-10:
        notes.append("the labels of the training set do not vary: energies are not scaled")
        return 1.0
    return scale


def _shifts(plan: Plan, frames: Sequence[Frame], reference: Array) -> list[float]:
    if plan.energy not in frames[0].labels:
        return [0.0] * len(reference)
    counts = atomic_counts(frames, len(reference))
    found: Array = np.linalg.lstsq(counts, _residuals(plan, frames, reference), rcond=1e-10)[0]
    return found.tolist()


def _scales(plan: Plan, frames: Sequence[Frame], common: float, notes: list[str]) -> list[float]:
    """The RMS of the force components on the atoms of each species; the common scale where they say nothing."""
    species, name = plan.system["species"], plan.derivative("positions")
    found = np.full(len(species), common)
    if name in frames[0].labels:
        forces = np.concatenate([frame.labels[name] for frame in frames])
        kind = np.concatenate([frame.species for frame in frames])
        for z, symbol in enumerate(species):
            size = float(np.sqrt(np.mean(forces[kind == z] ** 2))) if (kind == z).any() else 0.0
            if size > 1e-10:
                found[z] = size
            else:
                notes.append(f"no forces on {symbol} in the training set: its energies have the common scale")
    else:
        notes.append("without forces in the training set the energies of all species have one scale")
    return found.tolist()


def target_statistics(plan: Plan, frames: Sequence[Frame], notes: list[str]) -> dict[str, list[float]]:
    """Size and mean of every rescaled target, as its irreps: a scale a block, a shift an invariant.

        per atom:                 t = mean(y),          s = RMS(y − t)            over the atoms
        mean over atoms:          t = mean(Y),          s = RMS(Y − t)            over the frames
        sum over atoms:           t = ΣY / ΣN,          s = RMS((Y − N t) / √N)   over the frames

    The means are those of invariants; what turns has none. Terms of a sum that are independent make it grow as
    √N, which is what its scale is divided by.
    """
    found: dict[str, list[float]] = {}
    for step in plan.steps:
        if step.layer != "rescale":
            continue
        name, irreps = step.params["target"], Irreps.parse(step.params["irreps"])
        scale, shift = np.ones(len(irreps)), np.zeros(irreps.invariants)
        if name in frames[0].labels:
            values, sizes = _as_irreps(plan, name, frames)
            mean = np.zeros(irreps.dim)
            for block, part in zip(irreps, np.split(mean, [b.start for b in irreps][1:]), strict=True):
                if block.irrep == (0, 1):
                    part[:] = values[:, block.slice].sum(0) / sizes.sum()
            spread = (values - sizes[:, None] * mean) / np.sqrt(sizes)[:, None]
            for k, block in enumerate(irreps):
                size = float(np.sqrt(np.mean(spread[:, block.slice] ** 2)))
                if size > 1e-10 * max(1.0, float(np.abs(values).max())):
                    scale[k] = size
                else:
                    notes.append(
                        f"the `{block.l}{'eo'[block.p < 0]}` part of `{name}` does not vary: not scaled"
                    )
            shift = np.concatenate(
                [np.zeros(0), *(mean[block.slice] for block in irreps if block.irrep == (0, 1))]
            )
        found[f"{name}_scale"], found[f"{name}_shift"] = scale.tolist(), shift.tolist()
    return found


def input_statistics(plan: Plan, frames: Sequence[Frame]) -> dict[str, list[float]]:
    """Size and mean of everything that the model brings to size one: inputs, and lengths of edges.

    t = mean(x) of invariants, s = RMS(x - t); what does not vary has s = 1
    """
    found: dict[str, list[float]] = {}
    for step in plan.steps:
        if step.layer != "normalize":
            continue
        name, irreps = step.params["name"], Irreps.parse(step.params["irreps"])
        if name == "edge_length":
            values = np.concatenate(
                [edge_lengths(frame.positions, frame.cell, frame.edges, frame.shifts) for frame in frames]
            )[:, None]
        else:
            values = np.concatenate([frame.inputs[name] for frame in frames])
        scale, shift = [], []
        for block in irreps:
            part = values[:, block.slice]
            mean = part.mean(axis=0) if block.irrep == (0, 1) and len(part) else np.zeros(block.dim)
            shift += mean.tolist() if block.irrep == (0, 1) else []
            size = float(np.sqrt(np.mean((part - mean) ** 2))) if part.size else 0.0
            scale.append(size if size > 1e-10 * max(1.0, float(np.abs(part).max(initial=0.0))) else 1.0)
        found[f"{name}_scale"], found[f"{name}_shift"] = scale, shift
    return found


def label_variance(frames: Sequence[Frame], target: str, *, per_atom: bool = False) -> float:
    """The mean squared distance of a target's labels from their mean, over frames (or atoms) and components."""
    values = [
        np.asarray(frame.labels[target]) / (len(frame) if per_atom else 1)
        for frame in frames
        if not frame.is_isolated_atom
    ]
    joined = np.concatenate(values) if target in frames[0].per_atom else np.stack(values)
    return float(np.mean(np.square(joined - joined.mean(axis=0))))


def _as_irreps(plan: Plan, target: str, frames: Sequence[Frame]) -> tuple[Array, Array]:
    """The labels of a target as irreps [rows, dim], and how many terms of the model each is a sum of [rows]."""
    output = plan.outputs[target]
    values = [np.asarray(frame.labels[target], dtype=np.float64) for frame in frames]
    joined = np.concatenate(values) if output.index == "node" else np.stack(values)
    if output.form == "cartesian":
        joined = to_irreps(joined, output.rep)
    rows = joined.reshape(len(joined), -1)
    sizes = np.array([len(frame) for frame in frames], dtype=np.float64)
    return rows, sizes if output.extensive else np.ones(len(rows))
