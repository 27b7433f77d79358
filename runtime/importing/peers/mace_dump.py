"""A model of mace-torch as arrays, with its answers on a few structures.

    PYTHON mace_dump.py MODEL OUT.npz [--frames FILE] [--head NAME] [--seed N]

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


def heads_of(model: torch.nn.Module) -> list[str]:
    """The names of a model's heads; models older than heads have one."""
    return list(getattr(model, "heads", None) or ["Default"])


def chosen_head(model: torch.nn.Module, head: str | None) -> str:
    """The head that is asked for, or the only one."""
    names = heads_of(model)
    if head is None and len(names) > 1:
        raise SystemExit(f"the model has several heads: choose one of {', '.join(names)} with --head")
    if head is not None and head not in names:
        raise SystemExit(f"the model has no head {head}; its heads are {', '.join(names)}")
    return names[0] if head is None else head


def batch(model: torch.nn.Module, structures: Sequence[Atoms], head: str | None = None) -> dict[str, Any]:
    """Structures through the peer's own neighbour search, as its models take them."""
    table = AtomicNumberTable([int(z) for z in model.atomic_numbers])
    cutoff = float(model.r_max)
    items = [
        data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=cutoff)
        for atoms in structures
    ]
    loader = torch_geometric.dataloader.DataLoader(items, batch_size=len(items), shuffle=False)
    made = next(iter(loader)).to_dict()
    place = heads_of(model).index(chosen_head(model, head))
    made["head"] = torch.full((len(structures),), place, dtype=torch.long)
    return made


def answers(model: torch.nn.Module, structures: Sequence[Atoms], head: str | None = None) -> Arrays:
    """Energies [S] eV, forces [N, 3] eV/Å and stress [S, 3, 3] eV/Å^3 (of periodic structures alone, else 0)."""
    found = model(batch(model, structures, head), compute_force=True, compute_stress=True)
    periodic = np.array([all(atoms.pbc) for atoms in structures])
    return {
        "energy": array(found["energy"]),
        "forces": array(found["forces"]),
        "stress": np.where(periodic[:, None, None], array(found["stress"]), 0.0),
    }


def export(model: torch.nn.Module, head: str | None = None) -> Arrays:
    """A model as arrays: `config` (JSON), `state/NAME`, `coupling/l1_l2_l3`, `symmetric/L_DEGREE/...`.

    Couplings are measured on the peer's own product, and the bases of its symmetric powers are its buffers, as
    the numbers that are not zero: place in the flat tensor, and value.
    """
    arrays: Arrays = {"config": np.array(json.dumps(config(model, head)))}
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


