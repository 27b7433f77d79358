"""Weights of PET models (metatrain 2026.4) for models of the preset `pet`.

As for the other programs, the maps between the weights are made in torch, so that gradients by the peer's weights
follow. What they need:

- `config`: JSON; `hypers` as metatrain writes them, `species` by atomic number, `energies` of free atoms, the
  `scale` of the labels, and the `eps` of the norms in attention: that of the precision for RMSNorm, which has no
  fixed one;
- `state/NAME`: the peer's parameters, under its own names.

The peer's matrices are [out, in], and its activations have no factor. Reference: pozdnyakov2023smooth.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from equic.runtime.layers.activations import second_moment_factor
from equic.runtime.model import Model, module_name
from torch import Tensor

from .weights import fill, fitting, species_order, stored

Arrays = Mapping[str, Any]

_COMPILE = "compile the spec that `pet_spec` gives for these arrays"
_WORDS = {
    "cutoff_function": ("envelope", {"Bump": "bump", "Cosine": "cosine"}),
    "normalization": ("norm", {"RMSNorm": "rms", "LayerNorm": "layer"}),
    "activation": ("activation", {"SwiGLU": "swiglu", "SiLU": "silu"}),
    "transformer_type": ("order", {"PreLN": "pre", "PostLN": "post"}),
    "featurizer_type": ("exchange", {"feedforward": "feedforward", "residual": "residual"}),
}


def pet_spec(arrays: Arrays) -> dict[str, Any]:
    """The sections `system` and `model` of a spec that compiles to the same function.

    Raises:
        EquicError: the preset cannot express the model; the text says what of it.
    """
    config = _read(arrays)
    hypers = config["hypers"]
    model = {
        "architecture": "pet",
        "channels": hypers["d_pet"],
        "node": hypers["d_node"],
        "layers": hypers["num_gnn_layers"],
        "depth": hypers["num_attention_layers"],
        "heads": hypers["num_heads"],
        "forward": hypers["d_feedforward"],
        "eps": config["eps"],
        "temperature": float(hypers["attention_temperature"]),
        "read": "all" if hypers["featurizer_type"] == "residual" else "last",
        "readout": [hypers["d_head"]] * 2,
        "start": 1 - hypers["cutoff_width"] / hypers["cutoff"],
        **{ours: words[hypers[theirs]] for theirs, (ours, words) in _WORDS.items()},
    }
    system = {"kind": "atoms", "species": config["species"], "cutoff": f"{float(hypers['cutoff'])!r} Å"}
    return {"system": system, "model": model}


def import_pet(arrays: Arrays, model: Model) -> None:
    """Fill the weights and statistics of a model of the spec that `pet_spec` gives, in place.

    Raises:
        EquicError: the peer's model is not one that the spec expresses, or not of the settings of `model`.
    """
    config = _read(arrays)
    statistics = {
        "average_neighbors": 1.0,
        "atomic_energies": [config["energies"][i] for i in species_order(config["species"], model)],
        "scale": config["scale"],
    }
    fill(model, pet_weights(arrays, model), statistics)


def pet_weights(arrays: Arrays, model: Model, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The parameters of `model` by name, as functions of the peer's.

    Args:
        state: the peer's parameters as float64 tensors, where gradients by them are wanted; those of `arrays`
            if not given.

    Raises:
        EquicError: as `import_pet`.
    """
    config = _read(arrays)
    get = stored(arrays) if state is None else state.__getitem__
    order = species_order(config["species"], model)
    return fitting(_Translation(config["hypers"], order, get).weights(), model, _COMPILE)


