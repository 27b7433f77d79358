"""A NequIP or Allegro model as arrays, with its answers on a few structures.

    PYTHON nequip_dump.py MODEL OUT.npz [--frames FILE] [--seed N]

MODEL is a checkpoint (.ckpt) or a package (.nequip.zip). Run by a Python that has nequip; it imports nothing of
equic, and equic imports nothing of nequip: the two only exchange arrays. What `export` writes is what
`equic.runtime.importing.nequip` reads.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import allegro_dump
import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from dumping import array, couplings, random_structures, read_structures, write_arrays
from nequip.data import AtomicDataDict, compute_neighborlist_, from_ase
from nequip.utils.global_state import set_global_state

Arrays = dict[str, np.ndarray]


def batch(model: torch.nn.Module, structures: Sequence[Atoms]) -> dict[str, torch.Tensor]:
    """Structures through the peer's own neighbour search, as its models take them."""
    names = type_names(model)
    frames = []
    for atoms in structures:
        data = from_ase(atoms)
        types = [names.index(symbol) for symbol in atoms.get_chemical_symbols()]
        data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor(types)
        frames.append(compute_neighborlist_(data, r_max=cutoff(model)))
    return AtomicDataDict.batched_from_list(frames)


def answers(model: torch.nn.Module, structures: Sequence[Atoms]) -> Arrays:
    """Energies [S] eV, forces [N, 3] eV/Å and stress [S, 3, 3] eV/Å^3 (of periodic structures alone, else 0)."""
    energies, forces, stresses = [], [], []
    for atoms in structures:
        found = model(batch(model, [atoms]))
        energies.append(array(found["total_energy"]).ravel()[0])
        forces.append(array(found["forces"]))
        periodic = bool(all(atoms.pbc))
        stresses.append(array(found["stress"]).reshape(3, 3) if periodic else np.zeros((3, 3)))
    return {"energy": np.array(energies), "forces": np.concatenate(forces), "stress": np.stack(stresses)}


def export(model: torch.nn.Module) -> Arrays:
    """A model as arrays: `config` (JSON), `state/NAME`, `coupling/l1_l2_l3`, and its radial functions on a grid.

    Couplings are measured on the peer's own products.
    """
    parts = modules(model)
    if hasattr(parts, "allegro"):
        return allegro_dump.export(parts, type_names(model))
    arrays: Arrays = {"config": np.array(json.dumps(config(model)))}
    for name, value in parts.named_parameters():
        arrays[f"state/{name}"] = array(value)
    for t in range(layers(parts)):
        for name, value in couplings(convolution(parts, t).tp_scatter.tp).items():
            arrays[f"coupling/{name}"] = value
    lengths = torch.linspace(0.1, 0.99, 40) * cutoff(model)
    arrays["radial/lengths"] = array(lengths)
    arrays["radial/values"] = array(radial(parts, lengths))
    return arrays


