"""Writes golden.npz: models of mace-torch with random weights, and what they answer.

    python tests/oracles/mace/make_golden.py [FILE] [--compare GOLDEN]

Run it with the Python of an environment that has mace-torch (`make oracles` makes one). All float64, no pickle.
With --compare, the answers are compared with those of an earlier file: weights must be equal, numbers to 1e-10.
"""

import sys
from pathlib import Path

import numpy as np
import peer
from ase import Atoms

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from golden import write_golden  # noqa: E402

CUTOFF = 4.0
HCO, SIO = (1, 6, 8), (8, 14)
_COMMON = {"cutoff": CUTOFF, "radial": (12, 8), "readout": 5}
_SMALL = {"cutoff": CUTOFF, "radial": (6,), "readout": 3}
# Every setting in few models: channels, degrees of messages and features, orders, layers, species.
MODELS = {
    "scalar features": dict(
        numbers=HCO, channels=8, lmax=2, hidden_lmax=0, correlation=3, layers=2, bessel=8, envelope=5,
        neighbors=1.75, seed=1, **_COMMON,
    ),
    "vector features": dict(
        numbers=HCO, channels=4, lmax=3, hidden_lmax=1, correlation=3, layers=2, bessel=8, envelope=5,
        neighbors=0.5, seed=2, **_COMMON,
    ),
    "tensor features": dict(
        numbers=SIO, channels=5, lmax=3, hidden_lmax=2, correlation=2, layers=2, bessel=6, envelope=6,
        neighbors=1.0, seed=3, **_COMMON,
    ),
    "pair order": dict(
        numbers=SIO, channels=6, lmax=3, hidden_lmax=1, correlation=1, layers=2, bessel=5, envelope=3,
        neighbors=2.5, seed=4, **_COMMON,
    ),
    "one layer": dict(
        numbers=HCO, channels=7, lmax=2, hidden_lmax=1, correlation=3, layers=1, bessel=8, envelope=5,
        neighbors=1.5, seed=5, **_COMMON,
    ),
    "three layers": dict(
        numbers=SIO, channels=4, lmax=2, hidden_lmax=2, correlation=2, layers=3, bessel=4, envelope=4,
        neighbors=2.0, seed=6, **_COMMON,
    ),
    "order four": dict(
        numbers=SIO, channels=3, lmax=2, hidden_lmax=1, correlation=4, layers=2, bessel=6, envelope=5,
        neighbors=0.5, seed=7, **_COMMON,
    ),
    "residual first layer": dict(
        numbers=HCO, channels=4, lmax=2, hidden_lmax=1, correlation=2, layers=2, bessel=6, envelope=5,
        neighbors=1.2, seed=8, first="Residual", **_COMMON,
    ),
    "residual one layer": dict(
        numbers=SIO, channels=4, lmax=2, hidden_lmax=2, correlation=2, layers=1, bessel=5, envelope=6,
        neighbors=1.4, seed=9, first="Residual", **_COMMON,
    ),
    # the options of published foundation models
    "density, agnesi, zbl": dict(
        numbers=HCO, channels=3, lmax=2, hidden_lmax=1, correlation=2, layers=2, bessel=4, envelope=6,
        neighbors=1.3, seed=10, first="Density", later="DensityResidual", distance_transform="Agnesi",
        pair_repulsion=True, **_SMALL,
    ),
    "agnesi, two heads": dict(
        numbers=SIO, channels=3, lmax=2, hidden_lmax=1, correlation=[3, 2], layers=2, bessel=4, envelope=5,
        neighbors=1.7, seed=11, first="Residual", distance_transform="Agnesi", heads=("one", "two"), head="two",
        **_SMALL,
    ),
    "soft, density residual, cutoff on weights": dict(
        numbers=SIO, channels=3, lmax=2, hidden_lmax=1, correlation=2, layers=2, bessel=4, envelope=5,
        neighbors=1.4, seed=12, first="DensityResidual", later="DensityResidual", distance_transform="Soft",
        radial_type="gaussian", apply_cutoff=False, pair_repulsion=True, heads=("a", "b", "c"), head="b",
        **_SMALL,
    ),
    "no scale, last readout": dict(
        numbers=HCO, channels=3, lmax=2, hidden_lmax=1, correlation=2, layers=2, bessel=4, envelope=5,
        neighbors=1.6, seed=13, scaled=False, pair_repulsion=True, use_last_readout_only=True,
        keep_last_layer_irreps=True, use_reduced_cg=False, **_SMALL,
    ),
    "a density in the first layer": dict(
        numbers=SIO, channels=3, lmax=2, hidden_lmax=0, correlation=2, layers=2, bessel=4, envelope=5,
        neighbors=1.6, seed=14, first="Density", later="Residual", radial_type="gaussian", apply_cutoff=False,
        **_SMALL,
    ),
}  # fmt: skip


