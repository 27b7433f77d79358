"""What the training data tells a model before it is trained: reference energies and scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .arrays import ArraySet
from .frame import Frame
from .frames import FrameSet

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
    if isinstance(frames, ArraySet) or plan.kind != "atoms" or not plan.statistics:
        return {}
    notes = [] if notes is None else notes
    isolated = list(frames.isolated) if isinstance(frames, FrameSet) else []
    isolated += [frame for frame in frames if frame.is_isolated_atom]
    bulk = [frame for frame in frames if not frame.is_isolated_atom]
    if not bulk:
        raise DataError(
            "the training set has no frames", help="isolated atoms alone do not make a training set"
        )
    reference = _atomic_energies(plan, bulk, isolated, notes)
    found: dict[str, float | list[float]] = {
        "average_neighbors": _average_neighbors(bulk, notes),
        "atomic_energies": reference.tolist(),
        "scale": _scale(bulk, reference, notes),
        "shift": _shift(bulk, reference),
    }
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
        return _from_isolated(species, isolated)
    if given not in (None, "least_squares"):
        raise DataError(
            f"`isolated_atoms: {given}` is not known", help="a mapping, `frames` or `least_squares`"
        )
    if "energy" not in frames[0].labels:
        notes.append("the training set has no energies: isolated-atom energies are taken as zero")
        return np.zeros(len(species))
    return _least_squares(species, frames, notes)


def _from_isolated(species: Sequence[str], isolated: Sequence[Frame]) -> Array:
    energies: dict[int, tuple[float, str]] = {}
    for frame in isolated:
        if "energy" not in frame.labels:
            raise DataError(f"{frame.source}: the isolated atom has no energy")
        index, energy = int(frame.species[0]), float(frame.labels["energy"])
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


def _least_squares(species: Sequence[str], frames: Sequence[Frame], notes: list[str]) -> Array:
    counts = atomic_counts(frames, len(species))
    energies = np.array([float(frame.labels["energy"]) for frame in frames])
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


def _residuals(frames: Sequence[Frame], reference: Array) -> Array:
    """E − Σ e0 of every frame, in eV."""
    energies = np.array([float(frame.labels["energy"]) for frame in frames])
    return energies - atomic_counts(frames, len(reference)) @ reference


def _shift(frames: Sequence[Frame], reference: Array) -> float:
    if "energy" not in frames[0].labels:
        return 0.0
    return float(_residuals(frames, reference).sum() / sum(map(len, frames)))


def _scale(frames: Sequence[Frame], reference: Array, notes: list[str]) -> float:
    if "forces" in frames[0].labels:
        forces = np.concatenate([frame.labels["forces"] for frame in frames])
        scale = float(np.sqrt(np.mean(forces**2)))
    elif "energy" in frames[0].labels:
        sizes = np.array([len(frame) for frame in frames])
        scale = float(np.std(_residuals(frames, reference) / sizes))
    else:
        return 1.0
    # residuals that are only rounding tell no scale
    if not scale > 1e-10:
        notes.append("the labels of the training set do not vary: energies are not scaled")
        return 1.0
    return scale
