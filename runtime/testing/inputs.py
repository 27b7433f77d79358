"""Random inputs for models, and the group elements that act on them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..irreps import Irreps
from ..plan import Plan

Inputs = dict[str, Tensor]


def random_atoms_inputs(
    plan: Plan, n_systems: int, n_atoms: int, seed: int, periodic: bool = False, density: float = 0.08
) -> Inputs:
    """Systems of atoms at random places, no two closer than 0.8 Å, with their edges.

    `density` in atoms/Å^3; `periodic`: in random triclinic cells, else in the open. Neighbours are found by
    brute force over lattice images, independently of the neighbour lists that users meet.
    """
    rng = np.random.default_rng(seed)
    side = (n_atoms / density) ** (1 / 3)
    frames = []
    for _ in range(n_systems):
        cell = np.diag([side] * 3) + rng.uniform(-0.1, 0.1, (3, 3)) * side if periodic else np.zeros((3, 3))
        box = cell if periodic else np.eye(3) * side
        positions = np.empty((0, 3))
        while len(positions) < n_atoms:
            new = rng.uniform(0, 1, 3) @ box
            if all(np.linalg.norm(new - old) > 0.8 for old in positions):
                positions = np.vstack((positions, new))
        species = rng.integers(0, len(plan.system["species"]), n_atoms)
        frames.append((positions, species, cell))
    inputs = batch(frames, float(plan.system["cutoff"]))
    for entry in plan.system["inputs"]:
        rows = n_systems * n_atoms if entry["index"] == "node" else n_systems
        inputs[entry["name"]] = torch.from_numpy(rng.normal(size=(rows, Irreps.parse(entry["rep"]).dim)))
    return inputs


def batch(frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]], cutoff: float) -> Inputs:
    """Model inputs from (positions, species, cell) per system; a cell of zeros is not periodic."""
    edges, shifts, offset = [], [], 0
    for positions, _, cell in frames:
        pairs, images = brute_force_neighbors(positions, cell, cutoff)
        edges.append(pairs + offset)
        shifts.append(images)
        offset += len(positions)
    counts = [len(positions) for positions, _, _ in frames]
    return {
        "positions": torch.from_numpy(np.concatenate([f[0] for f in frames])),
        "species": torch.from_numpy(np.concatenate([f[1] for f in frames])).to(torch.int64),
        "cell": torch.from_numpy(np.stack([f[2] for f in frames])),
        "system": torch.repeat_interleave(torch.arange(len(frames)), torch.tensor(counts)),
        "edges": torch.from_numpy(np.concatenate(edges, axis=1)),
        "shifts": torch.from_numpy(np.concatenate(shifts)),
    }


def brute_force_neighbors(
    positions: np.ndarray, cell: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """All pairs within the cutoff: edges [2, E] (source, target) sorted by target, lattice images [E, 3]."""
    images = np.zeros((1, 3))
    if cell.any():
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        spread = np.ceil(np.ptp(positions @ np.linalg.inv(cell), axis=0)) + np.ceil(cutoff / heights)
        images = np.array(list(itertools.product(*(range(-int(n), int(n) + 1) for n in spread))), dtype=float)
    # v[target, source, image] = r_target - r_source - S C
    vectors = positions[:, None, None] - positions[None, :, None] - (images @ cell)[None, None]
    inside = np.linalg.norm(vectors, axis=-1) < cutoff
    itself = np.eye(len(positions), dtype=bool)[:, :, None] & (images == 0).all(1)
    target, source, image = np.nonzero(inside & ~itself)
    return np.stack((source, target)).astype(np.int64), images[image]


def random_rotation(seed: int, *, improper: bool = False) -> Tensor:
    """A random element of SO(3) [3, 3] float64; with `improper`, times the inversion."""
    matrix, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    matrix = matrix * np.linalg.det(matrix)
    return torch.from_numpy(-matrix if improper else matrix)


def rotate_inputs(inputs: Mapping[str, Tensor], rotation: Tensor) -> Inputs:
    """Positions and cells under r -> R r."""
    turned = {name: inputs[name] @ rotation.T for name in ("positions", "cell")}
    return {**inputs, **turned}


def translate_inputs(inputs: Mapping[str, Tensor], by: Tensor) -> Inputs:
    """Positions under r -> r + t."""
    return {**inputs, "positions": inputs["positions"] + by}


def permute_inputs(inputs: Mapping[str, Tensor], order: Tensor) -> Inputs:
    """The same systems with their atoms in another order: new atom i is the old atom `order[i]`.

    `order` keeps atoms of one system together. Edges are sorted by target again.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    edges = place[inputs["edges"]]
    rank = torch.argsort(edges[1], stable=True)
    nodes = {name: inputs[name][order] for name in ("positions", "species", "system")}
    return {**inputs, **nodes, "edges": edges[:, rank], "shifts": inputs["shifts"][rank]}
