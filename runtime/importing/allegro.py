"""Weights of Allegro models (nequip-allegro 0.8) for models of the preset `nequip_allegro`.

As for the other programs, the maps between the weights are made in torch, so that gradients by the peer's weights
follow. What they need:

- `config`: JSON, as `peers/allegro_dump.py` writes it;
- `state/NAME`: the peer's parameters, under its own names;
- `coupling/l1_l2_l3`: the couplings of its tensor products;
- `radial/lengths` [n] and `radial/values` [n, count]: its radial functions, compared with ours.

The peer's edges point the other way, so that what weighs harmonics of odd degree changes sign; its weights of
harmonics run over degrees first, its activations have no factor. Reference: musaelian2023allegro.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from equic.runtime.irreps import Irreps
from equic.runtime.layers.activations import second_moment_factor
from equic.runtime.model import Model, module_name
from torch import Tensor

from .bases import coupling_factor
from .weights import fill, fitting, radial_ratios, scale_kind, scales, species_order, stored

Arrays = Mapping[str, Any]
Irrep = tuple[int, int]

_COMPILE = "compile the spec that `allegro_spec` gives for these arrays"


def allegro_spec(arrays: Arrays) -> dict[str, Any]:
    """The sections `system` and `model` of a spec that compiles to the same function.

    Raises:
        EquicError: the preset cannot express the model; the text says what of it.
    """
    config = _read(arrays)
    names = ("channels", "scalars", "lmax", "parity", "layers", "embedding", "bessel", "trainable")
    model = {
        "architecture": "nequip_allegro",
        **{name: config[name] for name in names},
        "envelope": int(config["envelope"]),
        **{name: config[name]["hidden"] for name in ("start", "latent", "readout")},
        "scale": scale_kind(config),
    }
    system = {"kind": "atoms", "species": config["species"], "cutoff": f"{config['cutoff']!r} Å"}
    return {"system": system, "model": model}


def import_allegro(arrays: Arrays, model: Model) -> None:
    """Fill the weights and statistics of a model of the spec that `allegro_spec` gives, in place.

    Raises:
        EquicError: the peer's model is not one that the spec expresses, or not of the settings of `model`.
    """
    config = _read(arrays)
    order = species_order(config["species"], model)
    statistics = {
        "average_neighbors": config["neighbors"][0],
        "atomic_energies": [config["shifts"][i] for i in order],
        "scale": scales(config, order),
    }
    fill(model, allegro_weights(arrays, model), statistics)


def allegro_weights(
    arrays: Arrays, model: Model, state: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The parameters of `model` by name, as functions of the peer's.

    Args:
        state: the peer's parameters as float64 tensors, where gradients by them are wanted; those of `arrays`
            if not given.

    Raises:
        EquicError: as `import_allegro`.
    """
    config = _read(arrays)
    get = stored(arrays) if state is None else state.__getitem__
    return fitting(_Translation(config, arrays, model, get).weights(), model, _COMPILE)


