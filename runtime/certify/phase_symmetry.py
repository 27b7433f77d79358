"""Group actions on phase space, and the equivariance of a flow under them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from equic.runtime.errors import EquicError
from equic.runtime.irreps import Irreps
from numpy.typing import NDArray

from .baseline import rms
from .certificate import Item
from .judge import claim_rule, judge, not_applicable
from .subject import Subject

Array = NDArray[np.float64]
Action = Callable[[Array], Array]

# Errors of a flow that is zero mean nothing.
FLOOR = 1e-9


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A named block of coordinates: where it lies in q (and, half a state on, in p), how it transforms."""

    name: str
    rep: Irreps
    start: int
    mass: float

    @property
    def slice(self) -> slice:
        """Where it lies among the coordinates."""
        return slice(self.start, self.start + self.rep.dim)


def coordinates_of(plan: Any) -> tuple[Coordinate, ...]:
    """The coordinate blocks of a phase-space plan, in the order of the state.

    Raises:
        EquicError: a block's representation has another dimension than the block.
    """
    masses = plan.system["masses"] or [1.0] * len(plan.system["coordinates"])
    found, start = [], 0
    for number, entry in enumerate(plan.system["coordinates"]):
        rep = Irreps.parse(entry["rep"])
        if rep.dim != entry["dim"]:
            raise EquicError(
                f"coordinate `{entry['name']}` has {entry['dim']} numbers, but `{entry['rep']}` has {rep.dim}"
            )
        found.append(Coordinate(entry["name"], rep, start, float(masses[number])))
        start += rep.dim
    return tuple(found)


def rotation_matrix(coordinates: Sequence[Coordinate], angle: float) -> Array:
    """Rotation of every block by its own frequency m: (x, y) -> (cos mθ x - sin mθ y, sin mθ x + cos mθ y).

    Shapes: -> [d, d], d the number of coordinates; momenta, duals of an orthogonal rep, use it too
    """
    size = sum(item.rep.dim for item in coordinates)
    matrix = np.eye(size)
    for item in coordinates:
        if item.rep.group != "SO(2)":
            continue
        for block in item.rep:
            if block.l == 0:
                continue
            c, s = np.cos(block.l * angle), np.sin(block.l * angle)
            turn = np.kron(np.array([[c, -s], [s, c]]), np.eye(block.mul))
            place = slice(item.start + block.start, item.start + block.start + block.dim)
            matrix[place, place] = turn
    return matrix


def on_both(matrix: Array) -> Action:
    """A map of the coordinates that acts alike on coordinates and momenta: [*, 2d] -> [*, 2d]."""

    def act(states: Array) -> Array:
        q, p = np.split(states, 2, axis=-1)
        return np.concatenate([q @ matrix.T, p @ matrix.T], axis=-1)

    return act


def shared_shift(coordinates: Sequence[Coordinate], rng: np.random.Generator, states: Array) -> Array:
    """A random shift of space, the same for all blocks that live in the same space: [*, 2d], momenta zero.

    Blocks of the most frequent representation are places in one space; others stay.
    """
    counts: dict[str, int] = {}
    for item in coordinates:
        counts[str(item.rep)] = counts.get(str(item.rep), 0) + 1
    common = max(counts, key=lambda rep: counts[rep])
    shift = np.zeros_like(states)
    blocks = [item for item in coordinates if str(item.rep) == common]
    vector = rng.normal(size=(*states.shape[:-1], blocks[0].rep.dim))
    for item in blocks:
        shift[..., item.slice] = vector
    return shift


def swap_matrix(coordinates: Sequence[Coordinate], names: Sequence[str]) -> Array:
    """The coordinates of these names, declared alike, in a cycle: [d, d]."""
    alike = [item for item in coordinates if item.name in names]
    matrix = np.eye(sum(item.rep.dim for item in coordinates))
    for item, other in zip(alike, np.roll(np.arange(len(alike)), 1), strict=True):
        matrix[item.slice] = 0.0
        matrix[item.slice, alike[other].slice] = np.eye(item.rep.dim)
    return matrix


