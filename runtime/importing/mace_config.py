"""The settings of a model of mace-torch, and the sections of a spec that say the same.

Everything here is plain data; what neither the `mace` preset nor its blocks can express is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from equic.runtime.errors import EquicError
from equic.runtime.irreps import Irreps
from equic.runtime.layers.activations import ACTIVATIONS

# what the peer calls its layers: (keeps the atom's own features, divides sums by a learned number)
LAYERS = {
    "RealAgnosticInteractionBlock": (False, False),
    "RealAgnosticResidualInteractionBlock": (True, False),
    "RealAgnosticDensityInteractionBlock": (False, True),
    "RealAgnosticDensityResidualInteractionBlock": (True, True),
}
BASES = {"BesselBasis": "bessel", "GaussianBasis": "gaussian"}
DISTANCES = {"none": "plain", "AgnesiTransform": "agnesi", "SoftTransform": "soft"}
# the numbers of the formulas that the peer keeps beside its weights
_CONSTANTS = {
    "AgnesiTransform": {"a": 1.0805, "q": 0.9183, "p": 4.5791},
    "SoftTransform": {"alpha": 4.0},
    "ZBLBasis": {"a_exp": 0.3, "a_prefactor": 0.4543, "c": [0.1818, 0.5099, 0.2802, 0.02817]},
}
_ROUNDING = 1e-6  # models kept in float32


@dataclass(frozen=True, slots=True)
class MaceConfig:
    """The settings of a model of the peer, as its exporter writes them; lists have one item per layer.

    `ends`: the envelope multiplies the radial functions, not the weights made of them. `radii`: covalent ones,
    by species, where something depends on them. `atomic_energies`, `scales` and `shifts` have one item for each
    of `heads`; `head` is the one to import.
    """

    species: tuple[str, ...]
    cutoff: float
    bessel: int
    envelope: int
    radial_basis: str
    distance: str
    ends: bool
    repulsion: bool
    radii: tuple[float, ...]
    harmonics: str
    features: tuple[str, ...]
    messages: tuple[str, ...]
    paths: tuple[tuple[tuple[int, int, int], ...], ...]
    correlation: tuple[int, ...]
    radial: tuple[int, ...]
    readout: tuple[int, ...]
    readouts: tuple[str, ...]
    interactions: tuple[str, ...]
    activation: str
    activation_factor: float
    neighbors: float
    heads: tuple[str, ...]
    head: str
    atomic_energies: tuple[tuple[float, ...], ...]
    scales: tuple[float, ...]
    shifts: tuple[float, ...]

    @property
    def layers(self) -> int:
        return len(self.interactions)

    @property
    def residual(self) -> bool:
        """Whether the first layer keeps the atoms' own features too."""
        return LAYERS[self.interactions[0]][0]

    @property
    def channels(self) -> int:
        return Irreps.parse(self.features[0])[0].mul

    @property
    def lmax(self) -> int:
        return max(block.l for block in Irreps.parse(self.harmonics))

    @property
    def place(self) -> int:
        """Where the chosen head stands among all."""
        return self.heads.index(self.head)

    @property
    def read_everywhere(self) -> bool:
        """Whether all layers are read, or the last alone."""
        return len(self.readouts) == self.layers

    def dense(self, layer: int) -> bool:
        """Whether a layer divides its sums by a learned number of neighbours."""
        return LAYERS[self.interactions[layer]][1]

    def inputs(self, layer: int) -> str:
        """The features that enter a layer: the embedding, or those of the layer before."""
        return self.features[layer - 1] if layer else f"{self.channels}x0e"


def read_config(arrays: Mapping[str, Any]) -> MaceConfig:
    """The settings of a dump.

    Raises:
        EquicError: they are not there, or hold what our blocks have no words for; the text says what.
    """
    if "config" not in arrays:
        raise EquicError("the arrays have no `config`", help="write them with the exporter for mace-torch")
    given = json.loads(str(np.asarray(arrays["config"])))
    known = [field.name for field in fields(MaceConfig)]
    if missing := [name for name in known if name not in given]:
        raise EquicError(
            f"the settings of the peer's model lack `{missing[0]}`",
            help="write the dump again with this version",
        )
    _refuse(given)
    values = {name: _frozen(given[name]) for name in known}
    values["neighbors"] = given["neighbors"][0]
    values["activation_factor"] = given["activation_factor"][0]
    return MaceConfig(**values)


