"""What the model does at its cutoff, and that far parts add up."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline, measure_baseline, rms
from .certificate import Item
from .frames import random_clusters
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
    """Every target as one atom crosses the cutoff of one other: does it jump, and how smoothly does it end.

        jump(d) = |f(rc - d) - f(rc + d)|;  a target in C^k makes it vanish as d^(k+1)

    The atom comes in along a ray on which all others stay out of reach. Judged are the largest of the jumps at
    d = 1e-4 Å, relative (a target claimed C^0 may change in first order; one that is claimed less does not
    count), and by how many orders the jumps vanish too slowly, read off between two larger distances.
    """
    subject = baseline.subject
    if subject.plan.system["pairs"] != "within":
        nearest = subject.plan.system["pairs"] != "all"
        why = "neighbours change at once, and nothing is claimed of that" if nearest else "there is no cutoff"
        return [not_applicable(name, subject.dtype, why) for name in (SMOOTH, ORDER)]
    claimed = {name: subject.plan.smoothness.get(name) for name in subject.plan.outputs}
    clusters = [frame for frame in baseline.frames if not frame.periodic and len(frame) > 1]
    if not clusters:
        clusters = random_clusters(subject.plan, (4, 6, 8), rng)
    base = measure_baseline(subject, clusters)
    rays = [ray for frame in clusters for ray in _rays(frame, len(subject.plan.system["species"]), rng)]
    near = _jumps(base, rays, _NEAR)
    # what is claimed to be discontinuous is not judged; where nothing is claimed, all is reported
    judged = {name: jump for name, jump in near.items() if (claimed[name] or 0) >= 0}
    orders = [order for name in judged if (order := claimed[name]) is not None]
    if not judged:
        why = "no target is claimed to be continuous"
        return [not_applicable(name, subject.dtype, why) for name in (SMOOTH, ORDER)]
    jump = judge(
        SMOOTH,
        subject.dtype,
        float(np.max(list(judged.values()))),
        _jump_rule(min(orders, default=None), subject.dtype),
        measure=f"largest jump of {' and '.join(judged)} over {2 * _NEAR:g} Å in {len(rays)} approaches",
        rounding=base.worst_rounding,
    )
    return [jump, _order_item(base, rays, claimed)]


def _order_item(base: Baseline, rays: list[Ray], claimed: Mapping[str, int | None]) -> Item:
    """By how many orders a target ends less smoothly than claimed; 0 where all end as smoothly or more."""
    dtype = base.subject.dtype
    known = {name: order for name, order in claimed.items() if order is not None and name in base.scales}
    if not known:
        return not_applicable(ORDER, dtype, "the plan claims no smoothness")
    far, close = (_jumps(base, rays, d) for d in _FAR)
    floor = 1e3 * EPSILON[dtype]
    orders = {
        name: float(np.log(far[name] / close[name]) / np.log(_FAR[0] / _FAR[1]))
        for name in known
        if name in close and close[name] > floor
    }
    if not orders:
        return not_applicable(ORDER, dtype, f"jumps at {_FAR[1]:g} Å are too small to tell from rounding")
    slow = {name: known[name] + 1 - order for name, order in orders.items()}
    worst = max(slow, key=lambda name: slow[name])
    words = ", ".join(f"that of {name} as d^{order:.1f}" for name, order in orders.items())
    return judge(
        ORDER,
        dtype,
        max(slow[worst], 0.0),
        Rule(_SLACK),
        unit="orders",
        measure=f"{worst}: claimed C{known[worst]} less the measured C{orders[worst] - 1:.1f}: jumps vanish, {words}",
    )


def _jump_rule(order: int | None, dtype: str) -> Rule:
    if order is None:
        return unclaimed("the plan claims no smoothness")
    rule = demanded("continuity", dtype)
    if order >= 1:
        return rule
    assert rule.tolerance is not None
    return Rule(max(rule.tolerance, 10.0 * _NEAR), "a target is claimed C0 only")


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
    """RMS jump of every target's components between cutoff -+ distance, relative."""
    cutoff = float(base.subject.plan.system["cutoff"])
    placed = []
    for side in (-1.0, 1.0):
        for frame, place, kind, direction in rays:
            guest = place + (cutoff + side * distance) * direction
            placed.append(frame.with_guest(kind, guest))
    response = base.subject.respond(placed)
    middle = {"node": int(response.offsets[len(rays)]), "system": len(rays)}
    found = {}
    for target, scale in base.scales.items():
        values = response.values[target]
        half = middle[base.subject.plan.outputs[target].index]
        found[target] = rms(values[:half] - values[half:]) / scale
    return found


def extensivity_item(baseline: Baseline, rng: np.random.Generator) -> Item:
    """Two structures out of each other's reach, or two cells as one: sums over atoms add, values of atoms stay.

    E(A + B) = E(A) + E(B)
    """
    subject, plan = baseline.subject, baseline.subject.plan
    reaches = {
        name: plan.locality.get(name)
        for name, output in plan.outputs.items()
        if name in baseline.scales and (output.extensive or output.index == "node")
    }
    local = {name: float(reach) for name, reach in reaches.items() if reach is not None}
    if plan.energy is not None and plan.energy not in local:
        local = {}  # what follows from an energy that is not local is not, either
    if not local:
        why = f"the plan does not claim that {'the energy' if plan.energy else 'a target'} is local"
        return not_applicable(EXTENSIVE, subject.dtype, why)
    reach = max(local.values())
    pairs = []
    for i, frame in enumerate(baseline.frames):
        if frame.periodic:
            pairs.append((frame.doubled(int(np.flatnonzero(frame.pbc)[0])), (i, i)))
            continue
        others = [j for j, other in enumerate(baseline.frames) if not other.periodic]
        j = others[(others.index(i) + 1) % len(others)]
        pairs.append((_apart(frame, baseline.frames[j], reach, rng), (i, j)))
    response = subject.respond([joined for joined, _ in pairs])
    # the second part is in the field of the first
    seconds = subject.respond([baseline.frames[j].with_fields_of(baseline.frames[i]) for _, (i, j) in pairs])
    deviations = {}
    for target in local:
        parts = [
            (baseline.response.at(target, i), seconds.at(target, number))
            for number, (_, (i, _)) in enumerate(pairs)
        ]
        if plan.outputs[target].index == "node":
            expected = np.concatenate([one for part in parts for one in part])
        else:
            expected = np.stack([first + second for first, second in parts])
        deviations[target] = rms(response.values[target] - expected) / baseline.scales[target]
    return judge(
        EXTENSIVE,
        subject.dtype,
        float(np.max(list(deviations.values()))),
        demanded("symmetry", subject.dtype),
        measure=f"largest RMS deviation of {' and '.join(deviations)} for two frames out of reach as one",
        rounding=2.0 * baseline.worst_rounding,
    )


def _apart(first: Geometry, second: Geometry, reach: float, rng: np.random.Generator) -> Geometry:
    """Two clusters in one structure, farther apart than the model sees."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    gap = (first.positions @ direction).max() - (second.positions @ direction).min() + 2.0 * reach + 5.0
    return first.joined(second.moved(gap * direction))