class _Translation:
    """One model of the peer on its way to one of ours."""

    def __init__(self, hypers: Mapping[str, Any], order: list[int], get: Callable[[str], Tensor]) -> None:
        self.hypers, self.order, self.get = hypers, order, get
        self.residual = hypers["featurizer_type"] == "residual"
        self.found: dict[str, Tensor] = {}

    def weights(self) -> dict[str, Tensor]:
        layers = self.hypers["num_gnn_layers"]
        self._embedding("layer1.messages.species", "edge_embedder")
        for t in range(layers):
            here, there = f"layer{t + 1}", f"gnn_layers.{t}"
            if self.residual or t == 0:
                self._embedding(f"{here}.node", f"node_embedders.{t}")
            if t > 0:
                self._embedding(f"{here}.species", f"{there}.neighbor_embedder")
            self._network(f"{here}.geometry", f"{there}.edge_embedder")
            self._network(f"{here}.compress", f"{there}.compress.0", f"{there}.compress.2")
            for n in range(self.hypers["num_attention_layers"]):
                self._transformer(f"{here}.transformer{n + 1}", f"{there}.trans.layers.{n}")
            if not self.residual:
                self._norm(f"{here}.combine.norm", f"combination_norms.{t}", centred=True)
                networks = f"combination_mlps.{t}"
                self._network(f"{here}.combine", f"{networks}.0", f"{networks}.2")
            if self.residual or t == layers - 1:
                self._read(here, t if self.residual else 0)
        return self.found

    def _transformer(self, here: str, there: str) -> None:
        centred = self.hypers["normalization"] == "LayerNorm"
        joined = [self._state(f"{there}.attention.input_linear.{leaf}") for leaf in ("weight", "bias")]
        parts = zip(*(one.chunk(3) for one in joined), strict=True)
        for name, (weight, bias) in zip(("queries", "keys", "values"), parts, strict=True):
            self._linear(f"{here}.attention.{name}", weight, bias)
        self._plain(f"{here}.attention.out", f"{there}.attention.output_linear")
        self._norm(f"{here}.attention.norm", f"{there}.norm_attention", centred)
        self._norm(f"{here}.network.norm", f"{there}.norm_mlp", centred)
        self._forward(f"{here}.network", f"{there}.mlp")
        if self.hypers["d_node"] != self.hypers["d_pet"]:
            self._plain(f"{here}.contraction", f"{there}.center_contraction")
            self._plain(f"{here}.expansion", f"{there}.center_expansion")
            self._norm(f"{here}.node.norm", f"{there}.norm_center_features", centred)
            self._forward(f"{here}.node.network", f"{there}.center_mlp")

    def _forward(self, here: str, there: str) -> None:
        """A feed-forward network; of `w_in`, the values come first, then their gates."""
        weight, bias = (self._state(f"{there}.w_in.{leaf}") for leaf in ("weight", "bias"))
        act = "silu"
        if self.hypers["activation"] == "SwiGLU":
            act = "sigmoid"
            (weight, gates), (bias, shifts) = weight.chunk(2), bias.chunk(2)
            self._linear(f"{here}.gate", gates, shifts)
        self._linear(f"{here}.in", weight, bias)
        self._plain(here, f"{there}.w_out", act)

    def _read(self, here: str, k: int) -> None:
        """What atoms and edges are read by: the last matrix holds both, then the biases of edges and of atoms."""
        weights, biases = [], []
        for name, kind in (("node", "node"), ("edges", "edge")):
            heads = f"{kind}_heads.energy.{k}"
            self._plain(f"{here}.read.{name}1", f"{heads}.0")
            self._plain(f"{here}.read.{name}2", f"{heads}.2", "silu")
            last = f"{kind}_last_layers.energy.{k}.energy___0"
            weights.append(self._state(f"{last}.weight")[0] / second_moment_factor("silu"))
            biases.append(self._state(f"{last}.bias"))
        joined = torch.cat((*weights, *biases[::-1]))
        self._put(f"{here}.energy", "weight", joined * math.sqrt(len(joined)))

    def _plain(self, here: str, there: str, act: str | None = None) -> None:
        """A linear map of the peer; its input comes out of our activation, which has a factor, where there is one."""
        factor = second_moment_factor(act) if act else 1.0
        self._linear(here, self._state(f"{there}.weight") / factor, self._state(f"{there}.bias"))

    def _linear(self, here: str, weight: Tensor, bias: Tensor) -> None:
        """Our linear maps divide by the root of what enters."""
        self._put(here, "weight", weight.T.flatten() * math.sqrt(weight.shape[1]))
        self._put(here, "bias", bias)

    def _network(self, here: str, *there: str) -> None:
        for k, name in enumerate(there):
            weight = self._state(f"{name}.weight").T
            factor = second_moment_factor("silu") if k else 1.0
            self._put(here, f"weights.{k}", weight * (math.sqrt(len(weight)) / factor))
            self._put(here, f"biases.{k}", self._state(f"{name}.bias"))

    def _norm(self, here: str, there: str, centred: bool) -> None:
        for leaf in ("weight", "bias") if centred else ("weight",):
            self._put(here, leaf, self._state(f"{there}.{leaf}"))

    def _embedding(self, here: str, there: str) -> None:
        self._put(here, "weight", self._state(f"{there}.weight")[self.order])

    def _state(self, name: str) -> Tensor:
        return self.get(f"backend.{name}")

    def _put(self, step: str, leaf: str, value: Tensor) -> None:
        self.found[f"steps.{module_name(step)}.{leaf}"] = value


def _read(arrays: Arrays) -> dict[str, Any]:
    """The settings, refused where the preset has no words for them."""
    if "config" not in arrays:
        raise EquicError("the arrays have no `config`", help="it holds the settings of the peer's model")
    config: dict[str, Any] = json.loads(str(np.asarray(arrays["config"])))
    hypers = config["hypers"]
    unknown = [(name, hypers[name]) for name, (_, words) in _WORDS.items() if hypers[name] not in words]
    heads = {key.split(".")[2] for key in arrays if key.startswith("state/backend.node_heads.")}
    extras = {
        "adaptive cutoffs": hypers["num_neighbors_adaptive"] is not None,
        "long-range features": hypers["long_range"]["enable"],
        "charges and spins": hypers["system_conditioning"],
        "the repulsion of metatrain": hypers["zbl"],
        "targets beside the energy": heads != {"energy"},
        **{f"`{name}: {value}`": True for name, value in unknown},
    }
    problems = [name for name, holds in extras.items() if holds]
    if problems:
        raise EquicError(
            f"the preset `pet` cannot express {' and '.join(problems)}",
            help="it expresses PET of metatrain 2026.4 with one cutoff and short-ranged energies",
        )
    return config