def structures(numbers: tuple[int, ...]) -> list[Atoms]:
    """A molecule, a triclinic crystal, a cell smaller than the cutoff, a slab, an atom alone, a chain."""
    rng = np.random.default_rng(sum(numbers))

    def species(count: int) -> np.ndarray:
        return np.array([numbers[i % len(numbers)] for i in range(count)])

    def spread(count: int, box: np.ndarray) -> np.ndarray:
        """Points of a lattice of thirds of the box, so that none are close, shaken."""
        sites = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) / 3
        chosen = sites[rng.permutation(len(sites))[:count]]
        return (chosen + rng.uniform(-0.06, 0.06, (count, 3))) @ box

    def box(size: float) -> np.ndarray:
        return np.eye(3) * size + rng.uniform(-0.15, 0.15, (3, 3)) * size

    crystal, small, slab = box(5.6), box(2.4), np.diag([4.5, 5.0, 14.0])
    molecule = Atoms(species(9), positions=spread(9, np.eye(3) * 5.0))
    return [
        molecule,
        Atoms(species(8), positions=spread(8, crystal), cell=crystal, pbc=True),
        Atoms(species(2), positions=spread(2, small * 1.2), cell=small, pbc=True),
        Atoms(species(5), positions=spread(5, np.eye(3) * 4.5), cell=slab, pbc=(True, True, False)),
        Atoms(species(1), positions=rng.normal(size=(1, 3))),
        Atoms(species(4), positions=spread(4, np.eye(3) * 4.0), cell=[3.9, 0, 0], pbc=(True, False, False)),
    ]


def make() -> dict[str, np.ndarray]:
    """Everything that the file holds, by key."""
    arrays: dict[str, np.ndarray] = {}
    sets = {"hco": HCO, "sio": SIO}
    for name, numbers in sets.items():
        for i, atoms in enumerate(structures(numbers)):
            key = f"structures/{name}/{i}"
            arrays[f"{key}/numbers"] = atoms.numbers
            arrays[f"{key}/positions"] = atoms.positions
            arrays[f"{key}/cell"] = atoms.cell.array
            arrays[f"{key}/pbc"] = atoms.pbc
    for name, settings in MODELS.items():
        head = settings.pop("head", None)
        model = peer.build(**settings)
        numbers = settings["numbers"]
        frames = structures(numbers)
        arrays[f"models/{name}/structures"] = np.array(next(key for key in sets if sets[key] == numbers))
        for key, value in peer.export(model, head).items():
            if key.startswith("symmetric/"):  # the same for all models of one lmax
                key = f"symmetric/{settings['lmax']}/{key.partition('/')[2]}"
                assert np.array_equal(arrays.get(key, value), value)
                arrays[key] = value
            else:
                arrays[f"models/{name}/{key}"] = value
        for key, value in peer.answers(model, frames, head).items():
            arrays[f"models/{name}/answers/{key}"] = value
        rng = np.random.default_rng(settings["seed"])
        by_energy = rng.normal(size=len(frames))
        by_forces = rng.normal(size=(sum(map(len, frames)), 3))
        arrays[f"models/{name}/loss/energy"] = by_energy
        arrays[f"models/{name}/loss/forces"] = by_forces
        for key, value in peer.gradients(model, frames, by_energy, by_forces, head).items():
            arrays[f"models/{name}/gradients/{key}"] = value
    return arrays


if __name__ == "__main__":
    sys.exit(write_golden(make, HERE, __doc__.splitlines()[0]))