def symmetry_items(subject: Subject, states: Array, rng: np.random.Generator, elements: int) -> list[Item]:
    """One item per factor that the plan names: the flow follows the group, and H (where there is one) stays.

        rotations: standard deviation of g^-1 f(g z) over random angles; others: RMS change

    Shapes: states [M, D]
    """
    coordinates = coordinates_of(subject.plan)
    actions: list[Action]
    backs: list[Action]
    items = []
    for claim in subject.plan.claims:
        name = f"{claim.factor} equivariance" if claim.factor.startswith(("SO", "O(")) else claim.factor
        if claim.factor == "SO(2)":
            angles = rng.uniform(0.0, 2.0 * np.pi, size=elements)
            actions = [on_both(rotation_matrix(coordinates, angle)) for angle in angles]
            backs = [on_both(rotation_matrix(coordinates, -angle)) for angle in angles]
            how = f"over {elements} random angles"
        elif claim.factor == "translation":
            shifts = [shared_shift(coordinates, rng, states) for _ in range(2)]
            actions = [partial(np.add, shift) for shift in shifts]
            backs = [np.asarray for _ in shifts]  # a shift of the states leaves their derivatives alone
            how = "under random shifts of the coordinates"
        elif claim.factor == "permutation":
            names = subject.plan.system["swap"]
            if not names:
                items.append(not_applicable(name, subject.dtype, "the plan names no coordinates to swap"))
                continue
            swap = swap_matrix(coordinates, names)
            actions, backs = [on_both(swap)], [on_both(swap.T)]
            how = f"under an exchange of {', '.join(names)}"
        else:
            items.append(not_applicable(name, subject.dtype, f"nothing is known of how {claim.factor} acts"))
            continue
        items.append(_equivariance_item(subject, states, name, claim.factor, actions, backs, how))
        if claim.factor == "SO(2)":
            items.append(worst_angle_item(subject, states, coordinates))
    return items


def worst_angle_item(subject: Subject, states: Array, coordinates: Sequence[Coordinate]) -> Item:
    """The largest deviation that a search over angles finds.

        max over a of the RMS of R(-a) f(R(a) z) - f(z), and of H(R(a) z) - H(z), each relative

    64 angles all around, then 16 between the neighbours of the worst.
    """
    flow = subject.flow(states)
    energy = subject.hamiltonian(states) if subject.has_hamiltonian else None

    def scores(angles: Array) -> Array:
        moved = np.stack([on_both(rotation_matrix(coordinates, angle))(states) for angle in angles])
        turned = subject.flow(moved)
        back = [on_both(rotation_matrix(coordinates, -a))(f) for a, f in zip(angles, turned, strict=True)]
        found = np.array([rms(f - flow) for f in back]) / max(rms(flow), FLOOR)
        if energy is not None:
            changes = subject.hamiltonian(moved) - energy
            found = np.maximum(found, np.sqrt((changes**2).mean(axis=1)) / max(float(energy.std()), FLOOR))
        return found

    width = 2.0 * np.pi / 64
    around = scores(width * np.arange(64))
    worst = int(np.argmax(around))  # NaN, if any, is the worst
    between = scores(width * (worst + np.linspace(-1.0, 1.0, 17)))
    return judge(
        "SO(2) equivariance, worst angle",
        subject.dtype,
        float(np.max(np.append(between, around[worst]))),
        claim_rule(subject.plan, "SO(2)", subject.dtype),
        measure=f"largest deviation of {'flow' if energy is None else 'flow or H'} under a rotation, by search",
    )


def _equivariance_item(
    subject: Subject,
    states: Array,
    name: str,
    factor: str,
    actions: Sequence[Action],
    backs: Sequence[Action],
    how: str,
) -> Item:
    """The larger of the errors of flow and H, each relative to its own size over the states."""
    moved = np.stack([act(states) for act in actions])
    flow = subject.flow(states)
    changes = np.stack([back(f) for back, f in zip(backs, subject.flow(moved), strict=True)]) - flow
    spread = changes.var(axis=0, ddof=1) if factor == "SO(2)" else np.square(changes)
    errors = {"flow": float(np.sqrt(spread.mean())) / max(rms(flow), FLOOR)}
    if subject.has_hamiltonian:
        energy = subject.hamiltonian(states)
        changes = subject.hamiltonian(moved) - energy
        spread = changes.var(axis=0, ddof=1) if factor == "SO(2)" else np.square(changes)
        errors["H"] = float(np.sqrt(spread.mean())) / max(float(energy.std()), FLOOR)
    return judge(
        name,
        subject.dtype,
        float(np.max(list(errors.values()))),
        claim_rule(subject.plan, factor, subject.dtype),
        measure=f"error of {' and '.join(errors)} {how}, of their own spread over {len(states)} states",
    )
