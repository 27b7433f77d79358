"""What a flow conserves, along 1,000 steps of its own integrator."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .certificate import Item
from .judge import Rule, demanded, judge, not_applicable, unclaimed
from .phase_flow import MEMBERS, ROLLOUT, roll_out, time_step
from .phase_symmetry import FLOOR, Coordinate, coordinates_of
from .subject import Subject

Array = NDArray[np.float64]

_HALVINGS = 2


def conservation_items(subject: Subject, states: Array) -> list[Item]:
    """What the plan says is conserved, along 1,000 steps of the plan's own integrator.

        energy: |slope| x duration and largest excursion, of the spread of H over the states
        momentum: change of sum p; angular momentum: change of sum q x p, of the sum of the parts' sizes

    Shapes: states [M, D]
    """
    dtype = subject.dtype
    if not subject.plan.conserved:
        return [not_applicable("conserved quantities", dtype, "the plan derives none")]
    dt, orbit = _orbit(subject, states)
    how = f"over {ROLLOUT} {subject.plan.system['integrator']} steps of {dt:.3g}"
    items = []
    for entry in subject.plan.conserved:
        measure = _CONSERVED.get(entry.quantity)
        name = f"conserved {entry.quantity}"
        if measure is None:
            items.append(not_applicable(name, dtype, f"nothing is known of how to measure {entry.quantity}"))
            continue
        if entry.quantity == "energy" and not subject.has_hamiltonian:
            items.append(not_applicable(name, dtype, f"no Hamiltonian: {entry.broken_by}"))
            continue
        value, tolerance, words, reason = measure(subject, states, orbit)
        rule = Rule(tolerance) if entry.holds else unclaimed(f"broken by {entry.broken_by}")
        items.append(judge(name, dtype, value, rule, measure=f"{words} {how}", reason=reason))
    return items


def _orbit(subject: Subject, states: Array) -> tuple[float, Array]:
    """A step and 1,000 of it, short enough that the integrator's own error does not hide the flow's.

    The integrator's error in H falls with the step, an error of the flow itself only with the time covered.
    """
    start = states[:MEMBERS]
    dt = time_step(subject, start)
    orbit = roll_out(subject, start, dt, ROLLOUT)
    for _ in range(_HALVINGS):
        if not subject.has_hamiltonian or _energy(subject, states, orbit)[0] <= _tolerance(
            subject, "dynamics"
        ):
            break
        dt /= 2.0
        orbit = roll_out(subject, start, dt, ROLLOUT)
    return dt, orbit


Measured = tuple[float, float, str, str]


def _energy(subject: Subject, states: Array, orbit: Array) -> Measured:
    energy = subject.hamiltonian(orbit)
    spread = max(float(subject.hamiltonian(states).std()), FLOOR)
    time = np.linspace(-0.5, 0.5, len(energy))
    slope = np.abs(time @ energy / (time @ time)) / spread
    excursion = np.abs(energy - energy[0]).max(axis=0) / spread
    return (
        float(np.max(excursion)),
        _tolerance(subject, "dynamics"),
        "largest excursion of H, of its spread over the states,",
        f"its slope over the whole run is {float(np.max(slope)):.1e}",
    )


def _momentum(subject: Subject, _: Array, orbit: Array) -> Measured:
    parts = _shared_blocks(subject, orbit, momenta=True)
    total = np.sum(parts, axis=0)
    size = max(float(np.sqrt(np.square(parts).sum(axis=-1)).sum(axis=0).max()), FLOOR)
    change = np.linalg.norm(total - total[0], axis=-1).max() / size
    return (
        float(change),
        _tolerance(subject, "symmetry"),
        "largest change of the total momentum, of its parts,",
        "",
    )


def _angular_momentum(subject: Subject, _: Array, orbit: Array) -> Measured:
    spins = _spins(subject, orbit)
    total = spins.sum(axis=0)
    size = max(float(np.abs(spins).sum(axis=0).max()), FLOOR)
    change = np.abs(total - total[0]).max() / size
    kind = "symmetry" if subject.plan.system["integrator"] == "leapfrog" else "dynamics"
    words = "largest change of the total angular momentum, of its parts,"
    return float(change), _tolerance(subject, kind), words, ""


def _shared_blocks(subject: Subject, orbit: Array, *, momenta: bool) -> Array:
    """The parts of a state that live in one space: [blocks, T, M, dim]."""
    coordinates = coordinates_of(subject.plan)
    half = orbit[..., orbit.shape[-1] // 2 :] if momenta else orbit[..., : orbit.shape[-1] // 2]
    common = max({str(item.rep) for item in coordinates}, key=lambda rep: _count(coordinates, rep))
    return np.stack([half[..., item.slice] for item in coordinates if str(item.rep) == common])


def _count(coordinates: Sequence[Coordinate], rep: str) -> int:
    return sum(str(item.rep) == rep for item in coordinates)


def _spins(subject: Subject, orbit: Array) -> Array:
    """The generator of rotations, part by part: sum over the vectors of a block of m (q_x p_y - q_y p_x)."""
    q, p = np.split(orbit, 2, axis=-1)
    found = []
    for item in coordinates_of(subject.plan):
        for block in item.rep:
            if item.rep.group != "SO(2)" or block.l == 0:
                continue
            place = slice(item.start + block.start, item.start + block.start + block.dim)
            x, y = (part for part in np.split(q[..., place], 2, axis=-1))
            px, py = (part for part in np.split(p[..., place], 2, axis=-1))
            found.append(block.l * (x * py - y * px).sum(axis=-1))
    return np.stack(found) if found else np.zeros((1, *orbit.shape[:-1]))


def _tolerance(subject: Subject, kind: str) -> float:
    tolerance = demanded(kind, subject.dtype).tolerance
    assert tolerance is not None
    return tolerance


_CONSERVED: dict[str, Callable[[Subject, Array, Array], Measured]] = {
    "energy": _energy,
    "momentum": _momentum,
    "angular momentum": _angular_momentum,
}
