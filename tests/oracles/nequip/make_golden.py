"""Writes golden.npz: models of nequip with random weights, and what they answer.

    python tests/oracles/nequip/make_golden.py [FILE] [--compare GOLDEN]

Run it with the Python of an environment that has nequip (`make oracles` makes one). All float64, no pickle. With
--compare, the answers are compared with those of an earlier file: weights must be equal, numbers to 1e-10.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2] / "runtime/importing/peers"), str(HERE.parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase.data import atomic_numbers  # noqa: E402
from dumping import random_structures  # noqa: E402
from golden import write_golden  # noqa: E402
from nequip.model import NequIPGNNModel  # noqa: E402
from nequip_dump import answers, export, set_global_state  # noqa: E402
from nequip_losses import gradients  # noqa: E402

_COMMON = {
    "model_dtype": "float64",
    "r_max": 4.0,
    "type_names": ["H", "C", "O"],
    "num_bessels": 6,
    "avg_num_neighbors": 5.0,
    "per_type_energy_scales": 1.3,
    "per_type_energy_shifts": {"H": -1.0, "C": -2.0, "O": -3.0},
}
MODELS = {
    "both parities": dict(
        seed=1, l_max=2, parity=True, num_layers=3, num_features=3, radial_mlp_depth=2, radial_mlp_width=7, **_COMMON,
    ),
    "natural parity": dict(seed=2, l_max=3, parity=False, num_layers=2, num_features=4, radial_mlp_width=6, **_COMMON),
    "widths by degree": dict(
        seed=3, l_max=2, parity=False, num_layers=3, num_features=[6, 4, 2], type_embed_num_features=5,
        radial_mlp_width=8, **_COMMON,
    ),
    "odd scalars": dict(
        seed=4, l_max=1, parity=True, num_layers=4, num_features=2, radial_mlp_width=5,
        readout_mlp_hidden_layers_depth=1, polynomial_cutoff_p=5, readout_mlp_hidden_layers_width=3, **_COMMON,
    ),
    "one layer": dict(seed=5, l_max=2, parity=True, num_layers=1, num_features=4, radial_mlp_width=5, **_COMMON),
}  # fmt: skip


def make() -> dict[str, np.ndarray]:
    """Everything that the file holds, by key."""
    set_global_state()
    arrays: dict[str, np.ndarray] = {}
    for name, settings in MODELS.items():
        model = NequIPGNNModel(**settings)
        torch.set_default_dtype(torch.float64)
        structures = random_structures([atomic_numbers[one] for one in _COMMON["type_names"]], 4.0, 0)
        found = {
            **export(model),
            **{f"answers/{key}": one for key, one in answers(model, structures).items()},
        }
        rng = np.random.default_rng(settings["seed"])
        found["loss/energy"] = rng.normal(size=len(structures))
        found["loss/forces"] = rng.normal(size=(sum(map(len, structures)), 3))
        slopes = gradients(model.train(), structures, found["loss/energy"], found["loss/forces"])
        found |= {f"gradients/{key}": value for key, value in slopes.items()}
        arrays |= {f"models/{name}/{key}": value for key, value in found.items()}
        for i, atoms in enumerate(structures):
            arrays[f"structures/{i}/numbers"] = atoms.numbers
            arrays[f"structures/{i}/positions"] = atoms.positions
            arrays[f"structures/{i}/cell"] = atoms.cell.array
            arrays[f"structures/{i}/pbc"] = atoms.pbc
    return arrays


if __name__ == "__main__":
    sys.exit(write_golden(make, HERE, __doc__.splitlines()[0]))