def mace_spec(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The sections `system` and `model` of a spec that compiles to the same function.

    Raises:
        EquicError: neither the `mace` preset nor its blocks can express the model; the text says what of it.
    """
    config = read_config(arrays)
    return {
        "system": {"kind": "atoms", "species": list(config.species), "cutoff": f"{config.cutoff!r} Å"},
        "model": _as_preset(config) if _fits_preset(config) else _as_blocks(config),
    }


def _fits_preset(config: MaceConfig) -> bool:
    return (
        len(set(config.correlation)) == 1
        and len({config.dense(t) for t in range(config.layers)}) == 1
        and config.read_everywhere
    )


def _as_preset(config: MaceConfig) -> dict[str, Any]:
    model: dict[str, Any] = {
        "architecture": "mace",
        "channels": config.channels,
        "lmax": config.lmax,
        "hidden_lmax": len(Irreps.parse(config.features[0])) - 1,
        "correlation": config.correlation[0],
        "layers": config.layers,
        "first_layer": "residual" if config.residual else "agnostic",
        "bessel": config.bessel,
        "envelope": config.envelope,
        "radial": list(config.radial),
        "readout": list(config.readout),
    }
    chosen = {
        "basis": (BASES[config.radial_basis], "bessel"),
        "distance": (DISTANCES[config.distance], "plain"),
        "ends": ("functions" if config.ends else "weights", "functions"),
        "reduce": ("density" if config.dense(0) else "average", "average"),
        "repulsion": ("zbl" if config.repulsion else "none", "none"),
        "repulsion_strength": (config.scales[config.place] if config.repulsion else 1, 1),
    }
    return model | {name: value for name, (value, usual) in chosen.items() if value != usual}


def _as_blocks(config: MaceConfig) -> dict[str, Any]:
    blocks = []
    for t in range(config.layers):
        first = t == 0 and not config.residual
        message = {
            "irreps": config.messages[t],
            "unreachable": "drop" if config.residual else "refuse",
            "radial": list(config.radial),
            "reduce": "density" if config.dense(t) else "average",
        }
        block = {"kind": "mp", "carry": config.features[t], "message": message}
        block["power"] = {"order": config.correlation[t]}
        blocks.append(block | ({"mix": "species", "skip": "none"} if first else {"skip": "species"}))
    radial = {
        "basis": BASES[config.radial_basis],
        "count": config.bessel,
        "envelope": config.envelope,
        "distance": DISTANCES[config.distance],
        "ends": "functions" if config.ends else "weights",
    }
    model: dict[str, Any] = {
        "features": {"node": f"{config.channels}x0e", "radial": radial, "harmonics": config.lmax},
        "blocks": blocks,
        "heads": {
            "default": {"layers": "all" if config.read_everywhere else "last", "last": list(config.readout)}
        },
    }
    if config.repulsion:
        strength = config.scales[config.place]
        model["repulsion"] = {"form": "zbl", "envelope": config.envelope, "strength": strength}
    return model


def _refuse(given: Mapping[str, Any]) -> None:
    """Raise for the first thing that our blocks cannot express."""
    layers = len(given["interactions"])
    _, *others = given["interactions"]
    features = [Irreps.parse(text) for text in given["features"]]
    widest = features[0]
    last = "NonLinearReadoutBlock" if given["readout"] else "LinearReadoutBlock"
    readouts = (["LinearReadoutBlock"] * (layers - 1) + [last], [last])
    unknown = sorted({name for name in given["interactions"] if name not in LAYERS})
    problems: list[tuple[bool, str]] = [
        (given["class"] not in ("ScaleShiftMACE", "MACE"), f"models of class {given['class']}"),
        (bool(unknown), f"layers of class {' and '.join(unknown)}"),
        (
            not unknown and any(not LAYERS[name][0] for name in others),
            f"{' and '.join(sorted(set(others)))} after the first layer",
        ),
        (bool(given.get("extras")), " and ".join(given.get("extras") or ())),
        (given["radial_basis"] not in BASES, f"the radial basis {given['radial_basis']}"),
        (given["distance"] not in DISTANCES, f"the distance transform {given['distance']}"),
        (given["activation"] not in ACTIVATIONS, f"the activation {given['activation']}"),
        (given["activation"] != "silu", f"{given['activation']} in the radial network"),
        (len(given["activation_factor"]) != 1, "different activations in radial network and readout"),
        (list(given["readouts"]) not in readouts, f"readouts {given['readouts']}"),
        (len(set(given["neighbors"])) != 1, "numbers of neighbours that differ by layer"),
        (not _natural(given["harmonics"], 1), f"harmonics {given['harmonics']}"),
        (
            not all(_natural(text, widest[0].mul) for text in (*given["features"], *given["messages"])),
            f"features {given['features']} with messages {given['messages']}",
        ),
        (any(one != widest for one in features[:-1]), f"features that change as {given['features']}"),
        (given.get("envelope_of_repulsion", given["envelope"]) != given["envelope"], "two envelopes"),
        *_other_constants(given),
    ]
    for holds, what in problems:
        if holds:
            raise EquicError(
                f"the `mace` preset and its blocks cannot express {what}",
                help=f"they express MACE and ScaleShiftMACE with {', '.join(LAYERS)}; silu; Bessel or Gaussian "
                "functions",
            )
    if given["head"] not in given["heads"]:
        raise EquicError(
            f"the model has no head `{given['head']}`", help=f"its heads are: {', '.join(given['heads'])}"
        )


def _other_constants(given: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Where the numbers of the peer's formulas are not those of ours."""
    found = []
    for name, numbers in given.get("constants", {}).items():
        for key, usual in _CONSTANTS.get(name, {}).items():
            differ = not np.allclose(numbers[key], usual, rtol=_ROUNDING, atol=0)
            found.append((differ, f"{name} with {key} = {numbers[key]}"))
    return found


def _natural(text: str, mul: int) -> bool:
    """Whether irreps are mul copies of 0e, 1o, 2e, ... without gaps."""
    return [(block.mul, block.l, block.p) for block in Irreps.parse(text)] == [
        (mul, l, (-1) ** l) for l in range(len(Irreps.parse(text)))
    ]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
