"""Words of other programs: what their keys and values are called here.

A spec is often written from the configuration of another program; `specs/MIGRATION.md` has the whole of it. Here are
the words that a user types out of habit, so that the diagnostic of an unknown key names ours.
"""

from __future__ import annotations

from collections.abc import Collection

from .nodes import Path, path_text

_EPOCHS, _BATCH, _RATE = "train.epochs", "train.batch", "train.learning_rate"
_LENGTH = "a length with its unit, such as `5.0 Å`"
_LABELS = "target by target, `labels: {energy: {key: energy}}`"
_WEIGHT = "target by target, `loss: {energy: {weight: 1}}`"
_DATA = "`train: {path: train.xyz, labels: {energy: {key: energy}}}`"
_HIDDEN = "`128x0e+128x1o` is `channels: 128` with `hidden_lmax: 1`"

# their key, in lower case → our place (dotted; a word alone fits every block that has it) and a remark; without a
# place the remark is all there is to say. Where there is no remark, the value means the same in both.
_KEYS: dict[str, tuple[str, str]] = {
    # where atoms end
    "r_max": ("system.cutoff", _LENGTH),
    "rcut": ("system.cutoff", _LENGTH),
    "cutoff_radius": ("system.cutoff", _LENGTH),
    "atomic_numbers": ("system.species", "symbols, not numbers: `species: [H, C]`"),
    "chemical_symbols": ("system.species", ""),
    "chemical_species": ("system.species", ""),
    "model_type_names": ("system.species", ""),
    "type_map": ("system.species", ""),
    "elements": ("system.species", ""),
    "momenta": ("", "remove it: every coordinate has a momentum, of its own representation"),
    # sizes of models
    "num_interactions": ("model.layers", ""),
    "num_layers": ("model.layers", ""),
    "n_layers": ("model.layers", ""),
    "num_channels": ("model.channels", ""),
    "num_features": ("model.channels", ""),
    "n_channels": ("model.channels", ""),
    "l_max": ("model.lmax", ""),
    "max_ell": ("model.lmax", ""),
    "max_l": ("model.hidden_lmax", ""),
    "hidden_irreps": ("model.channels", _HIDDEN),
    "irreps_hidden": ("model.channels", _HIDDEN),
    "num_radial_basis": ("model.bessel", ""),
    "num_bessels": ("model.bessel", ""),
    "n_basis": ("model.bessel", ""),
    "polynomial_cutoff_p": ("model.envelope", ""),
    "num_cutoff_basis": ("model.envelope", ""),
    "radial_mlp": ("model.radial", "a list of widths: `[64, 64, 64]`"),
    "radial_mlp_depth": ("model.radial", "a list of widths: depth 2, width 64 is `[64, 64]`"),
    "radial_mlp_width": ("model.radial", "a list of widths: depth 2, width 64 is `[64, 64]`"),
    "mlp_irreps": ("model.readout", "a list of widths: `16x0e` is `[16]`"),
    "hidden_dim": ("model.hidden", "a list of widths: `[200, 200]`"),
    "nonlinearity": ("model.activation", ""),
    "input_dim": ("", "remove it: the sizes of the coordinates are declared in `system`"),
    "baseline": ("", "remove it: a network without a Hamiltonian is `architecture: mlp`"),
    "avg_num_neighbors": ("", "remove it: the mean number of neighbours is measured on the training set"),
    "scaling": ("", "remove it: scales are measured on the training set"),
    "irreps_in": ("", "remove it: the irreps of what is read are known"),
    "irreps_out": ("out|carry|irreps", ""),
    "irreps_sh": ("", "remove it: harmonics are `harmonics: 2` in `features`, or an op `sph`"),
    "_target_": ("", "remove it: a spec names no Python; `kind:` or `architecture:` says what is built"),
    # data
    "train_file": ("data.train", _DATA),
    "train_file_path": ("data.train", _DATA),
    "dataset_file_name": ("data.train", _DATA),
    "valid_file": ("data.validation", "a fraction (`0.1`), a number of frames, or `{path: valid.xyz}`"),
    "valid_fraction": ("data.validation", "a fraction (`0.1`), a number of frames, or `{path: valid.xyz}`"),
    "n_valid": ("data.validation", "a fraction (`0.1`), a number of frames, or `{path: valid.xyz}`"),
    "valid": ("data.validation", ""),
    "val": ("data.validation", ""),
    "test_file": ("data.test", "a fraction (`0.1`), a number of frames, or `{path: test.xyz}`"),
    "e0s": ("data.isolated_atoms", "`frames`, `least_squares` (`average` in MACE), or `{H: -13.6}` in eV"),
    "per_type_energy_shifts": ("data.isolated_atoms", "`frames`, `least_squares`, or `{H: -13.6}` in eV"),
    "energy_key": ("data.train.labels", _LABELS),
    "forces_key": ("data.train.labels", _LABELS),
    "stress_key": ("data.train.labels", _LABELS),
    "virials_key": ("data.train.labels", "a virial is a label of the stress, with `virial: true`"),
    "file_path": ("data.train.path", ""),
    "filename": ("data.train.path", ""),
    "file": ("data.train.path", ""),
    # training
    "lr": (_RATE, ""),
    "learn_rate": (_RATE, ""),
    "batch_size": (_BATCH, ""),
    "max_num_epochs": (_EPOCHS, ""),
    "max_epochs": (_EPOCHS, ""),
    "num_epochs": (_EPOCHS, ""),
    "n_epochs": (_EPOCHS, ""),
    "total_steps": (_EPOCHS, "passes over the data, not steps"),
    "gradient_checkpointing": ("train.activation_checkpointing", "`true`"),
    "checkpoint_activations": ("train.activation_checkpointing", "`true`"),
    "recompute": ("train.activation_checkpointing", "`true`"),
    "ema_decay": ("train.ema", "one number, which also switches it on"),
    "default_dtype": ("train.precision", ""),
    "dtype": ("train.precision", ""),
    "clip_grad": ("train.clip", ""),
    "scheduler": ("train.schedule", "`constant`, `cosine` or `plateau`"),
    "lr_scheduler": ("train.schedule", "`constant`, `cosine` or `plateau`"),
    "energy_weight": ("train.loss", _WEIGHT),
    "forces_weight": ("train.loss", _WEIGHT),
    "stress_weight": ("train.loss", _WEIGHT),
    "device": ("", "remove it: a device is chosen at the command, `equic train --device cuda`"),
    "foundation_model": ("train.from", "an artifact, from `equic import`"),
    "compute_forces": (
        "",
        "remove it: forces are a target, `{gradient_of: energy, wrt: positions, scale: -1}`",
    ),
    "compute_stress": ("", "remove it: a stress is a target, `{gradient_of: energy, wrt: strain}`"),
    # searches, as in Optuna and Ray
    "min": ("low", ""),
    "max": ("high", ""),
    "values": ("choices", ""),
}