class _Translation:
    """One model of the peer on its way to one of ours."""

    def __init__(
        self, config: Mapping[str, Any], arrays: Arrays, model: Model, get: Callable[[str], Tensor]
    ) -> None:
        self.config, self.arrays, self.model, self.get = config, arrays, model, get
        self.steps = {step.name: step for step in model.plan.steps}
        self.found: dict[str, Tensor] = {}

    def weights(self) -> dict[str, Tensor]:
        config, order = self.config, species_order(self.config["species"], self.model)
        embed = "radial_chemical_embed.type_embed"
        self._put("layer1.target.embedded", "weight", self.get(f"{embed}.center_embed.weight")[order])
        self._put("layer1.source.embedded", "weight", self.get(f"{embed}.neighbor_embed.weight")[order])
        basis = self._matrix(f"{embed}.basis_linear.mlp.0", config["basis"], 0)
        self._linear("layer1.lengths", basis * self._radial()[:, None])
        self._network("layer1.start", "scalar_embed_mlp.mlp_module.mlp", config["start"])
        tensors = self._matrix("tensor_embed.env_embed_linear.mlp.0", config["tensor_embed"], 0)
        self._linear("layer1.start.weights", self._by_degree(tensors))
        first = self._matrix("allegro.first_layer_env_embed_projection.mlp.0", config["projection"], 0)
        self._split("layer1.start.scalars", "layer1.sent.weights", first)
        for t in range(config["layers"]):
            self._layer(t)
        last = f"layer{config['layers']}"
        self._network(f"{last}.read", "edge_readout.mlp_module.mlp", config["readout"], 1 / math.sqrt(2))
        self._put(f"{last}.energy", "weight", torch.ones(1, dtype=torch.float64))
        return self.found

    def _radial(self) -> Tensor:
        """The peer's radial functions by ours; trained frequencies n, of sin(n pi r / cutoff) / r, are moved."""
        if not self.config["trainable"]:
            return radial_ratios(self.arrays, self.model, _COMPILE)
        frequencies = self.get("radial_chemical_embed.bessel_encode.bessel_weights").flatten()
        cutoff = self.config["cutoff"]
        self._put("radial", "weight", frequencies * (math.pi / cutoff))
        return torch.full((len(frequencies),), cutoff / math.pi * math.sqrt(cutoff / 2), dtype=torch.float64)

    def _layer(self, t: int) -> None:
        here, there, network = f"layer{t + 1}", f"allegro.latents.{t}.mlp", self.config["latents"][t]
        *hidden, last = range(len(network["alphas"]))
        for k in hidden:
            self._put(f"{here}.latent", f"weights.{k}", self._ours(f"{there}.{2 * k}", network, k))
        matrix = self._matrix(f"{there}.{2 * last}", network, last) / second_moment_factor("silu")
        self._split(f"{here}.latent.scalars", f"{here}.latent.sent", matrix)
        self._paths(t)

    def _paths(self, t: int) -> None:
        """The weights of the product's paths; one for all channels where the peer has one."""
        theirs, channels = self.get(f"allegro.tps.{t}.weights"), self.config["channels"]
        paths = [tuple(_irrep(one) for one in path) for path in self.config["paths"][t]]
        theirs = theirs.reshape(-1, len(paths)).expand(channels, -1)
        params = self._params(f"layer{t + 1}.paths")
        left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        columns = []
        for i, j, k, _ in params["paths"]:
            path = (left[i].irrep, right[j].irrep, out[k].irrep)
            if path not in paths:
                raise EquicError(f"the peer has no path {path} in its layer {t}", help=_COMPILE)
            factor = coupling_factor(self.arrays, (path[0][0], path[1][0], path[2][0]))
            columns.append(theirs[:, paths.index(path)] * factor)
        if len(columns) != len(paths):
            raise EquicError(
                f"the peer has {len(paths)} paths in layer {t}, ours {len(columns)}", help=_COMPILE
            )
        self._put(f"layer{t + 1}.paths", "weight", torch.cat(columns))

    def _network(self, step: str, there: str, network: Mapping[str, Any], factor: float = 1.0) -> None:
        last = len(network["alphas"]) - 1
        for k in range(last + 1):
            self._put(
                step,
                f"weights.{k}",
                self._ours(f"{there}.{2 * k}", network, k) * (factor if k == last else 1),
            )

    def _ours(self, there: str, network: Mapping[str, Any], k: int) -> Tensor:
        """A matrix of one of our networks: it divides by the root of what enters, and scales its activations."""
        weight = self._matrix(there, network, k)
        return weight * (math.sqrt(len(weight)) / (second_moment_factor("silu") if k else 1.0))

    def _matrix(self, there: str, network: Mapping[str, Any], k: int) -> Tensor:
        """[in, out] as the peer multiplies by it."""
        return self.get(f"{there}.weight") * network["alphas"][k]

    def _split(self, scalars: str, sent: str, matrix: Tensor) -> None:
        """Columns of scalars, then those of the weights of harmonics for the next layer, where there is one."""
        count = self.config["scalars"]
        self._linear(scalars, matrix[:, :count])
        if matrix.shape[1] > count:
            self._linear(sent, self._by_degree(matrix[:, count:]))

    def _by_degree(self, matrix: Tensor) -> Tensor:
        """Columns [channel, degree] as [degree, channel], those of odd degree with the other sign."""
        degrees = self.config["lmax"] + 1
        signs = torch.tensor([(-1.0) ** l for l in range(degrees)], dtype=matrix.dtype)
        return (matrix.unflatten(1, (-1, degrees)) * signs).transpose(1, 2).flatten(1)

    def _linear(self, step: str, matrix: Tensor) -> None:
        self._put(step, "weight", (matrix * math.sqrt(len(matrix))).flatten())

    def _params(self, step: str) -> Mapping[str, Any]:
        if step not in self.steps:
            raise EquicError(f"the plan has no step `{step}`, as the preset makes", help=_COMPILE)
        return self.steps[step].params

    def _put(self, step: str, leaf: str, value: Tensor) -> None:
        self.found[f"steps.{module_name(step)}.{leaf}"] = value


def _irrep(text: str) -> Irrep:
    return int(text[:-1]), 1 if text[-1] == "e" else -1


def _read(arrays: Arrays) -> dict[str, Any]:
    """The settings, refused where the preset has no words for them."""
    if "config" not in arrays:
        raise EquicError("the arrays have no `config`", help="write them with the dump script for nequip")
    config: dict[str, Any] = json.loads(str(np.asarray(arrays["config"])))
    problems = [
        *config["extras"],
        *(
            [f"an envelope of order {config['envelope']}"]
            if config["envelope"] != int(config["envelope"])
            else []
        ),
        *(["numbers of neighbours that differ by type"] if len(set(config["neighbors"])) != 1 else []),
        *(["networks of scalars without hidden layers"] if not config["latent"]["hidden"] else []),
    ]
    if problems:
        raise EquicError(
            f"the preset `nequip_allegro` cannot express {' and '.join(problems)}",
            help="it expresses AllegroModel of nequip-allegro 0.8 with Bessel functions and silu",
        )
    return config
