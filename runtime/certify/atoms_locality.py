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

SMOOTH, ORDER, EXTENSIVE = "smoothness at the cutoff", "order at the cutoff", "size extensivity"

_NEAR = 1e-4  # Å on either side of the cutoff, where jumps are judged
_FAR = (0.04, 0.02)  # Å, where their order is read off: above rounding, and still close
_SLACK = 0.4  # orders: the next power's share at these distances
_APPROACHES = 4  # per frame


def smoothness_items(baseline: Baseline, rng: np.random.Generator) -> list[Item]:
    """Energy and forces as one atom crosses the cutoff of one other: do they jump, and how smoothly do they end.

        jump(d) = |f(rc - d) - f(rc + d)|;  an energy in C^k makes it vanish as d^(k+1), and that of forces as d^k

    The atom comes in along a ray on which all others stay out of reach. Judged are the larger of the two jumps at
    d = 1e-4 Å, relative (for C^1 the forces' may be of first order, for C^0 only the energy's counts), and by how
    many orders the jumps vanish too slowly, read off between two larger distances.
    """
    subject = baseline.subject
    claimed = subject.plan.smoothness.get("energy")
    clusters = [frame for frame in baseline.frames if not frame.periodic and len(frame) > 1]
    if not clusters:
        species = len(subject.plan.system["species"])
        cutoff = float(subject.plan.system["cutoff"])
        clusters = [random_cluster(atoms, cutoff, species, rng) for atoms in (4, 6, 8)]
    base = measure_baseline(subject, clusters)
    rays = [ray for frame in clusters for ray in _rays(frame, len(subject.plan.system["species"]), rng)]
    near = _jumps(base, rays, _NEAR)
    judged = near if claimed != 0 else {"energy": near["energy"]}
    jump = judge(
        SMOOTH,
        subject.dtype,
        float(np.max(list(judged.values()))),
        _jump_rule(claimed, subject.dtype),
        measure=f"largest jump of {' and '.join(judged)} over {2 * _NEAR:g} Å in {len(rays)} approaches",
        rounding=base.energy_rounding,
    )
    return [jump, _order_item(base, rays, claimed)]


def _order_item(base: Baseline, rays: list[Ray], claimed: int | None) -> Item:
    """By how many orders the energy ends less smoothly than claimed; 0 where it ends as smoothly or more."""
    dtype = base.subject.dtype
    if claimed is None:
        return not_applicable(ORDER, dtype, "the plan claims no smoothness")
    far, close = (_jumps(base, rays, d) for d in _FAR)
    floor = 1e3 * EPSILON[dtype]
    orders = {
        name: float(np.log(far[name] / close[name]) / np.log(_FAR[0] / _FAR[1]))
        for name in close
        if close[name] > floor
    }
    if not orders:
        return not_applicable(ORDER, dtype, f"jumps at {_FAR[1]:g} Å are too small to tell from rounding")
    found = min(order - (name == "energy") for name, order in orders.items())
    words = ", ".join(f"that of {name} as d^{order:.1f}" for name, order in orders.items())
    return judge(
        ORDER,
        dtype,
        max(claimed - found, 0.0),
        Rule(_SLACK),
        unit="orders",
        measure=f"claimed C{claimed} less the measured C{found:.1f}: jumps vanish, {words}",
    )


def _jump_rule(order: int | None, dtype: str) -> Rule:
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
