"""Writes golden.npz: models of nequip-allegro with random weights, and what they answer.

    python tests/oracles/allegro/make_golden.py [FILE] [--compare GOLDEN]

Run it with the Python of an environment that has nequip-allegro (`make oracles` makes one). All float64, no pickle.
With --compare, the answers are compared with those of an earlier file: weights must be equal, numbers to 1e-10.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2] / "runtime/importing/peers"), str(HERE.parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from allegro.model import AllegroModel  # noqa: E402
from ase.data import atomic_numbers  # noqa: E402
from dumping import random_structures  # noqa: E402
from golden import write_golden  # noqa: E402
from nequip_dump import answers, export, set_global_state  # noqa: E402
from nequip_losses import gradients  # noqa: E402

_COMMON = {
    "model_dtype": "float64",
    "r_max": 4.0,
    "type_names": ["H", "C", "O"],
    "avg_num_neighbors": 5.0,
    "per_type_energy_scales": 1.3,
    "per_type_energy_shifts": {"H": -1.0, "C": -2.0, "O": -3.0},
    "scalar_embed_mlp_hidden_layers_width": 7,
    "readout_mlp_hidden_layers_width": 4,
}
_BESSEL = {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 6}
MODELS = {
    "both parities": dict(
        _COMMON, seed=1, l_max=2, parity=True, num_layers=3, num_scalar_features=5, num_tensor_features=2,
        radial_chemical_embed=_BESSEL, radial_chemical_embed_dim=8, allegro_mlp_hidden_layers_width=6,
    ),
    "natural parity": dict(
        _COMMON, seed=2, l_max=3, parity=False, num_layers=2, num_scalar_features=4, num_tensor_features=3,
        radial_chemical_embed=_BESSEL, allegro_mlp_hidden_layers_depth=2, allegro_mlp_hidden_layers_width=5,
        readout_mlp_hidden_layers_depth=2,
    ),
    "one weight a path": dict(
        _COMMON, seed=3, l_max=1, parity=True, num_layers=4, num_scalar_features=3, num_tensor_features=2,
        radial_chemical_embed={**_BESSEL, "polynomial_cutoff_p": 5, "bessel_trainable": True},
        radial_chemical_embed_dim=6, allegro_mlp_hidden_layers_width=4, tp_path_channel_coupling=False,
        scalar_embed_mlp_hidden_layers_depth=2,
    ),
    "one layer": dict(
        _COMMON, seed=4, l_max=2, parity=True, num_layers=1, num_scalar_features=4, num_tensor_features=3,
        radial_chemical_embed=_BESSEL, allegro_mlp_hidden_layers_width=4, readout_mlp_hidden_layers_depth=0,
    ),
}  # fmt: skip


def make() -> dict[str, np.ndarray]:
    """Everything that the file holds, by key."""
    set_global_state()
    arrays: dict[str, np.ndarray] = {}
    for name, settings in MODELS.items():
        model = AllegroModel(**settings)
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            for key, value in model.named_parameters():
                if key.endswith("bessel_weights"):
                    value.add_(torch.linspace(-0.2, 0.3, value.numel()).view_as(value))
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
