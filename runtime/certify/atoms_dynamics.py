"""Molecular dynamics at constant energy: what the forces do to energy and momenta over 1,000 steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline
from .certificate import Item
from .geometry import Geometry
from .judge import Rule, claim_rule, demanded, judge, not_applicable, unclaimed
from .subject import Subject

Array = NDArray[np.float64]

DRIFT, MOMENTUM, SPIN = "NVE energy drift", "NVE momentum", "NVE angular momentum"
STEPS = 1000
FEWEST_STEPS = 200

_FEMTOSECOND = 0.09822694788464063  # in Å sqrt(u / eV)
_LONGEST = 1.0  # fs
_FINE = 5  # steps for a coarse one, with which is found out how far the model can be followed
_BYTES = 10 * 2**30  # of edge features in all steps: one to three minutes on one core
_AMPLITUDE = 0.02  # Å, how far the velocities carry an atom in the fastest vibration
_COARSE = 0.5  # of 1 / the highest frequency; velocity Verlet is stable below 2
_CLOSEST = 0.6  # of the shortest distance at the start: nearer than this no data was ever seen
_ATOMS = 16  # in all frames together, but for the first: the steps cost, hardly the atoms


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Velocity Verlet from several frames at once: each row a step.

    kinetic, total [T, S] eV; momentum, spin [T, S, 3]; closest [T] the shortest distance between two atoms
    relative to the start's.
    """

    kinetic: Array
    total: Array
    momentum: Array
    spin: Array
    closest: Array


def dynamics_items(baseline: Baseline, rng: np.random.Generator) -> list[Item]:
    """Drift of the energy, and of what else is conserved, over 1,000 steps of velocity Verlet.

        drift = |slope of the total energy| x duration / (largest - smallest kinetic energy)

    The frames are the smallest ones, the masses those of the elements, the velocities those that move an
    atom by about 0.02 Å. The time step is at most 1 fs and 0.1 of the fastest period / 2 pi, and as much
    shorter as it takes to stay within the model's domain, where atoms do not come closer than 0.6 of the
    shortest distance at the start, nor move as far in a step. Large frames get fewer steps, 200 at least: as many as
    keep all of them within 10 GiB of edge features.

    Reference: swope1982computer
    """
    subject = baseline.subject
    names = (DRIFT, MOMENTUM, SPIN)
    if subject.plan.kind == "particles":
        return [not_applicable(name, subject.dtype, "particles have no masses of elements") for name in names]
    if subject.plan.forces not in baseline.scales:
        return [not_applicable(name, subject.dtype, "the model has no forces") for name in names]
    frames = _smallest([frame for frame in baseline.frames if len(frame) > 1])
    if not frames:
        return [not_applicable(name, subject.dtype, "every frame is a single atom") for name in names]
    masses = _masses(subject, frames)
    frequency = _highest_frequency(subject, frames, masses, rng)
    if not np.isfinite(frequency) or frequency <= 0.0:
        return [
            not_applicable(name, subject.dtype, "the forces do not change as atoms move") for name in names
        ]
    velocities = _velocities(frames, masses, _AMPLITUDE * frequency, rng)
    steps = _affordable_steps(subject, frames)
    scouts = steps // _FINE
    coarse = min(_COARSE / frequency, _FINE * _LONGEST * _FEMTOSECOND)
    scout = verlet(subject, frames, velocities, masses, coarse, scouts)
    followed = len(scout.closest) - 1
    cut = followed < scouts
    duration = coarse * (0.6 * followed if cut else scouts)
    step = duration / steps
    run = verlet(subject, frames, velocities, masses, step, steps)
    if len(run.closest) <= steps:
        why = "the model pulls these frames together faster than it can be followed (is it trained?)"
        return [not_applicable(name, subject.dtype, why) for name in names]
    reason = f"{steps} steps of {step / _FEMTOSECOND:.2g} fs"
    if steps < STEPS:
        reason += f" in place of {STEPS}, because a step of frames this large costs more"
    if cut:
        reason += (
            ", cut short where atoms come too close or leap: the model does not hold these frames together"
        )
    return [
        _drift_item(baseline, run, reason),
        _momentum_item(baseline, MOMENTUM, "momentum", run.momentum, _sizes(frames, masses, run), reason),
        _spin_item(baseline, frames, masses, run, reason),
    ]


