"""A model of mace-torch as arrays, with its answers on a few structures.

    PYTHON mace_dump.py MODEL OUT.npz [--frames FILE] [--seed N]

Run by a Python that has mace-torch; it imports nothing of equic, and equic imports nothing of mace: the two only
exchange arrays. What `export` writes is what `equic.runtime.importing.mace` reads. MODEL is unpickled here, by the
program that wrote it, and nowhere else.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mace  # noqa: F401  # isort: skip  # before e3nn: it lets e3nn 0.4.4 read its constants

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from dumping import array, couplings, random_structures, read_structures, write_arrays
from mace import data
from mace.tools import AtomicNumberTable, torch_geometric

Arrays = dict[str, np.ndarray]


def batch(model: torch.nn.Module, structures: Sequence[Atoms]) -> dict[str, Any]:
    """Structures through the peer's own neighbour search, as its models take them."""
    table = AtomicNumberTable([int(z) for z in model.atomic_numbers])
    cutoff = float(model.r_max)
    items = [
        data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=cutoff)
        for atoms in structures
    ]
    loader = torch_geometric.dataloader.DataLoader(items, batch_size=len(items), shuffle=False)
    return next(iter(loader)).to_dict()


def answers(model: torch.nn.Module, structures: Sequence[Atoms]) -> Arrays:
    """Energies [S] eV, forces [N, 3] eV/Å and stress [S, 3, 3] eV/Å^3 (of periodic structures alone, else 0)."""
    found = model(batch(model, structures), compute_force=True, compute_stress=True)
    periodic = np.array([all(atoms.pbc) for atoms in structures])
    return {
        "energy": array(found["energy"]),
        "forces": array(found["forces"]),
        "stress": np.where(periodic[:, None, None], array(found["stress"]), 0.0),
    }


def export(model: torch.nn.Module) -> Arrays:
    """A model as arrays: `config` (JSON), `state/NAME`, `coupling/l1_l2_l3`, `symmetric/L_DEGREE/...`.

    Couplings are measured on the peer's own product, and the bases of its symmetric powers are its buffers, as
    the numbers that are not zero: place in the flat tensor, and value.
    """
    arrays: Arrays = {"config": np.array(json.dumps(config(model)))}
    for name, value in model.named_parameters():
        arrays[f"state/{name}"] = array(value)
    for interaction in model.interactions:
        for name, value in couplings(interaction.conv_tp).items():
            arrays[f"coupling/{name}"] = value
    for product in model.products:
        contractions = product.symmetric_contractions
        for (_, irrep), part in zip(contractions.irreps_out, contractions.contractions, strict=True):
            for degree in range(1, part.correlation + 1):
                basis = array(part.U_tensors(degree))
                basis = basis if irrep.l else basis[None]
                key = f"symmetric/{irrep.l}_{degree}"
                (place,) = np.nonzero(basis.ravel())
                made = {
                    f"{key}/shape": np.array(basis.shape, dtype=np.int64),
                    f"{key}/index": place.astype(np.int32),
                    f"{key}/value": basis.ravel()[place],
                }
                assert all(np.array_equal(arrays.get(name, value), value) for name, value in made.items())
                arrays |= made
    return arrays


def config(model: torch.nn.Module) -> dict[str, Any]:
    """What a model is, beside its weights."""
    first, last = model.interactions[0], model.readouts[-1]
    factors = {float(layer.act.cst) for layer in first.conv_tp_weights if layer.act is not None}
    widths = []
    if hasattr(last, "linear_1"):
        (activation,) = last.non_linearity.acts
        factors.add(float(activation.cst))
        widths = [last.hidden_irreps.dim]
    embedding = model.radial_embedding
    return {
        "class": type(model).__name__,
        "species": [chemical_symbols[int(z)] for z in model.atomic_numbers],
        "cutoff": float(model.r_max),
        "bessel": int(embedding.out_dim),
        "envelope": int(embedding.cutoff_fn.p),
        "harmonics": str(model.spherical_harmonics.irreps_out),
        "features": [str(product.linear.irreps_out) for product in model.products],
        "messages": [str(interaction.irreps_out) for interaction in model.interactions],
        "paths": [_paths(interaction.conv_tp) for interaction in model.interactions],
        "correlation": [
            int(product.symmetric_contractions.contractions[0].correlation) for product in model.products
        ],
        "radial": [int(width) for width in first.radial_MLP],
        "readout": widths,
        "readouts": [type(readout).__name__ for readout in model.readouts],
        "interactions": [type(interaction).__name__ for interaction in model.interactions],
        "activation": first.conv_tp_weights.layer0.act.f.__name__,
        "activation_factor": sorted(factors),
        "neighbors": [float(interaction.avg_num_neighbors) for interaction in model.interactions],
        "atomic_energies": array(model.atomic_energies_fn.atomic_energies).ravel().tolist(),
        "scale": float(model.scale_shift.scale),
        "shift": float(model.scale_shift.shift),
        "heads": list(model.heads),
        "radial_basis": type(embedding.bessel_fn).__name__,
        "extras": [
            name
            for name in ("pair_repulsion_fn", "joint_embedding")
            if hasattr(model, name)
        ]
        + (["distance_transform"] if hasattr(embedding, "distance_transform") else [])
        + ([] if getattr(embedding, "apply_cutoff", True) else ["cutoff on the weights"])
        + (["agnostic product"] if any(product.use_agnostic_product for product in model.products) else []),
    }  # fmt: skip


def _paths(product: torch.nn.Module) -> list[list[int]]:
    left, right, out = product.irreps_in1, product.irreps_in2, product.irreps_out
    return [[left[p.i_in1].ir.l, right[p.i_in2].ir.l, out[p.i_out].ir.l] for p in product.instructions]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model as mace-torch saves it")
    parser.add_argument("out", type=Path, help="the npz to write")
    parser.add_argument("--frames", type=Path, help="structures to answer; random ones if not given")
    parser.add_argument("--seed", type=int, default=0, help="of the random structures")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    stored = torch.load(options.model, map_location="cpu", weights_only=False)
    dtype = str(next(stored.parameters()).dtype).removeprefix("torch.")
    model = stored.double().eval()
    numbers = [int(z) for z in model.atomic_numbers]
    cutoff = float(model.r_max)
    structures = read_structures(options.frames) or random_structures(numbers, cutoff, options.seed)
    write_arrays(options.out, export(model), structures, answers(model, structures), dtype)
    return 0


if __name__ == "__main__":
    sys.exit(main())
