"""What the model does at its cutoff, and that far parts add up."""

import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline, measure_baseline, rms
from .certificate import Item
from .frames import random_cluster
from .geometry import Geometry
from .judge import EPSILON, Rule, demanded, judge, not_applicable, unclaimed

Array = NDArray[np.float64]
Ray = tuple[Geometry, Array, int, Array]

SMOOTH, EXTENSIVE = "smoothness at the cutoff", "size extensivity"

_NEAR = 1e-4  # Å on either side of the cutoff, where jumps are judged
_FAR = (0.04, 0.02)  # Å, where their order is read off: above rounding, and still close
_APPROACHES = 4  # per frame


def smoothness_item(baseline: Baseline, rng: np.random.Generator) -> Item:
    """Energy and forces as one atom crosses the cutoff of one other.

        jump(d) = |f(rc - d) - f(rc + d)|

    The atom comes in along a ray on which all others stay out of reach. An energy in C^k makes the jump of
    the forces vanish as d^k; judged is the larger of the two jumps at d = 1e-4 Å, relative. For C^1 the
    forces' jump is allowed to be first order, for C^0 only the energy's jump is judged.
    """
    subject = baseline.subject
    order = subject.plan.smoothness.get("energy")
    clusters = [frame for frame in baseline.frames if not frame.periodic and len(frame) > 1]
    if not clusters:
        species = len(subject.plan.system["species"])
        cutoff = float(subject.plan.system["cutoff"])
        clusters = [random_cluster(atoms, cutoff, species, rng) for atoms in (4, 6, 8)]
    base = measure_baseline(subject, clusters)
    rays = [ray for frame in clusters for ray in _rays(frame, len(subject.plan.system["species"]), rng)]
    jumps = {d: _jumps(base, rays, d) for d in (_NEAR, *_FAR)}
    floor = 1e3 * EPSILON[subject.dtype]
    orders = {name: _order(jumps, name) for name in jumps[_NEAR] if jumps[_FAR[1]][name] > floor}
    words = [f"{name} as d^{power:.1f}" for name, power in orders.items()]
    judged = jumps[_NEAR] if order != 0 else {"energy": jumps[_NEAR]["energy"]}
    return judge(
        SMOOTH,
        subject.dtype,
        float(np.max(list(judged.values()))),
        _smoothness_rule(order, subject.dtype),
        measure=f"largest jump of {' and '.join(judged)} over {2 * _NEAR:g} Å in {len(rays)} approaches",
        rounding=base.energy_rounding,
        reason=f"between {_FAR[1]:g} and {_FAR[0]:g} Å jumps grow: {', '.join(words)}" if words else "",
    )


def _smoothness_rule(order: int | None, dtype: str) -> Rule:
    if order is None:
        return unclaimed("the plan claims no smoothness")
    rule = demanded("continuity", dtype)
    if order >= 2:
        return rule
    assert rule.tolerance is not None
    return Rule(max(rule.tolerance, 10.0 * _NEAR), f"the energy is claimed C{order} only")


def _rays(frame: Geometry, species: int, rng: np.random.Generator) -> list[Ray]:
    """Approaches: the frame, the place of the atom approached, the species that comes, the direction out."""
    found = []
    for _ in range(_APPROACHES):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        outermost = int((frame.positions @ direction).argmax())
        found.append((frame, frame.positions[outermost], int(rng.integers(species)), direction))
    return found


def _jumps(base: Baseline, rays: list[Ray], distance: float) -> dict[str, float]:
    """RMS jump of energy and of force components between cutoff -+ distance, relative."""
    cutoff = float(base.subject.plan.system["cutoff"])
    placed = []
    for side in (-1.0, 1.0):
        for frame, place, kind, direction in rays:
            guest = place + (cutoff + side * distance) * direction
            placed.append(
                Geometry(
                    np.append(frame.species, kind), np.vstack([frame.positions, guest]), frame.cell, frame.pbc
                )
            )
    response = base.subject.respond(placed)
    inside, outside = response.energy.reshape(2, -1)
    found = {"energy": rms(inside - outside) / base.scales["energy"]}
    if "forces" in base.scales:
        assert response.forces is not None
        middle = response.offsets[len(rays)]
        change = response.forces[:middle] - response.forces[middle:]
        found["forces"] = rms(change) / base.scales["forces"]
    return found


def _order(jumps: dict[float, dict[str, float]], name: str) -> float:
    """The power of the distance with which a jump grows."""
    far, near = (jumps[d][name] for d in _FAR)
    return float(np.log(far / near) / np.log(_FAR[0] / _FAR[1]))


def extensivity_item(baseline: Baseline, rng: np.random.Generator) -> Item:
    """Two structures out of each other's reach, or two cells as one: energies add, forces stay.

    E(A + B) = E(A) + E(B)
    """
    subject = baseline.subject
    reach = subject.plan.locality.get("energy")
    if reach is None:
        return not_applicable(EXTENSIVE, subject.dtype, "the plan does not claim that the energy is local")
    pairs = []
    for i, frame in enumerate(baseline.frames):
        if frame.periodic:
            pairs.append((frame.doubled(int(np.flatnonzero(frame.pbc)[0])), (i, i)))
            continue
        others = [j for j, other in enumerate(baseline.frames) if not other.periodic]
        j = others[(others.index(i) + 1) % len(others)]
        pairs.append((_apart(frame, baseline.frames[j], float(reach), rng), (i, j)))
    response = subject.respond([joined for joined, _ in pairs])
    parts = baseline.response.energy
    sums = np.array([parts[i] + parts[j] for _, (i, j) in pairs])
    deviations = {"energy": rms(response.energy - sums) / baseline.scales["energy"]}
    if "forces" in baseline.scales:
        assert response.forces is not None
        expected = [baseline.response.forces_of(k) for _, pair in pairs for k in pair]
        deviations["forces"] = rms(response.forces - np.concatenate(expected)) / baseline.scales["forces"]
    return judge(
        EXTENSIVE,
        subject.dtype,
        float(np.max(list(deviations.values()))),
        demanded("symmetry", subject.dtype),
        measure=f"largest RMS deviation of {' and '.join(deviations)} for two frames out of reach as one",
        rounding=2.0 * baseline.energy_rounding,
    )


def _apart(first: Geometry, second: Geometry, reach: float, rng: np.random.Generator) -> Geometry:
    """Two clusters in one structure, farther apart than the model sees."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    gap = (first.positions @ direction).max() - (second.positions @ direction).min() + 2.0 * reach + 5.0
    return first.joined(second.moved(gap * direction))
