"""Writes golden.npz: PET models of metatrain with random weights, and what they answer.

    python tests/oracles/pet/make_golden.py [FILE] [--compare GOLDEN]

Run it with the Python of an environment that has metatrain (`make oracles` makes one). All float64, no pickle. The
models answer as they do once trained: with the energies of free atoms (`composition`) and the scale of the labels
(`scaler`). With --compare, the answers are compared with those of an earlier file: weights must be equal, numbers to
1e-10.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2] / "runtime/importing/peers"), str(HERE.parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.data import atomic_numbers  # noqa: E402
from dumping import array, random_structures  # noqa: E402
from golden import write_golden  # noqa: E402
from metatomic.torch import systems_to_torch  # noqa: E402
from metatrain.pet import PET  # noqa: E402
from metatrain.utils.architectures import get_default_hypers  # noqa: E402
from metatrain.utils.data import DatasetInfo  # noqa: E402
from metatrain.utils.data.target_info import get_energy_target_info  # noqa: E402
from metatrain.utils.evaluate_model import evaluate_model  # noqa: E402
from metatrain.utils.neighbor_lists import get_system_with_neighbor_lists  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402

_COMMON = {"cutoff": 4.0}
MODELS = {
    "of 2026": dict(
        _COMMON, seed=1, species=["H", "C", "O"], d_pet=6, d_node=8, d_head=5, d_feedforward=7, num_heads=2,
    ),
    "of 2023": dict(
        _COMMON, seed=2, species=["C", "Si"], d_pet=6, d_node=6, d_head=4, d_feedforward=5, num_heads=3,
        num_attention_layers=1, normalization="LayerNorm", activation="SiLU", transformer_type="PostLN",
        featurizer_type="residual", cutoff_function="Cosine", cutoff_width=1.0,
    ),
    "narrow and warm": dict(
        _COMMON, seed=3, species=["H", "O"], d_pet=4, d_node=4, d_head=6, d_feedforward=3, num_heads=1,
        num_gnn_layers=1, normalization="LayerNorm", activation="SiLU", attention_temperature=1.7, cutoff_width=1.3,
    ),
    "mixed": dict(
        _COMMON, seed=4, species=["Cu"], d_pet=4, d_node=7, d_head=3, d_feedforward=6, num_heads=4,
        num_attention_layers=1, transformer_type="PostLN", featurizer_type="residual", attention_temperature=0.8,
        cutoff_width=2.0,
    ),
}  # fmt: skip


def targets() -> dict:
    """The energy, with its gradients by positions and strain."""
    return {"energy": get_energy_target_info("energy", {"unit": "eV"}, True, True)}


def build(settings: dict) -> PET:
    """A random model, with statistics and norms away from 0 and 1."""
    chosen = {name: value for name, value in settings.items() if name not in ("seed", "species")}
    hypers = get_default_hypers("pet")["model"] | chosen
    numbers = sorted(atomic_numbers[one] for one in settings["species"])
    torch.manual_seed(settings["seed"])
    model = PET(hypers, DatasetInfo("angstrom", numbers, targets())).to(torch.float64).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name:
                value.add_(0.3 * torch.randn(value.shape, dtype=value.dtype))
            elif value.ndim == 2 and "embedder" not in name:
                value.mul_(3**0.5)  # to unit variance: attention is far from even
    composition, scaler = model.additive_models[0].model, model.scaler.model
    composition.weights["energy"].block().values[:] = -torch.arange(1.0, len(numbers) + 1)[:, None] * 1.7
    for scales in (scaler.scales, scaler.per_target_scales):
        scales["energy"].block().values[:] = 0.6 + 0.2 * settings["seed"]
    return model


def evaluate(model: PET, structures: list[Atoms], training: bool):
    """Energies [S, 1], and their gradients by positions [N, 3, 1] and strains [S, 3, 3, 1]."""
    lists = model.requested_neighbor_lists()
    systems = [
        get_system_with_neighbor_lists(one, lists)
        for one in systems_to_torch(structures, dtype=torch.float64)
    ]
    # the other forms of attention have no second derivatives
    with sdpa_kernel(SDPBackend.MATH):
        block = evaluate_model(model, systems, targets(), is_training=training)["energy"].block()
    return block.values, block.gradient("positions").values, block.gradient("strain").values


def answers(model: PET, structures: list[Atoms]) -> dict[str, np.ndarray]:
    """Energies [S] eV, forces [N, 3] eV/Å and stress [S, 3, 3] eV/Å^3 (of periodic structures alone, else 0).

    PET does not keep rotations: its gradient by the strain is not symmetric, and the stress is its symmetric part.
    """
    energies, slopes, strains = (array(one) for one in evaluate(model, structures, training=False))
    stresses = [
        (one + one.T) / 2 / atoms.get_volume() if all(atoms.pbc) else np.zeros((3, 3))
        for one, atoms in zip(strains[..., 0], structures, strict=True)
    ]
    return {"energy": energies[:, 0], "forces": -slopes[..., 0], "stress": np.stack(stresses)}


def export(model: PET, species: list[str]) -> dict[str, np.ndarray]:
    """`config` (JSON), and the parameters as `state/NAME`."""
    norm = next(one for name, one in model.named_modules() if name.endswith("norm_attention"))
    # RMSNorm adds the precision of its numbers where nothing is said
    eps = torch.finfo(torch.float64).eps if norm.eps is None else norm.eps
    config = {
        "hypers": dict(model.hypers),
        "species": sorted(species, key=atomic_numbers.__getitem__),
        "energies": model.additive_models[0].model.weights["energy"].block().values[:, 0].tolist(),
        "scale": float(model.scaler.model.per_target_scales["energy"].block().values),
        "eps": float(eps),
    }
    state = {f"state/{name}": array(value) for name, value in model.named_parameters()}
    return {"config": np.array(json.dumps(config)), **state}


def gradients(model: PET, structures, by_energy, by_forces) -> np.ndarray:
    """d/dw of sum a_s E_s + sum b_i . F_i: every weight's numbers, one after another as `export` has them."""
    energies, slopes, _ = evaluate(model, structures, training=True)
    loss = (energies[:, 0] * torch.tensor(by_energy)).sum() - (slopes[..., 0] * torch.tensor(by_forces)).sum()
    return array(torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()))]))


def make() -> dict[str, np.ndarray]:
    """Everything that the file holds, by key."""
    arrays: dict[str, np.ndarray] = {}
    for name, settings in MODELS.items():
        model = build(settings)
        structures = random_structures(
            [atomic_numbers[one] for one in settings["species"]], settings["cutoff"], 0
        )
        # an atom that has no neighbours is a token of its own
        structures[0] += Atoms(settings["species"][0], positions=[[50.0, 0, 0]])
        found = {
            **export(model, settings["species"]),
            **{f"answers/{key}": one for key, one in answers(model, structures).items()},
        }
        rng = np.random.default_rng(settings["seed"])
        found["loss/energy"] = rng.normal(size=len(structures))
        found["loss/forces"] = rng.normal(size=(sum(map(len, structures)), 3))
        found["gradients"] = gradients(model, structures, found["loss/energy"], found["loss/forces"])
        for i, atoms in enumerate(structures):
            found[f"structures/{i}/numbers"] = atoms.numbers
            found[f"structures/{i}/positions"] = atoms.positions
            found[f"structures/{i}/cell"] = atoms.cell.array
            found[f"structures/{i}/pbc"] = atoms.pbc
        arrays |= {f"models/{name}/{key}": value for key, value in found.items()}
    return arrays


if __name__ == "__main__":
    sys.exit(write_golden(make, HERE, __doc__.splitlines()[0]))