def verlet(
    subject: Subject, frames: Sequence[Geometry], velocities: Array, masses: Array, dt: float, steps: int
) -> Trajectory:
    """Velocity Verlet, ended early where atoms come too close, or leap: move in a step as far as two are apart.

        v½ = v + dt/2 F/m;  x' = x + dt v½;  v' = v½ + dt/2 F(x')/m

    Shapes: velocities [N, 3] Å/(Å sqrt(u/eV)), masses [N] u, over the atoms of all frames
    """
    offsets = np.cumsum([0, *map(len, frames)])
    frames, start = list(frames), _closest(frames)
    response = subject.respond(frames)
    rows = []
    for number in range(steps + 1):
        if number > 0:
            assert response.forces is not None
            velocities = velocities + 0.5 * dt * response.forces / masses[:, None]
            if not dt * np.abs(velocities).max() < start:
                break
            frames = [
                frame.moved(dt * velocities[a:b])
                for frame, a, b in zip(frames, offsets, offsets[1:], strict=False)
            ]
            closest = _closest(frames) / start
            if not closest > _CLOSEST:
                break
            response = subject.respond(frames)
            assert response.forces is not None
            velocities = velocities + 0.5 * dt * response.forces / masses[:, None]
        closest = _closest(frames) / start
        momenta = masses[:, None] * velocities
        positions = np.concatenate([frame.positions for frame in frames])
        kinetic = np.add.reduceat(0.5 * (momenta * velocities).sum(axis=1), offsets[:-1])
        momentum = np.add.reduceat(momenta, offsets[:-1])
        spin = np.add.reduceat(np.cross(positions, momenta), offsets[:-1])
        assert response.energy is not None
        rows.append((kinetic, kinetic + response.energy, momentum, spin, closest))
    return Trajectory(*(np.array(column) for column in zip(*rows, strict=True)))


def _drift_item(baseline: Baseline, run: Trajectory, reason: str) -> Item:
    time = np.linspace(-0.5, 0.5, len(run.total))
    slope = time @ (run.total - run.total[0]) / (time @ time)
    exchanged = run.kinetic.max(axis=0) - run.kinetic.min(axis=0)
    fluctuation = (run.total - run.total[0] - np.outer(time, slope)).std(axis=0)
    value = float(np.max(np.abs(slope) / exchanged))
    words = f"{reason}; the energy fluctuates by {float(np.max(fluctuation / exchanged)):.1e} about the slope"
    rounding = 16.0 * float(np.abs(run.total).max()) * 2.0**-52 / float(exchanged.min())
    return judge(
        DRIFT,
        baseline.subject.dtype,
        value,
        _conserved_rule(baseline, "energy", "dynamics"),
        measure="slope of the total energy times the duration, of the kinetic energy exchanged",
        rounding=rounding,
        reason=words,
    )


def _momentum_item(
    baseline: Baseline, name: str, quantity: str, values: Array, sizes: Array, reason: str
) -> Item:
    change = np.abs(values - values[0]).max(axis=(0, 2)) / sizes
    return judge(
        name,
        baseline.subject.dtype,
        float(np.max(change)),
        _conserved_rule(baseline, quantity, "symmetry"),
        measure=f"largest change of the total {quantity}, of the sum of the atoms' own",
        reason=reason,
    )


def _spin_item(
    baseline: Baseline, frames: Sequence[Geometry], masses: Array, run: Trajectory, reason: str
) -> Item:
    if any(frame.periodic for frame in frames):
        return not_applicable(
            SPIN, baseline.subject.dtype, "angular momentum is not defined in a periodic cell"
        )
    arms = np.array([np.linalg.norm(frame.positions, axis=1).max() for frame in frames])
    sizes = arms * _sizes(frames, masses, run)
    return _momentum_item(baseline, SPIN, "angular momentum", run.spin, sizes, reason)


