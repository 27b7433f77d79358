"""Weights of DeepPot-SE models (deepmd-kit 3, descriptor `se_e2_a`) for models of the preset `deepmd_se_e2_a`.

As for the other programs, the maps between the weights are made in torch, so that gradients by the peer's weights
follow. What they need:

- `config`: JSON, as `peers/deepmd_dump.py` writes it;
- `state/embedding/PAIR/LAYER/NAME`, `state/fitting/TYPE/LAYER/NAME`: `w` [in, out], `b` [out], `idt` [out].

The functions are equal as long as no atom has more neighbours of a type than the model has places (`sel`): beyond,
deepmd-kit leaves out the farthest, and ours keeps them. Reference: zhang2018deeppotse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from equic.runtime.errors import EquicError
from equic.runtime.model import Model, module_name
from torch import Tensor

from .weights import fill, fitting, species_order, stored

Arrays = Mapping[str, Any]

_COMPILE = "compile the spec that `deepmd_spec` gives for these arrays"
_ACTIVATIONS = {name: name for name in ("tanh", "relu", "softplus", "sigmoid", "silu")} | {
    "none": "identity",
    "linear": "identity",
}
_TIMESTEPS = {
    (False, False): "none",
    (True, False): "embedding",
    (False, True): "fitting",
    (True, True): "both",
}


def deepmd_spec(arrays: Arrays) -> dict[str, Any]:
    """The sections `system` and `model` of a spec that compiles to the same function.

    Raises:
        EquicError: the preset cannot express the model; the text says what of it.
    """
    config = _read(arrays)
    model = {
        "architecture": "deepmd_se_e2_a",
        "embedding": config["embedding"],
        "axis": config["axis"],
        "mean": config["mean"],
        "size": config["size"],
        "spread": config["spread"],
        "sel": config["sel"],
        "one_side": config["one_side"],
        "timestep": _TIMESTEPS[tuple(config["timesteps"])],
        "activation": _ACTIVATIONS[config["activations"][0]],
        "fitting": config["neurons"],
        "start": config["start"] / config["cutoff"],
    }
    system = {"kind": "atoms", "species": config["species"], "cutoff": f"{config['cutoff']!r} Å"}
    return {"system": system, "model": model}


def import_deepmd(arrays: Arrays, model: Model) -> None:
    """Fill the weights and statistics of a model of the spec that `deepmd_spec` gives, in place.

    Raises:
        EquicError: the peer's model is not one that the spec expresses, or not of the settings of `model`.
    """
    config = _read(arrays)
    bias = [config["bias"][i] for i in species_order(config["species"], model)]
    fill(model, deepmd_weights(arrays, model), {"average_neighbors": 1.0, "atomic_energies": bias})


def deepmd_weights(
    arrays: Arrays, model: Model, state: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The parameters of `model` by name, as functions of the peer's.

    Args:
        state: the peer's parameters as float64 tensors, where gradients by them are wanted; those of `arrays`
            if not given.

    Raises:
        EquicError: as `import_deepmd`.
    """
    config = _read(arrays)
    get = stored(arrays) if state is None else state.__getitem__
    order, count = species_order(config["species"], model), len(config["species"])
    if order != list(range(count)):
        # what stands in free places depends on the species that are not there, too
        raise EquicError(
            f"the plan's species are not {', '.join(config['species'])}, in this order", help=_COMPILE
        )
    pairs = count if config["one_side"] else count**2
    timed = config["timesteps"]
    found = {
        **_network(
            get, "embedding", pairs, [1, *config["embedding"]], timed[0], "layer1.filters", "network."
        ),
        **_network(
            get,
            "fitting",
            count,
            [config["embedding"][-1] * config["axis"], *config["neurons"], 1],
            timed[1],
            "layer1.fit",
        ),
        f"steps.{module_name('layer1.energy')}.weight": torch.ones(1, dtype=torch.float64),
    }
    return fitting(found, model, _COMPILE)


def _network(
    get: Callable[[str], Tensor],
    there: str,
    labels: int,
    sizes: list[int],
    timed: bool,
    step: str,
    at: str = "",
) -> dict[str, Tensor]:
    """The networks of all labels, side by side; ours divide by the root of what enters a layer.

    The peer numbers pairs as ours are numbered: the centre first, then the neighbour, the centre running faster.
    """
    prefix, found = f"steps.{module_name(step)}.{at}", {}
    for k, (fan_in, width) in enumerate(pairwise(sizes)):

        def all_labels(name: str, k: int = k) -> Tensor:
            return torch.stack([get(f"{there}/{z}/{k}/{name}") for z in range(labels)])

        found[f"{prefix}weights.{k}"] = all_labels("w") * math.sqrt(fan_in)
        found[f"{prefix}biases.{k}"] = all_labels("b")
        is_last = there == "fitting" and k + 2 == len(sizes)
        if timed and not is_last and width in (fan_in, 2 * fan_in):
            found[f"{prefix}timesteps.{k}"] = all_labels("idt")
    return found


def _read(arrays: Arrays) -> dict[str, Any]:
    """The settings, refused where the preset has no words for them."""
    if "config" not in arrays:
        raise EquicError("the arrays have no `config`", help="write them with the dump script for deepmd-kit")
    config: dict[str, Any] = json.loads(str(np.asarray(arrays["config"])))
    if (config["descriptor"], config["fitting"]) != ("se_e2_a", "ener"):
        problems = [f"the descriptor `{config['descriptor']}` with the fitting `{config['fitting']}`"]
    else:
        unknown = [one for one in config["species"] if one not in atomic_numbers]
        other = sorted({one for one in config["activations"] if one not in _ACTIVATIONS})
        problems = [
            *config["extras"],
            *(f"the type `{one}`, which is no element" for one in unknown),
            *(f"the activation `{one}`" for one in other),
            *(["activations that differ"] if not other and len(set(config["activations"])) > 1 else []),
            *(["a type without places"] if 0 in config["sel"] else []),
        ]
    if problems:
        raise EquicError(
            f"the preset `deepmd_se_e2_a` cannot express {' and '.join(problems)}",
            help="it expresses energies (`ener`) of the descriptor `se_e2_a` of deepmd-kit 3",
        )
    return config
