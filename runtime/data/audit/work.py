"""Energy differences of neighbouring structures against the work that their forces and stress do between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .trends import Trend, trend

Array = NDArray[np.float64]

_SAME = 1e-5  # Å: structures that differ by less are one
_FARTHEST = 1.5  # Å: atoms that move further do not move along a line of the energy that two forces describe
_SMALLEST_STRAIN = 5e-4
_LARGEST_STRAIN = 0.12


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A structure with labels in eV, eV/Å, eV/Å^3: positions [N, 3], cell [3, 3], forces [N, 3], stress [3, 3]."""

    numbers: NDArray[np.int64]
    positions: Array
    cell: Array
    periodic: bool
    energy: float
    forces: Array
    stress: Array | None


def force_trend(frames: Sequence[Labelled]) -> Trend | None:
    """Energy differences over the work of the forces.

        E_j - E_i  against  -(F_i + F_j) · (r_j - r_i) / 2

    for each structure i and the one j of the same atoms (and cell) that lies nearest: exact for a quadratic
    energy, good to the third order in the displacement for any other. Molecules are laid over each other
    first (Kabsch), because structures of a file may be turned. Order in the file plays no part.
    """
    predicted, found, likeness = [], [], []
    for group in _alike(frames, with_cell=True):
        for i, j, there, turned in _nearest(group):
            step = there - group[i].positions
            step -= step.mean(axis=0)
            here = group[i].forces
            predicted.append(-0.5 * float(((here + turned) * step).sum()))
            found.append(group[j].energy - group[i].energy)
            size = float(np.linalg.norm(here) * np.linalg.norm(turned))
            likeness.append(float((here * turned).sum()) / size if size > 0 else 0.0)
    return trend(np.array(predicted), np.array(found), float(np.median(likeness)) if likeness else 0.0)


def stress_trend(frames: Sequence[Labelled]) -> Trend | None:
    """Energy differences, less the work of the forces, over the work of the stress.

        E_j - E_i + (F_i + F_j) · u / 2  against  (V_i + V_j) / 2 · (σ_i + σ_j) / 2 : ε

    where ε is the symmetric strain from cell i to cell j, and u the displacement that it leaves over. A stress of
    the other sign (that of VASP) gives a falling trend, one in GPa a ratio of 1/160.
    """
    predicted, found = [], []
    for group in _alike(frames, with_cell=False):
        usable = [one for one in group if one.periodic and one.stress is not None]
        for i, one in enumerate(usable):
            best = _least_strained(one, usable[:i])
            if best is None:
                continue
            other, strain, left = best
            assert one.stress is not None
            assert other.stress is not None
            volume = 0.5 * (abs(np.linalg.det(one.cell)) + abs(np.linalg.det(other.cell)))
            work = -0.5 * float(((one.forces + other.forces) * left).sum())
            predicted.append(0.5 * volume * float(((one.stress + other.stress) * strain).sum()))
            found.append(other.energy - one.energy - work)
    return trend(np.array(predicted), np.array(found))


def _alike(frames: Sequence[Labelled], *, with_cell: bool) -> list[list[Labelled]]:
    """Frames of the same atoms in the same order, and of one cell where that is asked for."""
    groups: dict[bytes, list[Labelled]] = {}
    for frame in frames:
        key = frame.numbers.tobytes() + bytes([frame.periodic])
        if with_cell and frame.periodic:
            key += np.round(frame.cell, 5).tobytes()
        groups.setdefault(key, []).append(frame)
    return [group for group in groups.values() if len(group) > 1 and len(group[0].numbers) > 1]


def _nearest(group: Sequence[Labelled]) -> list[tuple[int, int, Array, Array]]:
    """For each structure i the nearest one j, once a pair: with r_j and F_j as they lie over i."""
    positions = np.array([one.positions for one in group])
    forces = np.array([one.forces for one in group])
    centred = positions - positions.mean(axis=1, keepdims=True)
    seen: set[tuple[int, int]] = set()
    found = []
    for i, one in enumerate(group):
        if one.periodic:
            steps = (positions - one.positions) @ np.linalg.pinv(one.cell)
            over = one.positions + (steps - np.round(steps)) @ one.cell
            turns = np.broadcast_to(np.eye(3), (len(group), 3, 3))
        else:
            turns = _rotations(centred[i], centred)
            over = np.einsum("mna,mab->mnb", centred, turns) + one.positions.mean(axis=0)
        away = np.linalg.norm(over - one.positions, axis=2)
        furthest = away.max(axis=1)
        distance = np.where(furthest > _SAME, np.sqrt((away**2).mean(axis=1)), np.inf)
        j = int(np.argmin(distance))
        pair = (min(i, j), max(i, j))
        if np.isfinite(distance[j]) and furthest[j] < _FARTHEST and pair not in seen:
            seen.add(pair)
            found.append((i, j, over[j], forces[j] @ turns[j]))
    return found


def _rotations(onto: Array, centred: Array) -> Array:
    """The proper rotations Q [M, 3, 3] that lay [M, N, 3] (as rows, x Q) closest over [N, 3] (Kabsch)."""
    left, _, right = np.linalg.svd(np.einsum("mna,nb->mab", centred, onto))
    flips = np.ones((len(centred), 3))
    flips[:, 2] = np.sign(np.linalg.det(left @ right))
    return np.asarray(np.einsum("mai,mi,mib->mab", left, flips, right))


def _least_strained(one: Labelled, others: Sequence[Labelled]) -> tuple[Labelled, Array, Array] | None:
    """Of the other structures the one of most similar, but not the same, cell: it, ε [3, 3], and u [N, 3]."""
    best: tuple[float, Labelled, Array, Array] | None = None
    inverse = np.linalg.pinv(one.cell)
    own = one.positions @ inverse
    for other in others:
        strain = inverse @ other.cell - np.eye(3)
        size = float(np.abs(strain).max())
        symmetric = 0.5 * (strain + strain.T)
        if not (size < _LARGEST_STRAIN and np.abs(symmetric).max() > _SMALLEST_STRAIN):
            continue
        steps = other.positions @ np.linalg.pinv(other.cell) - own
        steps -= np.round(steps)
        left = (steps - steps.mean(axis=0)) @ (0.5 * (one.cell + other.cell))
        furthest = float(np.abs(left).max())
        score = size + furthest / 5.0
        if furthest < 0.5 and (best is None or score < best[0]):
            best = score, other, symmetric, left
    return None if best is None else best[1:]
