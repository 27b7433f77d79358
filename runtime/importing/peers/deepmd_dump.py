"""A model of deepmd-kit (descriptor se_e2_a) as arrays, with its answers on a few structures.

    PYTHON deepmd_dump.py MODEL OUT.npz [--frames FILE] [--seed N]

MODEL is a file of any backend that this Python has: .dp, .yaml, .pth, .pt, .pb, ... Run by a Python that has
deepmd-kit and torch, in which the model is evaluated; it imports nothing of equic, and equic imports nothing of
deepmd-kit: the two only exchange arrays. What `export` writes is what `equic.runtime.importing.deepmd` reads.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from deepmd.backend.backend import Backend
from dumping import array, random_structures, read_structures, write_arrays

Arrays = dict[str, np.ndarray]
Serialised = dict[str, Any]


def read_model(path: Path) -> Serialised:
    """A model of any backend in deepmd-kit's common form."""
    backend = Backend.detect_backend_by_model(str(path))()
    return backend.serialize_hook(str(path))["model"]


def torch_model(model: Serialised) -> torch.nn.Module:
    """The model in torch."""
    from deepmd.pt.model.model import BaseModel

    return BaseModel.deserialize(model)


def answers(model: Serialised, structures: Sequence[Atoms]) -> Arrays:
    """Energies [S] eV, forces [N, 3] eV/Å and stress [S, 3, 3] eV/Å^3 (of periodic structures alone, else 0)."""
    ready = torch_model(model).eval()
    energies, forces, stresses = [], [], []
    for atoms in structures:
        found = evaluate(ready, model["type_map"], atoms)
        energies.append(float(found["energy"].detach()))
        forces.append(array(found["force"])[0])
        virial = array(found["virial"]).reshape(3, 3)
        stresses.append(-(virial + virial.T) / 2 / atoms.get_volume() if all(atoms.pbc) else np.zeros((3, 3)))
    return {"energy": np.array(energies), "forces": np.concatenate(forces), "stress": np.stack(stresses)}


def evaluate(ready: torch.nn.Module, type_map: Sequence[str], atoms: Atoms) -> dict[str, torch.Tensor]:
    """What the model in torch gives for one structure, periodic along all directions or along none."""
    if any(atoms.pbc) and not all(atoms.pbc):
        raise SystemExit("deepmd-kit has no structures that are periodic along some directions only")
    types = torch.tensor([[type_map.index(symbol) for symbol in atoms.get_chemical_symbols()]])
    box = torch.tensor(atoms.cell.array.reshape(1, 9)) if all(atoms.pbc) else None
    return ready(torch.tensor(atoms.positions[None]), types, box=box)


def fits(model: Serialised, atoms: Atoms) -> bool:
    """Has the model places for all neighbours of every atom? It leaves out those that it has none for."""
    descriptor, names = model["descriptor"], model["type_map"]
    first, second = neighbor_list("ij", atoms, float(descriptor["rcut"]))
    kinds = np.array([names.index(symbol) for symbol in atoms.get_chemical_symbols()])
    counts = np.zeros((len(atoms), len(names)), dtype=int)
    np.add.at(counts, (first, kinds[second]), 1)
    return bool((counts <= np.array(descriptor["sel"])).all())


def export(model: Serialised) -> Arrays:
    """A model as arrays: `config` (JSON), and its networks as `state/NETWORK/NUMBER/LAYER/NAME`."""
    settings = config(model)
    arrays: Arrays = {"config": np.array(json.dumps(settings))}
    if settings["descriptor"] != "se_e2_a" or settings["fitting"] != "ener":
        return arrays
    for kind, networks in (
        ("embedding", model["descriptor"]["embeddings"]), ("fitting", model["fitting"]["nets"])
    ):  # fmt: skip
        for number, network in enumerate(networks["networks"]):
            for k, layer in enumerate(network["layers"]):
                for name, value in layer["@variables"].items():
                    if value is not None:
                        arrays[f"state/{kind}/{number}/{k}/{name}"] = np.asarray(value, dtype=np.float64)
    return arrays