def _conserved_rule(baseline: Baseline, quantity: str, kind: str) -> Rule:
    """What the plan says is conserved; where it does not say, what follows from its symmetries (Noether)."""
    plan, dtype = baseline.subject.plan, baseline.subject.dtype
    for entry in plan.conserved:
        if entry.quantity == quantity:
            if entry.holds:
                return demanded(kind, dtype)
            return unclaimed(f"the plan does not claim it: {entry.broken_by}")
    order = plan.smoothness.get(plan.energy)
    if quantity == "energy" and order is not None and order < 0:
        return unclaimed("the energy is not claimed to be continuous, and no force does the work of a jump")
    factors = {"momentum": "translation", "angular momentum": "SO(3)"}
    if plan.step(plan.outputs[plan.forces].step).layer != "grad":
        return unclaimed("the forces are not derived from the energy")
    fields = [one["name"] for one in plan.system["inputs"] if set(one["rep"].split("+")) - {"1x0e"}]
    if quantity == "angular momentum" and fields:
        return unclaimed(f"`{fields[0]}` points somewhere, and turns what moves in it")
    if quantity in factors and claim_rule(plan, factors[quantity], dtype) != demanded("symmetry", dtype):
        return unclaimed(f"the plan does not claim {factors[quantity]} exactly")
    return demanded(kind, dtype)


def _sizes(frames: Sequence[Geometry], masses: Array, run: Trajectory) -> Array:
    """Per frame, the sum of the atoms' momenta as numbers: sqrt(2 M K), K the largest kinetic energy."""
    offsets = np.cumsum([0, *map(len, frames)])
    totals = np.add.reduceat(masses, offsets[:-1])
    return np.sqrt(2.0 * totals * run.kinetic.max(axis=0))


def _smallest(frames: Sequence[Geometry]) -> list[Geometry]:
    """The smallest frames, clusters before crystals, up to some number of atoms together; one at least."""
    ordered = sorted(frames, key=lambda frame: (frame.periodic, len(frame)))
    chosen, room = ordered[:1], _ATOMS - sum(map(len, ordered[:1]))
    for frame in ordered[1:]:
        if frame.periodic == ordered[0].periodic and len(frame) <= room:
            chosen.append(frame)
            room -= len(frame)
    return chosen


def _masses(subject: Subject, frames: Sequence[Geometry]) -> Array:
    from ase.data import atomic_masses, atomic_numbers

    known = np.array([atomic_masses[atomic_numbers[name]] for name in subject.plan.system["species"]])
    return known[np.concatenate([frame.species for frame in frames])]


def _highest_frequency(
    subject: Subject, frames: Sequence[Geometry], masses: Array, rng: np.random.Generator
) -> float:
    """About sqrt|largest eigenvalue| of the mass-weighted force Jacobian, by power iteration."""
    offsets = np.cumsum([0, *map(len, frames)])
    root = np.sqrt(masses)[:, None]
    vector, size = rng.normal(size=(len(masses), 3)), 0.0
    for _ in range(8):
        vector /= np.linalg.norm(vector)
        length = 0.01 / float(np.abs(vector / root).max())
        moved = [
            frame.moved(sign * length * (vector / root)[a:b])
            for sign in (1.0, -1.0)
            for frame, a, b in zip(frames, offsets, offsets[1:], strict=False)
        ]
        forces = subject.respond(moved).forces
        assert forces is not None
        vector = (forces[: len(masses)] - forces[len(masses) :]) / (2.0 * length) / root
        size = float(np.linalg.norm(vector))
        if not np.isfinite(size) or size == 0.0:
            return size
    return float(np.sqrt(size))


def _affordable_steps(subject: Subject, frames: Sequence[Geometry]) -> int:
    cost = sum(subject.edge_bytes(frame) for frame in frames)
    return int(np.clip(_BYTES // max(cost, 1.0), min(FEWEST_STEPS, STEPS), STEPS))


def _velocities(frames: Sequence[Geometry], masses: Array, speed: float, rng: np.random.Generator) -> Array:
    """Random velocities of this RMS component, the centre of mass of each frame at rest."""
    offsets = np.cumsum([0, *map(len, frames)])
    velocities = rng.normal(size=(len(masses), 3)) * speed / np.sqrt(masses / masses.min())[:, None]
    for a, b in pairwise(offsets):
        velocities[a:b] -= masses[a:b] @ velocities[a:b] / masses[a:b].sum()
    return velocities


def _closest(frames: Sequence[Geometry]) -> float:
    """The shortest distance between two atoms of one frame (its own, not their images)."""
    distances = []
    for frame in frames:
        difference = frame.positions[:, None] - frame.positions[None]
        distance = np.sqrt((difference**2).sum(-1))
        distances.append(distance[np.triu_indices(len(frame), 1)].min())
    return float(min(distances))
