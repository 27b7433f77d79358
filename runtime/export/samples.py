"""Systems of chosen sizes: to trace a model with, and to compare a compiled file against the model."""

from __future__ import annotations

from typing import Any

import torch
from equic.runtime.irreps import Irreps
from equic.runtime.neighbors.line_graph import derived_of, with_derived
from equic.runtime.plan import Plan
from torch import Tensor

# Atoms per unit of cutoff in one direction: about 14 neighbours within the cutoff.
_PER_CUTOFF = 1.5
_OPEN = 4.0  # the distance within which pairs are taken where a plan has no cutoff: any edges will do


def trace_inputs(plan: Plan, taken: set[int]) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Inputs to trace with, and their sizes by word.

    Every size is a prime above 32, and none equals another or any number in `taken` (the sizes of the model's
    own tensors): equal sizes would be traced as one symbol, and small sizes leave a guard behind: those of 16
    or less, and those of a map from one number (where the two factors hold no more than 32 numbers in all).
    """
    primes = (n for n in range(37, 1000) if all(n % d for d in range(2, 32) if d < n) and n not in taken)
    if plan.kind == "phase_space":
        sizes = {"batch": next(primes)}
        return {"state": torch.zeros(sizes["batch"], int(plan.system["dim"]), dtype=torch.float64)}, sizes
    sizes = {"systems": next(primes), "atoms": next(primes), "edges": next(primes)}
    derived = derived_of(plan)
    if "angles" in derived:
        sizes["angles"] = next(primes)
    systems, atoms, edges = sizes["systems"], sizes["atoms"], sizes["edges"]
    source, target = torch.arange(edges) % atoms, (torch.arange(edges) + 1) % atoms
    positions = torch.arange(3 * atoms, dtype=torch.float64).reshape(atoms, 3).cos()
    return {
        "positions": positions,
        "species": torch.arange(atoms) % len(plan.system["species"]),
        "cell": torch.eye(3, dtype=torch.float64).repeat(systems, 1, 1),
        "system": (torch.arange(atoms) * systems) // atoms,
        "edges": torch.stack([source, target]),
        "shifts": torch.zeros(edges, 3, dtype=torch.float64),
        **_known(plan, atoms, systems, torch.Generator().manual_seed(0)),
        **_derived(derived, edges, sizes.get("angles", 0)),
    }, sizes


def _derived(names: tuple[str, ...], edges: int, angles: int) -> dict[str, Tensor]:
    """Some pairs of edges and some ways back, of the right sizes."""
    rows = torch.arange(angles)
    found = {
        "angles": torch.stack((rows % edges, (rows + 1) % edges)),
        "reverse": torch.arange(edges).flip(0),
    }
    return {name: found[name] for name in names}


def _known(plan: Plan, atoms: int, systems: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Normal random numbers for the inputs that the plan declares."""
    found = {}
    for entry in plan.system["inputs"]:
        rows = atoms if entry["index"] == "node" else systems
        dim = Irreps.parse(entry["rep"]).dim
        found[entry["name"]] = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
    return found


def sample_inputs(plan: Plan, atoms: list[int], *, edges: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """A batch of periodic systems with these numbers of atoms: jittered lattices, random species.

    Neighbours within the cutoff are those of a lattice with about 14 of them, images of an atom itself
    included; with `edges=False` the list is empty, as for isolated atoms. No two atoms come closer than 0.6
    lattice spacings, so that no energy is dominated by one pair.
    """
    from equic.runtime.neighbors import neighbor_list

    generator = torch.Generator().manual_seed(seed)
    cutoff = _OPEN if plan.system["cutoff"] is None else float(plan.system["cutoff"])
    spacing = cutoff / _PER_CUTOFF
    parts: dict[str, list[Any]] = {name: [] for name in ("positions", "cell", "edges", "shifts", "system")}
    offset = 0
    for index, count in enumerate(atoms):
        side = round(count ** (1 / 3))
        side += side**3 < count
        grid = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float64)] * 3).reshape(-1, 3)
        jitter = 0.4 * (torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5) / 3**0.5
        positions = (grid[torch.randperm(len(grid), generator=generator)[:count]] + jitter) * spacing
        shear = 0.05 * torch.randn(3, 3, generator=generator, dtype=torch.float64).tril(-1)
        cell = (torch.eye(3, dtype=torch.float64) + shear) * spacing * side
        if edges:
            pairs, shifts = neighbor_list(positions.numpy(), cell.numpy(), [True] * 3, cutoff)
            parts["edges"].append(torch.as_tensor(pairs) + offset)
            parts["shifts"].append(torch.as_tensor(shifts))
        parts["positions"].append(positions)
        parts["cell"].append(cell)
        parts["system"].append(torch.full((count,), index))
        offset += count
    empty = {"edges": torch.zeros(2, 0, dtype=torch.int64), "shifts": torch.zeros(0, 3, dtype=torch.float64)}
    found = {
        "positions": torch.cat(parts["positions"]),
        "species": torch.randint(len(plan.system["species"]), (offset,), generator=generator),
        "cell": torch.stack(parts["cell"]),
        "system": torch.cat(parts["system"]),
        "edges": torch.cat([empty["edges"], *parts["edges"]], dim=1),
        "shifts": torch.cat([empty["shifts"], *parts["shifts"]]),
        **_known(plan, offset, len(atoms), generator),
    }
    return with_derived(found, derived_of(plan))


def sample_states(plan: Plan, count: int, *, seed: int = 0) -> dict[str, Tensor]:
    """`count` random points of phase space, standard normal."""
    generator = torch.Generator().manual_seed(seed)
    dim = int(plan.system["dim"])
    return {"state": torch.randn(count, dim, generator=generator, dtype=torch.float64)}


def check_batches(plan: Plan) -> list[dict[str, Tensor]]:
    """The batches that every exported file is compared on: small, large, several systems, no edges."""
    if plan.kind == "phase_space":
        return [sample_states(plan, count, seed=count) for count in (1, 2, 17, 1000)]
    return [
        sample_inputs(plan, [1], edges=False, seed=1),
        sample_inputs(plan, [1], seed=2),
        sample_inputs(plan, [2], seed=3),
        sample_inputs(plan, [17], edges=False, seed=4),
        sample_inputs(plan, [17], seed=5),
        sample_inputs(plan, [1, 9, 2, 31], seed=6),
        sample_inputs(plan, [1000], seed=7),
    ]
