"""Equivariance, permutation, translation and lattice vectors, for atoms."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline
from .certificate import Item
from .geometry import Geometry
from .judge import claim_rule, demanded, judge, not_applicable
from .motion import turned_back
from .rotations import haar_rotations, rotation_about

Array = NDArray[np.float64]

_ASCENT_STEPS = 6
_TRIAL_STEPS = (0.5, 0.15, 0.05, 0.015)  # radians along the gradient, tried at once
_ASCENT_ATOMS = 24  # in the frames that the ascent runs on, unless it is thorough
_STARTS = 3  # of a thorough ascent


def symmetry_items(
    baseline: Baseline, crystals: Baseline, rng: np.random.Generator, elements: int, thorough: bool
) -> list[Item]:
    """One item per target for SO(3) and for inversion; one each for permutation and translation.

    A stress that the frames themselves do not have is measured in the crystals.
    """
    rotations = haar_rotations(elements, rng)
    stress = baseline.subject.plan.stress
    elsewhere = stress in crystals.scales and stress not in baseline.scales
    items = rotation_items(baseline, rotations)
    if elsewhere:
        items += rotation_items(crystals, rotations, only=stress)
    items.append(worst_rotation_item(baseline, rng, elements, thorough=thorough))
    items += inversion_items(baseline)
    if elsewhere:
        items += inversion_items(crystals, only=stress)
    return [
        *items,
        permutation_item(baseline, rng),
        translation_item(baseline, rng),
    ]


def rotation_items(baseline: Baseline, rotations: Array, only: str | None = None) -> list[Item]:
    """Equivariance error under SO(3), per target, or of one alone.

        z_k = g_k^-1 f(g_k x);  A² = sum_k |z_k - mean z|² / (K - 1), meaned over components, atoms, frames

    Shapes:    rotations [K, 3, 3], drawn from the Haar measure
    Reference: domina2026symmetry, section II
    """
    rule = claim_rule(baseline.subject.plan, "SO(3)", baseline.subject.dtype)
    errors = equivariance_errors(baseline, rotations)
    return [
        judge(
            f"SO(3) equivariance, {target}",
            baseline.subject.dtype,
            error,
            rule,
            measure=f"standard deviation of the back-rotated {target} over {len(rotations)} rotations, "
            + baseline.words[target],
            rounding=baseline.rounding(target),
        )
        for target, error in errors.items()
        if only in (None, target)
    ]


def equivariance_errors(baseline: Baseline, rotations: Array) -> dict[str, float]:
    """A per target, relative (`rotation_items`)."""
    spreads = _back_rotated(baseline, rotations)
    return {
        target: float(np.sqrt(np.mean(values.var(axis=0, ddof=1)))) / baseline.scales[target]
        for target, values in spreads.items()
    }


def _back_rotated(baseline: Baseline, rotations: Array) -> dict[str, Array]:
    """Back-rotated outputs minus those of the frames as they are: per target [K, ...]."""
    frames, base = baseline.frames, baseline.response
    response = baseline.subject.respond([frame.turned(R) for R in rotations for frame in frames])
    K = len(rotations)
    found = {}
    for target in baseline.targets:
        values = response.values[target].reshape(K, *base.values[target].shape)
        back = turned_back(baseline.subject.plan.outputs[target], rotations, values) - base.values[target]
        found[target] = back[:, baseline.measured(target)] if target == baseline.subject.plan.stress else back
    return found


def worst_rotation_item(
    baseline: Baseline, rng: np.random.Generator, elements: int, *, thorough: bool
) -> Item:
    """The largest deviation that a search over rotations finds.

        max over R of the RMS of R^-1 f(R x) - f(x), the largest of the targets, each relative

    From the worst of the random rotations (the three worst, and on all frames, where `thorough`; else on the
    smallest frames) a few steps of gradient ascent on the group, the gradient by central differences and the
    step length by trial.
    """
    if not thorough:
        baseline = _smallest(baseline)
    rotations = haar_rotations(elements, rng)
    scores = _scores(baseline, rotations)
    # NaN sorts last, and so is the worst
    starts = np.argsort(scores)[::-1][: _STARTS if thorough else 1]
    score = max((_ascend(baseline, rotations[i], float(scores[i])) for i in starts), key=_nan_is_worst)
    atoms = sum(map(len, baseline.frames))
    return judge(
        "SO(3) equivariance, worst rotation",
        baseline.subject.dtype,
        score,
        claim_rule(baseline.subject.plan, "SO(3)", baseline.subject.dtype),
        measure=f"largest deviation of a target under a rotation of frames of {atoms} atoms, by ascent from the "
        f"worst of {elements} random ones",
        rounding=baseline.worst_rounding,
    )


def _ascend(baseline: Baseline, start: Array, score: float) -> float:
    """The score at the end of an ascent that begins at this rotation with this score."""
    best = start
    for _ in range(_ASCENT_STEPS):
        h = 0.02
        around = np.stack([rotation_about(s * h * axis) @ best for axis in np.eye(3) for s in (1.0, -1.0)])
        gradient = np.diff(_scores(baseline, around).reshape(3, 2)[:, ::-1], axis=1)[:, 0]
        length = float(np.linalg.norm(gradient))
        if not length > 0.0:
            break
        trials = np.stack([rotation_about(step * gradient / length) @ best for step in _TRIAL_STEPS])
        scores = _scores(baseline, trials)
        if not scores.max() > score:
            break
        best, score = trials[int(scores.argmax())], float(scores.max())
    return score


def _nan_is_worst(score: float) -> float:
    return np.inf if np.isnan(score) else score


def _smallest(baseline: Baseline) -> Baseline:
    """The smallest frames, a cell among them where there is a stress, up to some number of atoms together."""
    order = sorted(range(len(baseline.frames)), key=lambda i: len(baseline.frames[i]))
    has_stress = baseline.subject.plan.stress in baseline.scales
    chosen = [next(i for i in order if baseline.frames[i].volume > 0)] if has_stress else []
    room = _ASCENT_ATOMS - sum(len(baseline.frames[i]) for i in chosen)
    for i in order:
        if i not in chosen and (len(baseline.frames[i]) <= room or not chosen):
            chosen.append(i)
            room -= len(baseline.frames[i])
    return baseline.of(sorted(chosen))


def _scores(baseline: Baseline, rotations: Array) -> Array:
    """The largest relative RMS deviation of a target, per rotation: [K]."""
    deviations = _back_rotated(baseline, rotations)
    per_target = [
        np.sqrt(np.square(values).reshape(len(rotations), -1).mean(axis=1)) / baseline.scales[target]
        for target, values in deviations.items()
    ]
    return np.max(per_target, axis=0)


def inversion_items(baseline: Baseline, only: str | None = None) -> list[Item]:
    """Equivariance error under inversion, per target or of one; averaged exactly, A = |z(1) - z(i)| / 2."""
    rule = claim_rule(baseline.subject.plan, "inversion", baseline.subject.dtype)
    response = baseline.subject.respond([frame.turned(-np.eye(3)) for frame in baseline.frames])
    inversion = -np.eye(3)[None]
    outputs = baseline.subject.plan.outputs

    def back(target: str, index: int, value: Array) -> Array:
        rows = value if outputs[target].index == "node" else value[None]
        return turned_back(outputs[target], inversion, rows[None])[0].reshape(value.shape)

    deviations = baseline.deviations(response, back)
    return [
        judge(
            f"inversion equivariance, {target}",
            baseline.subject.dtype,
            0.5 * deviation,
            rule,
            measure=f"half the change of the {target} under inversion, {baseline.words[target]}",
            rounding=baseline.rounding(target),
        )
        for target, deviation in deviations.items()
        if only in (None, target)
    ]


def permutation_item(baseline: Baseline, rng: np.random.Generator) -> Item:
    """The frames with their atoms in another order: values per system stay, those of atoms follow them."""
    orders = [rng.permutation(len(frame)) for frame in baseline.frames]
    permuted = [frame.permuted(order) for frame, order in zip(baseline.frames, orders, strict=True)]
    outputs = baseline.subject.plan.outputs

    def back(target: str, index: int, value: Array) -> Array:
        return value[np.argsort(orders[index])] if outputs[target].index == "node" else value

    deviations = baseline.deviations(baseline.subject.respond(permuted), back)
    return _invariance_item(
        baseline, "permutation", "permutation", deviations, "under random orders of the atoms"
    )


def translation_item(baseline: Baseline, rng: np.random.Generator) -> Item:
    """The frames moved as a whole, by up to 20 Å along each axis."""
    moved = [frame.moved(rng.uniform(-20.0, 20.0, size=3)) for frame in baseline.frames]
    deviations = baseline.deviations(baseline.subject.respond(moved))
    return _invariance_item(
        baseline, "translation", "translation", deviations, "under random shifts of all atoms"
    )


def lattice_item(baseline: Baseline, rng: np.random.Generator) -> Item:
    """Periodic frames with atoms moved by lattice vectors, and with another basis of the same lattice."""
    name = "lattice vectors"
    if not all(frame.periodic for frame in baseline.frames):
        return not_applicable(name, baseline.subject.dtype, "no frame is periodic")
    moved, rebased = [], []
    for frame in baseline.frames:
        images = rng.integers(-2, 3, size=(len(frame), 3)) * frame.pbc
        moved.append(frame.moved(images @ frame.cell))
        rebased.append(_rebased(frame, rng))
    found = [baseline.deviations(baseline.subject.respond(frames)) for frames in (moved, rebased)]
    worst = {target: float(np.max([part[target] for part in found])) for target in found[0]}
    return _invariance_item(
        baseline,
        name,
        None,
        worst,
        "with atoms moved by lattice vectors, and with another basis of the lattice",
    )


def _rebased(frame: Geometry, rng: np.random.Generator) -> Geometry:
    """The same crystal, one periodic cell vector replaced by its sum with another."""
    axes = np.flatnonzero(frame.pbc)
    if len(axes) < 2:
        return frame
    first, second = rng.permutation(axes)[:2]
    cell = frame.cell.copy()
    cell[first] += cell[second]
    return replace(frame, cell=cell)


def _invariance_item(
    baseline: Baseline, name: str, factor: str | None, deviations: dict[str, float], how: str
) -> Item:
    subject = baseline.subject
    rule = (
        demanded("symmetry", subject.dtype)
        if factor is None
        else claim_rule(subject.plan, factor, subject.dtype)
    )
    worst = list(deviations)[int(np.argmax(list(deviations.values())))]  # NaN, if any, is the worst
    return judge(
        name,
        subject.dtype,
        deviations[worst],
        rule,
        measure=f"largest RMS change of {', '.join(deviations)} {how}; here {worst}, {baseline.words[worst]}",
        rounding=baseline.rounding(worst),
    )