def config(model: torch.nn.Module) -> dict[str, Any]:
    """What a model is, beside its weights."""
    parts = modules(model)
    count = layers(parts)
    scale_shift = parts.per_type_energy_scale_shift
    names = type_names(model)
    found: dict[str, Any] = {
        "species": names,
        "cutoff": cutoff(model),
        "bessel": int(parts.bessel_encode.num_bessels),
        "trainable": bool(parts.bessel_encode.trainable),
        "envelope": float(parts.bessel_encode.cutoff.p),
        "harmonics": str(parts.spharm.irreps_edge_sh),
        "embedding": int(parts.type_embed.embed_module.weight.shape[1]),
        "scales": _by_type(scale_shift.scales if scale_shift.has_scales else None, len(names), 1.0),
        "shifts": _by_type(scale_shift.shifts if scale_shift.has_shifts else None, len(names), 0.0),
        "readout": [int(width) for width in parts.per_atom_energy_readout.mlp_module.dims[1:-1]],
        "layers": [],
        "extras": [],
    }
    for t in range(count):
        layer, conv = getattr(parts, f"layer{t}_convnet"), convolution(parts, t)
        gate, product = layer.equivariant_nonlin, conv.tp_scatter.tp
        found["layers"].append(
            {
                "inputs": str(conv.irreps_in["node_features"]),
                "paths": [
                    [str(product.irreps_in1[p.i_in1].ir), str(product.irreps_in2[p.i_in2].ir),
                     str(product.irreps_out[p.i_out].ir), p.i_out]
                    for p in product.instructions
                ],
                "features": str(conv.irreps_out["node_features"]),
                "scalars": str(gate.act_scalars.irreps_in) if gate.irreps_in.dim else "",
                "gated": str(gate.irreps_gated),
                "outputs": str(layer.irreps_out["node_features"]),
                "factors": [float(act.cst) for act in gate.act_scalars.acts if act is not None]
                + [float(act.cst) for act in gate.act_gates.acts if act is not None],
                "skip": conv.sc is not None,
                "radial": [int(width) for width in conv.edge_mlp.dims[1:-1]],
                "alphas": [float(one.alpha) for one in conv.edge_mlp.mlp if hasattr(one, "alpha")],
                "neighbors": [float(one) ** -2 for one in array(conv.avg_num_neighbors_norm.norm_const).ravel()],
                "resnet": bool(layer.resnet),
                "nonlinearity": type(gate).__name__,
            }
        )  # fmt: skip
    known = {"type_embed", "spharm", "edge_norm", "bessel_encode", "factor", "per_atom_energy_readout",
             "per_type_energy_scale_shift", "total_energy_sum"}  # fmt: skip
    found["extras"] += [
        name for name, _ in parts.named_children() if name not in known and not name.endswith("_convnet")
    ]
    found["extras"] += ["cutoffs by pair of types"] if parts.edge_norm._per_edge_type else []
    found["readout_alphas"] = [
        float(one.alpha) for one in parts.per_atom_energy_readout.mlp_module.mlp if hasattr(one, "alpha")
    ]
    return found


def _by_type(values: Any, count: int, default: float) -> list[float]:
    if values is None:
        return [default] * count
    flat = array(values).ravel().tolist()
    return flat * count if len(flat) == 1 else flat


def radial(parts: torch.nn.Module, lengths: torch.Tensor) -> torch.Tensor:
    """The peer's radial functions at lengths [n] -> [n, count], as its networks read them."""
    encode = parts.bessel_encode
    x = (lengths / float(parts.edge_norm.r_max))[:, None]
    values = torch.sinc(x * encode.bessel_weights) * encode.bessel_weights * encode.cutoff(x)
    return values * float(parts.factor.factor)


def modules(model: torch.nn.Module) -> torch.nn.Module:
    """The energy's modules, in order."""
    return model.model.func


def layers(parts: torch.nn.Module) -> int:
    """How many convolutions there are."""
    return sum(name.endswith("_convnet") for name, _ in parts.named_children())


def convolution(parts: torch.nn.Module, layer: int) -> torch.nn.Module:
    """The convolution of one layer."""
    return getattr(parts, f"layer{layer}_convnet").conv


def type_names(model: torch.nn.Module) -> list[str]:
    """The model's types, which are chemical symbols."""
    return list(model.type_names)


def cutoff(model: torch.nn.Module) -> float:
    """Å."""
    return float(modules(model).edge_norm.r_max)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a checkpoint or package of nequip")
    parser.add_argument("out", type=Path, help="the npz to write")
    parser.add_argument("--frames", type=Path, help="structures to answer; random ones if not given")
    parser.add_argument("--seed", type=int, default=0, help="of the random structures")
    options = parser.parse_args()
    set_global_state()
    from nequip.model.saved_models import load_saved_model

    stored = load_saved_model(options.model)
    dtype = str(next(stored.parameters()).dtype).removeprefix("torch.")
    torch.set_default_dtype(torch.float64)
    model = in_double(stored)
    numbers = [atomic_numbers[name] for name in type_names(model)]
    structures = read_structures(options.frames) or random_structures(numbers, cutoff(model), options.seed)
    write_arrays(options.out, export(model), structures, answers(model, structures), dtype)
    return 0


def in_double(model: torch.nn.Module) -> torch.nn.Module:
    """The model with weights and features in float64."""
    for part in model.modules():
        if getattr(part, "_output_dtype", None) is torch.float32:
            part._output_dtype = torch.float64
        if getattr(part, "model_dtype", None) is torch.float32:
            part.model_dtype = torch.float64
    return model.double().eval()


if __name__ == "__main__":
    sys.exit(main())