def config(model: Serialised) -> dict[str, Any]:
    """What a model is, beside its weights."""
    descriptor, fitting = model.get("descriptor", {}), model.get("fitting", {})
    kind, output = descriptor.get("type", model.get("type")), fitting.get("type", "none")
    if kind != "se_e2_a" or output != "ener":
        return {"descriptor": kind, "fitting": output}
    mean, size = (np.asarray(descriptor["@variables"][name]) for name in ("davg", "dstd"))
    one_place = np.ptp(mean, axis=1).max() == 0 and np.ptp(size, axis=1).max() == 0
    one_direction = not mean[:, :, 1:].any() and np.ptp(size[:, :, 1:], axis=2).max() == 0
    bias = np.asarray(model["@variables"]["out_bias"])[0, :, 0] + fitting["@variables"]["bias_atom_e"][:, 0]
    extras = {
        "compressed networks": "compress" in descriptor,
        "statistics that differ by place": not one_place,
        "statistics that differ by direction": not one_direction,
        "excluded pairs of types": descriptor["exclude_types"] or model["pair_exclude_types"],
        "excluded types": fitting["exclude_types"] or model["atom_exclude_types"],
        "a protected distance": descriptor["env_protection"],
        "spins": descriptor["spin"] or fitting["spin"],
        "parameters of frames": fitting["numb_fparam"],
        "parameters of atoms": fitting["numb_aparam"],
        "embedded cases": fitting["dim_case_embd"],
        "an energy of the vacuum that is taken away": any(
            one is not None for one in np.ravel(fitting.get("atom_ener") or [])
        ),
        "one fitting network for all types": fitting["mixed_types"],
        "layers without bias": not all(
            layer["bias"]
            for networks in (descriptor["embeddings"], fitting["nets"])
            for network in networks["networks"]
            for layer in network["layers"]
        ),
    }
    return {
        "descriptor": kind,
        "fitting": output,
        "species": list(model["type_map"]),
        "cutoff": float(descriptor["rcut"]),
        "start": float(descriptor["rcut_smth"]),
        "sel": [int(one) for one in descriptor["sel"]],
        "embedding": [int(one) for one in descriptor["neuron"]],
        "axis": int(descriptor["axis_neuron"]),
        "one_side": bool(descriptor["type_one_side"]),
        "mean": mean[:, 0, 0].tolist(),
        "size": size[:, 0, 0].tolist(),
        "spread": size[:, 0, 1].tolist(),
        "neurons": [int(one) for one in fitting["neuron"]],
        "timesteps": [bool(descriptor["resnet_dt"]), bool(fitting["resnet_dt"])],
        "activations": [str(descriptor["activation_function"]), str(fitting["activation_function"])],
        "bias": bias.tolist(),
        "extras": [name for name, holds in extras.items() if holds],
    }


def in_double(part: Any) -> Any:
    """The common form with every number and every `precision` as float64."""
    if isinstance(part, dict):
        return {name: "float64" if name == "precision" else in_double(value) for name, value in part.items()}
    if isinstance(part, list):
        return [in_double(one) for one in part]
    is_float = isinstance(part, np.ndarray) and part.dtype.kind == "f"
    return part.astype(np.float64) if is_float else part


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model of deepmd-kit")
    parser.add_argument("out", type=Path, help="the npz to write")
    parser.add_argument("--frames", type=Path, help="structures to answer; random ones if not given")
    parser.add_argument("--seed", type=int, default=0, help="of the random structures")
    options = parser.parse_args()
    stored = read_model(options.model)
    dtype = str(stored.get("descriptor", {}).get("precision", "float64"))
    model, arrays = in_double(stored), export(stored)
    settings = json.loads(str(arrays["config"]))
    known = "species" in settings and all(re.fullmatch("[A-Z][a-z]?", one) for one in settings["species"])
    if not known or not all(one in atomic_numbers for one in settings["species"]) or settings["extras"]:
        # equic says what it cannot express; there is nothing to compare
        write_arrays(options.out, arrays, [], {}, dtype)
        return 0
    structures = read_structures(options.frames)
    if any(not fits(model, atoms) for atoms in structures):
        raise SystemExit(
            f"the model has places for {settings['sel']} neighbours of {settings['species']}, and atoms of "
            f"{options.frames} have more: it leaves some out, which no smooth function does"
        )
    numbers = [atomic_numbers[name] for name in settings["species"]]
    made = random_structures(numbers, settings["cutoff"], options.seed)
    structures = structures or [atoms for atoms in made if fits(model, atoms)]
    if not structures:
        raise SystemExit("all random structures have more neighbours than the model; give --frames")
    write_arrays(options.out, arrays, structures, answers(model, structures), dtype)
    return 0


if __name__ == "__main__":
    sys.exit(main())