# our key → their values → ours
_VALUES: dict[str, dict[str, str]] = {
    "per": {
        **dict.fromkeys(("atom", "atomic", "atoms", "particle"), "node"),
        **dict.fromkeys(("molecule", "structure", "config", "configuration", "frame", "graph"), "system"),
    },
    "wrt": {
        **dict.fromkeys(("pos", "coords", "coordinates", "r", "x"), "positions"),
        **dict.fromkeys(("cell", "lattice", "displacement", "box"), "strain"),
    },
    "parity": {"True": "both", "False": "natural"},
    "schedule": {"ReduceLROnPlateau": "plateau", "CosineAnnealingLR": "cosine", "none": "constant"},
    "precision": {"double": "float64", "single": "float32", "64": "float64", "32": "float32"},
    "kind": {
        **dict.fromkeys(("FullyConnectedTensorProduct", "TensorProduct", "tensor_product"), "product"),
        **dict.fromkeys(("SymmetricContraction", "EquivariantProductBasisBlock"), "power"),
        **dict.fromkeys(("Gate", "gate", "NormNonLinearity", "activation"), "act"),
        **dict.fromkeys(("SphericalHarmonics", "spherical_harmonics"), "sph"),
        **dict.fromkeys(("FullyConnectedNet", "dense"), "mlp"),
        **dict.fromkeys(("scatter", "scatter_sum", "pool"), "reduce"),
        **dict.fromkeys(("interaction", "conv", "message_passing", "convnet"), "mp"),
        **dict.fromkeys(("molecule", "molecules", "crystal", "material"), "atoms"),
        **dict.fromkeys(("hamiltonian", "dynamical_system"), "phase_space"),
        "point_cloud": "particles",
    },
    "rep": {"scalar": "0e", "vector": "1o", "pseudoscalar": "0o", "pseudovector": "1e", "matrix": "0e+1e+2e"},
}

# names of groups in papers and in escnn → how atoms, particles or a phase space declare them
GROUPS: dict[str, tuple[str, str]] = {
    "E(3)": ("O(3)", "translations are implied"),
    "SE(3)": ("SO(3)", "translations are implied"),
    "flipRot3dOnR3": ("O(3)", ""),
    "rot3dOnR3": ("SO(3)", ""),
    "rotation": ("SO(3)", ""),
    "rotations": ("SO(3)", ""),
    "parity": ("inversion", ""),
    "SE(2)": ("SO(2)", "with `translation` beside it"),
    "rot2dOnR2": ("SO(2)", ""),
}


def our_key(key: str, known: Collection[str], here: Path) -> str | None:
    """What a key of another program is called in the block at `here`, which has the keys `known`, or None.

    Example:
        >>> our_key("lr", ["epochs", "learning_rate"], ("train",)), our_key("lr", ["train", "model"], ())
        ('learning_rate', None)
    """
    for home in _KEYS.get(key.lower(), ("", ""))[0].split("|"):
        *block, word = home.split(".")
        if word in known and (not block or len(block) == len(here)):
            return word
    return None


def same_meaning(key: str) -> bool:
    """Whether a value can stay as it is under our key."""
    return key.lower() in _KEYS and not _KEYS[key.lower()][1]


def key_help(key: str, known: Collection[str], here: Path) -> str | None:
    """Help for an unknown key that another program has, in the block at `here`, whose keys are `known`.

    Example:
        >>> key_help("r_max", ["kind", "cutoff"], ("system",))
        'what others call `r_max` is `cutoff` here: a length with its unit, such as `5.0 Å`'
        >>> key_help("r_max", ["layers"], ("model",))
        'what others call `r_max` is `system.cutoff` here: a length with its unit, such as `5.0 Å`'
    """
    if key.lower() not in _KEYS:
        return None
    home, remark = _KEYS[key.lower()]
    if not home:
        return remark
    word = our_key(key, known, here)
    same_block = len(here) == 1 and home.startswith(f"{path_text(here)}.")
    if word is None and ("." not in home or same_block):
        return None  # nothing of the kind in this very block: a preset without such a parameter
    return f"what others call `{key}` is `{word or home}` here{': ' if remark else ''}{remark}"


def our_value(key: object, value: object) -> str | None:
    """Our word for a value of another program under one of our keys, or None.

    Example:
        >>> our_value("per", "atom"), our_value("parity", True), our_value("per", "bond")
        ('node', 'both', None)
    """
    return _VALUES.get(str(key), {}).get(str(value))


__all__ = ["GROUPS", "key_help", "our_key", "our_value", "same_meaning"]