def config(model: torch.nn.Module, head: str | None = None) -> dict[str, Any]:
    """What a model is, beside its weights."""
    first, last = model.interactions[0], model.readouts[-1]
    factors, widths, heads = _factors(first), [], heads_of(model)
    if hasattr(last, "linear_1"):
        (activation,) = last.non_linearity.acts
        factors.add(float(activation.cst))
        widths = [last.hidden_irreps.dim // len(heads)]
    embedding = model.radial_embedding
    transform = getattr(embedding, "distance_transform", None)
    repulsion = getattr(model, "pair_repulsion_fn", None)
    numbers = [int(z) for z in model.atomic_numbers]
    by_pairs = [one for one in (transform, repulsion) if one is not None]
    scaled = hasattr(model, "scale_shift")
    return {
        "class": type(model).__name__,
        "species": [chemical_symbols[z] for z in numbers],
        "cutoff": float(model.r_max),
        "bessel": int(embedding.out_dim),
        "envelope": int(embedding.cutoff_fn.p),
        "radial_basis": type(embedding.bessel_fn).__name__,
        "distance": "none" if transform is None else type(transform).__name__,
        "ends": bool(getattr(embedding, "apply_cutoff", True)),
        "repulsion": repulsion is not None,
        "envelope_of_repulsion": int((repulsion or embedding.cutoff_fn).p),
        "radii": array(by_pairs[0].covalent_radii)[numbers].tolist() if by_pairs else [],
        "constants": {type(one).__name__: _numbers(one) for one in by_pairs},
        "harmonics": str(model.spherical_harmonics.irreps_out),
        "features": [str(product.linear.irreps_out) for product in model.products],
        "messages": [str(interaction.irreps_out) for interaction in model.interactions],
        "paths": [_paths(interaction.conv_tp) for interaction in model.interactions],
        "correlation": [
            int(product.symmetric_contractions.contractions[0].correlation) for product in model.products
        ],
        "radial": [int(width) for width in getattr(first, "radial_MLP", _hidden(first))],
        "readout": widths,
        "readouts": [type(readout).__name__ for readout in model.readouts],
        "interactions": [type(interaction).__name__ for interaction in model.interactions],
        "activation": first.conv_tp_weights.layer0.act.f.__name__,
        "activation_factor": sorted(factors),
        "neighbors": [float(interaction.avg_num_neighbors) for interaction in model.interactions],
        "heads": heads,
        "head": chosen_head(model, head),
        "atomic_energies": np.atleast_2d(array(model.atomic_energies_fn.atomic_energies)).tolist(),
        "scales": np.atleast_1d(array(model.scale_shift.scale)).tolist() if scaled else [1.0] * len(heads),
        "shifts": np.atleast_1d(array(model.scale_shift.shift)).tolist() if scaled else [0.0] * len(heads),
        "extras": _extras(model),
    }


def refuse(model: torch.nn.Module) -> None:
    """Stop with its name at what this script cannot even write down; settings that it can are judged by equic."""
    name = type(model).__name__
    if name not in ("MACE", "ScaleShiftMACE"):
        raise SystemExit(f"models of class {name} cannot be expressed; MACE and ScaleShiftMACE can")
    layers = {type(one).__name__ for one in model.interactions if not hasattr(one.conv_tp_weights, "layer0")}
    if layers:
        raise SystemExit(f"layers of class {' and '.join(sorted(layers))} cannot be expressed")
    if any(getattr(getattr(one, "cueq_config", None), "enabled", False) for one in model.products):
        raise SystemExit("the weights are in the layout of cuequivariance: convert the model to e3nn first")
    if any(type(module).__name__.startswith("LoRA") for module in model.modules()):
        raise SystemExit("the model has low-rank adapters: merge them into its weights first")


def _extras(model: torch.nn.Module) -> list[str]:
    """Parts that are beside those of the settings, by name."""
    products = list(model.products)
    narrow = [
        interaction
        for interaction in model.interactions
        if str(interaction.linear_up.irreps_out) != str(interaction.linear_up.irreps_in)
    ]
    found = {
        "a joint embedding of charges and the like": hasattr(model, "joint_embedding"),
        "products that are the same for all elements": any(
            getattr(product, "use_agnostic_product", False) for product in products
        ),
        "messages of fewer channels (edge_irreps)": bool(narrow),
        "trainable radial functions": any(True for _ in model.radial_embedding.parameters()),
        "trainable repulsion": hasattr(model, "pair_repulsion_fn")
        and any(True for _ in model.pair_repulsion_fn.parameters()),
    }
    return [name for name, there in found.items() if there]


def _factors(first: torch.nn.Module) -> set[float]:
    """What the activations of the radial network are multiplied by."""
    return {float(layer.act.cst) for layer in first.conv_tp_weights if layer.act is not None}


def _hidden(first: torch.nn.Module) -> list[int]:
    """The hidden widths of the radial network, in models that do not keep them."""
    return [layer.h_out for layer in first.conv_tp_weights][:-1]


def _numbers(part: torch.nn.Module) -> dict[str, Any]:
    """The numbers of a formula that a part keeps as buffers."""
    return {
        name: array(value).tolist()
        for name, value in part.named_buffers()
        if name not in ("covalent_radii", "p") or (name == "p" and value.is_floating_point())
    }


def _paths(product: torch.nn.Module) -> list[list[int]]:
    left, right, out = product.irreps_in1, product.irreps_in2, product.irreps_out
    return [[left[p.i_in1].ir.l, right[p.i_in2].ir.l, out[p.i_out].ir.l] for p in product.instructions]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model as mace-torch saves it")
    parser.add_argument("out", type=Path, help="the npz to write")
    parser.add_argument("--frames", type=Path, help="structures to answer; random ones if not given")
    parser.add_argument("--head", help="which of several heads to write")
    parser.add_argument("--seed", type=int, default=0, help="of the random structures")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    stored = torch.load(options.model, map_location="cpu", weights_only=False)
    dtype = str(next(stored.parameters()).dtype).removeprefix("torch.")
    refuse(stored)
    model = stored.double().eval()
    numbers = [int(z) for z in model.atomic_numbers]
    cutoff = float(model.r_max)
    structures = read_structures(options.frames) or random_structures(numbers, cutoff, options.seed)
    head = chosen_head(model, options.head)
    write_arrays(options.out, export(model, head), structures, answers(model, structures, head), dtype)
    return 0


if __name__ == "__main__":
    sys.exit(main())
