"""Random structures for a model that comes without frames."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from equic.runtime.irreps import Irreps
from numpy.typing import NDArray

from .geometry import Geometry, given_inputs

Array = NDArray[np.float64]

_OPEN = 4.0


def random_frames(plan: Any, rng: np.random.Generator, *, periodic: bool) -> list[Geometry]:
    """Three clusters of 5 to 9 atoms; where `periodic`, also a cell larger and one smaller than the cutoff.

    Atoms are at bonding distances of each other (0.25 to 0.4 of the cutoff, or more), all species appear.
    """
    frames = random_clusters(plan, (5, 7, 9), rng)
    if periodic:
        frames += random_cells(plan, rng)
    return frames


def random_cells(plan: Any, rng: np.random.Generator) -> list[Geometry]:
    """A skewed cell wider than the cutoff, and one narrower than it, where an atom meets its own images."""
    cutoff, count = float(plan.system["cutoff"]), len(plan.system["species"])
    wide = random_crystal(8, 1.2 * cutoff, count, rng)
    narrow = random_crystal(3, 0.8 * cutoff, count, rng)
    return [with_random_inputs(frame, plan, rng) for frame in (wide, narrow)]


def random_clusters(plan: Any, sizes: Sequence[int], rng: np.random.Generator) -> list[Geometry]:
    """Clusters of these numbers of atoms, with inputs."""
    count = len(plan.system["species"])
    frames = [random_cluster(atoms, reach_of(plan), count, rng) for atoms in sizes]
    return [with_random_inputs(frame, plan, rng) for frame in frames]


def with_random_inputs(frame: Geometry, plan: Any, rng: np.random.Generator) -> Geometry:
    """The structure with normal random numbers for everything else that the plan knows of it."""
    values = {
        one["name"]: rng.normal(
            size=(len(frame) if one["index"] == "node" else 1, Irreps.parse(one["rep"]).dim)
        )
        for one in plan.system["inputs"]
    }
    return replace(frame, inputs=given_inputs(values, plan))


def reach_of(plan: Any) -> float:
    """The cutoff; where there is none, a length with which random clusters have distances of about one."""
    cutoff = plan.system["cutoff"]
    return _OPEN if cutoff is None else float(cutoff)


def random_cluster(atoms: int, cutoff: float, species: int, rng: np.random.Generator) -> Geometry:
    """Atoms placed one by one at a bond's length from an earlier one, none closer than that to any other."""
    near, far = _bond(cutoff)
    positions = [np.zeros(3)]
    while len(positions) < atoms:
        direction = rng.normal(size=3)
        step = rng.uniform(near, far) * direction / np.linalg.norm(direction)
        candidate = positions[rng.integers(len(positions))] + step
        if np.linalg.norm(np.array(positions) - candidate, axis=1).min() >= 0.98 * near:
            positions.append(candidate)
    return Geometry(
        _species(atoms, species, rng), np.array(positions), np.zeros((3, 3)), np.zeros(3, dtype=bool)
    )


def random_crystal(atoms: int, side: float, species: int, rng: np.random.Generator) -> Geometry:
    """Atoms on a jittered grid in a skewed cell of about this side (Å), periodic along all three vectors."""
    cell = side * (np.eye(3) + np.tril(rng.uniform(-0.15, 0.15, size=(3, 3)), -1))
    grid = int(np.ceil(atoms ** (1 / 3)))
    sites = np.stack(np.meshgrid(*[np.arange(grid)] * 3, indexing="ij"), -1).reshape(-1, 3)
    chosen = sites[rng.permutation(len(sites))[:atoms]]
    fractional = (chosen + rng.uniform(-0.12, 0.12, size=(atoms, 3))) / grid
    return Geometry(_species(atoms, species, rng), fractional @ cell, cell, np.ones(3, dtype=bool))


def _bond(cutoff: float) -> tuple[float, float]:
    near = max(0.25 * cutoff, min(0.9, 0.5 * cutoff))
    return near, 1.6 * near


def _species(atoms: int, species: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """All species as evenly as the number of atoms allows, in random order."""
    return rng.permutation(np.arange(atoms) % species).astype(np.int64)
