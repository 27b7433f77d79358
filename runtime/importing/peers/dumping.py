"""What the dump scripts share: structures to answer, and the file that they write. Runs in the peers' Pythons."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms

MOST_STRUCTURES = 20
Arrays = dict[str, np.ndarray]


def read_structures(file: Path | None) -> list[Atoms]:
    """The first structures of a file; none where there is no file."""
    return ase.io.read(file, index=f":{MOST_STRUCTURES}") if file else []


def random_structures(numbers: Sequence[int], cutoff: float, seed: int) -> list[Atoms]:
    """Two clusters, a crystal wider than the cutoff and one narrower; all at distances of bonds or more.

    The spacing is a third of the cutoff, at least 1.2 Å: points of a cubic lattice, shaken by a tenth of it.
    """
    rng = np.random.default_rng(seed)
    spacing = max(cutoff / 3, 1.2)

    def shaken(count: int, edge: int) -> np.ndarray:
        sites = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3)
        chosen = sites[rng.permutation(len(sites))[:count]]
        return (chosen + rng.uniform(-0.1, 0.1, (count, 3))) * spacing

    def species(count: int) -> np.ndarray:
        return rng.permutation([numbers[i % len(numbers)] for i in range(count)])

    found = [
        Atoms(species(count), positions=shaken(count, 3)) for count in (6, max(9, min(len(numbers), 27)))
    ]
    for count, edge in ((12, 4), (4, 2)):
        skew = np.eye(3) + np.tril(rng.uniform(-0.1, 0.1, (3, 3)), -1)
        found.append(
            Atoms(species(count), positions=shaken(count, edge) @ skew, cell=edge * spacing * skew, pbc=True)
        )
    return found


def couplings(product: torch.nn.Module) -> Arrays:
    """c[m1, m2, m3] of each path, as the product computes it for x and y with one 1 and weights 1."""
    left, right, out = product.irreps_in1, product.irreps_in2, product.irreps_out
    x = torch.eye(left.dim).repeat_interleave(right.dim, 0)
    y = torch.eye(right.dim).repeat(left.dim, 1)
    value = product(x, y, torch.ones(len(x), product.weight_numel)).detach()
    value = value.reshape(left.dim, right.dim, out.dim).numpy()
    found = {}
    for path in product.instructions:
        (_, a), (_, b), (_, c) = left[path.i_in1], right[path.i_in2], out[path.i_out]
        # mul_ir: the components of the first channel come first
        i, j, k = (
            irreps.slices()[n].start
            for irreps, n in ((left, path.i_in1), (right, path.i_in2), (out, path.i_out))
        )
        found[f"{a.l}_{b.l}_{c.l}"] = value[i : i + a.dim, j : j + b.dim, k : k + c.dim].copy()
    return found


def array(value: torch.Tensor) -> np.ndarray:
    """A tensor as numpy."""
    return value.detach().cpu().numpy()


def write_arrays(
    out: Path,
    arrays: Mapping[str, np.ndarray],
    structures: Sequence[Atoms],
    answers: Mapping[str, np.ndarray],
    dtype: str,
) -> None:
    """Write the dump, whole or not at all: `structures/I/{numbers,positions,cell,pbc}`, `answers/TARGET`, `dtype`."""
    everything = {**arrays, "dtype": np.array(dtype)}
    for i, atoms in enumerate(structures):
        everything[f"structures/{i}/numbers"] = atoms.numbers
        everything[f"structures/{i}/positions"] = atoms.positions
        everything[f"structures/{i}/cell"] = atoms.cell.array
        everything[f"structures/{i}/pbc"] = atoms.pbc
    everything |= {f"answers/{name}": value for name, value in answers.items()}
    partial = out.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(partial, **everything)
    os.replace(partial, out)
