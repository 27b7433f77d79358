"""Writes golden.npz: models of deepmd-kit with random weights, and what they answer.

    python tests/oracles/deepmd/make_golden.py [FILE] [--compare GOLDEN]

Run it with the Python of an environment that has deepmd-kit (`make oracles` makes one). All float64, no pickle.
Energies come twice, from the numpy model and from torch, and must be equal. With --compare, the answers are compared
with those of an earlier file: weights must be equal, numbers to 1e-10.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2] / "runtime/importing/peers"), str(HERE.parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase.data import atomic_numbers  # noqa: E402
from deepmd.dpmodel.descriptor.se_e2_a import DescrptSeA  # noqa: E402
from deepmd.dpmodel.fitting.ener_fitting import EnergyFittingNet  # noqa: E402
from deepmd.dpmodel.model.ener_model import EnergyModel  # noqa: E402
from deepmd_dump import answers, array, evaluate, export, fits, torch_model  # noqa: E402
from dumping import random_structures  # noqa: E402
from golden import write_golden  # noqa: E402

CUTOFF = 4.0
_PLAIN = {"one_side": False, "timesteps": (False, True), "activation": "tanh", "centred": True}
MODELS = {
    "statistics": dict(
        _PLAIN, seed=1, species=["H", "C", "O"], neuron=[4, 8], axis=3, fitting=[6, 6], start=0.5,
    ),
    "one side": dict(
        _PLAIN, seed=2, species=["O", "H"], neuron=[3, 6, 6], axis=4, fitting=[5, 10], start=2.0, one_side=True,
        timesteps=(True, True),
    ),
    "no mean": dict(
        _PLAIN, seed=3, species=["Si", "C"], neuron=[2, 5], axis=2, fitting=[7], start=1.0, centred=False,
        timesteps=(True, False),
    ),
    "one species": dict(
        _PLAIN, seed=4, species=["Cu"], neuron=[2, 4], axis=4, fitting=[4, 4], start=0.4, activation="silu",
        timesteps=(False, False),
    ),
}  # fmt: skip


def build(settings: dict) -> dict:
    """A random model in deepmd-kit's common form, with statistics away from 0 and 1."""
    species, rng = settings["species"], np.random.default_rng(settings["seed"])
    timed = settings["timesteps"]
    descriptor = DescrptSeA(
        rcut=CUTOFF, rcut_smth=settings["start"], sel=[60 + 10 * i for i in range(len(species))],
        neuron=settings["neuron"], axis_neuron=settings["axis"], resnet_dt=timed[0],
        type_one_side=settings["one_side"], activation_function=settings["activation"],
        precision="float64", seed=settings["seed"],
    )  # fmt: skip
    fitting = EnergyFittingNet(
        ntypes=len(species), dim_descrpt=descriptor.get_dim_out(), neuron=settings["fitting"], resnet_dt=timed[1],
        activation_function=settings["activation"], mixed_types=False, precision="float64",
        seed=settings["seed"] + 100,
    )  # fmt: skip
    model = EnergyModel(descriptor, fitting, type_map=species).serialize()
    statistics, count = model["descriptor"]["@variables"], len(species)
    if settings["centred"]:
        statistics["davg"][:, :, 0] = rng.uniform(0.02, 0.1, count)[:, None]
    statistics["dstd"][:, :, 0] = rng.uniform(0.1, 0.2, count)[:, None]
    statistics["dstd"][:, :, 1:] = rng.uniform(0.05, 0.15, count)[:, None, None]
    model["fitting"]["@variables"]["bias_atom_e"] = -np.arange(1.0, count + 1)[:, None]
    model["@variables"]["out_bias"] = rng.normal(size=(1, count, 1))
    return model


def numpy_energies(model: dict, structures) -> np.ndarray:
    """The energies by the model that deepmd-kit has in numpy alone."""
    ready, found = EnergyModel.deserialize(model), []
    for atoms in structures:
        types = np.array([[model["type_map"].index(one) for one in atoms.get_chemical_symbols()]])
        box = atoms.cell.array.reshape(1, 9) if all(atoms.pbc) else None
        found.append(ready(atoms.positions.reshape(1, -1), types, box=box)["energy"][0, 0])
    return np.array(found)


def gradients(model: dict, structures, by_energy, by_forces) -> dict[str, np.ndarray]:
    """d/dw of sum a_s E_s + sum b_i . F_i, for every weight, under the names of `export`."""
    ready, loss, at = torch_model(model).train(), 0.0, 0
    for atoms, weight in zip(structures, by_energy, strict=True):
        found = evaluate(ready, model["type_map"], atoms)
        forces = found["force"][0]
        loss = loss + weight * found["energy"].sum()
        loss = loss + (forces * torch.tensor(by_forces[at : at + len(atoms)])).sum()
        at += len(atoms)
    loss.backward()
    leaves = {"matrix": "w", "bias": "b", "idt": "idt"}
    result = {}
    for name, value in ready.named_parameters():
        if ".networks." in name or ".filter_layers." in name:
            kind = "embedding" if "descriptor" in name else "fitting"
            number, k, leaf = name.split(".networks.")[1].replace("layers.", "").split(".")
            slope = torch.zeros_like(value) if value.grad is None else value.grad
            result[f"{kind}/{number}/{k}/{leaves[leaf]}"] = array(slope)
    return result


def make() -> dict[str, np.ndarray]:
    """Everything that the file holds, by key."""
    arrays: dict[str, np.ndarray] = {}
    for name, settings in MODELS.items():
        model = build(settings)
        structures = random_structures([atomic_numbers[one] for one in settings["species"]], CUTOFF, 0)
        assert all(fits(model, atoms) for atoms in structures), name
        found = {
            **export(model),
            **{f"answers/{key}": one for key, one in answers(model, structures).items()},
        }
        again = numpy_energies(model, structures)
        assert np.abs(again - found["answers/energy"]).max() < 1e-11 * np.abs(again).max(), name
        rng = np.random.default_rng(settings["seed"])
        found["loss/energy"] = rng.normal(size=len(structures))
        found["loss/forces"] = rng.normal(size=(sum(map(len, structures)), 3))
        slopes = gradients(model, structures, found["loss/energy"], found["loss/forces"])
        found |= {f"gradients/{key}": value for key, value in slopes.items()}
        for i, atoms in enumerate(structures):
            found[f"structures/{i}/numbers"] = atoms.numbers
            found[f"structures/{i}/positions"] = atoms.positions
            found[f"structures/{i}/cell"] = atoms.cell.array
            found[f"structures/{i}/pbc"] = atoms.pbc
        arrays |= {f"models/{name}/{key}": value for key, value in found.items()}
    return arrays


if __name__ == "__main__":
    sys.exit(write_golden(make, HERE, __doc__.splitlines()[0]))
