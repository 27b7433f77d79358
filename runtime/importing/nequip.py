"""Weights of NequIP models (nequip 0.19) for models of the `nequip` preset, or of its blocks.

As for mace-torch, the maps between the weights are made in torch, so that gradients by the peer's weights follow.
What they need:

- `config`: JSON, as `peers/nequip_dump.py` writes it;
- `state/NAME`: the peer's parameters, under its own names;
- `coupling/l1_l2_l3`: the couplings of its tensor products;
- `radial/lengths` [n] and `radial/values` [n, count]: its radial functions, compared with ours.

The peer's edges point the other way, so that paths with harmonics of odd degree change sign; its radial functions
have another constant, its activations another factor: all of it goes into the weights. Reference: batzner2022nequip.
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
from equic.runtime.layers.linear import Linear
from equic.runtime.model import Model, module_name
from torch import Tensor

from .bases import coupling_factor
from .weights import fill, fitting, radial_ratios, scale_kind, scales, species_order, stored

Arrays = Mapping[str, Any]
Irrep = tuple[int, int]

_COMPILE = "compile the spec that `nequip_spec` gives for these arrays"
_SCALAR: Irrep = (0, 1)


def nequip_spec(arrays: Arrays) -> dict[str, Any]:
    """The sections `system` and `model` of a spec that compiles to the same function.

    The preset where every irrep has as many copies as the embedding, else the same model as blocks.

    Raises:
        EquicError: neither can express the model; the text says what of it.
    """
    config = _read(arrays)
    layers = config["layers"]
    system = {"kind": "atoms", "species": config["species"], "cutoff": f"{config['cutoff']!r} Å"}
    lmax = max(block.l for block in Irreps.parse(config["harmonics"]))
    hidden = [block for layer in layers[:-1] for block in Irreps.parse(layer["outputs"])]
    both = any(block.p != (-1) ** block.l for block in hidden)
    channels = config["embedding"]
    uniform = all(block.mul == channels for block in hidden) and layers[-1]["outputs"] == f"{channels}x0e"
    if uniform and len(layers) > 1:
        model: dict[str, Any] = {
            "architecture": "nequip",
            "channels": channels,
            "lmax": lmax,
            "parity": "both" if both else "natural",
            "layers": len(layers),
            "bessel": config["bessel"],
            "envelope": int(config["envelope"]),
            "radial": layers[0]["radial"],
            "readout": config["readout"],
            "scale": scale_kind(config),
        }
        return {"system": system, "model": model}
    return {"system": system, "model": _blocks(config, lmax)}


def _blocks(config: Mapping[str, Any], lmax: int) -> dict[str, Any]:
    blocks = [
        {
            "kind": "mp",
            "carry": layer["outputs"],
            "message": {
                "irreps": layer["outputs"],
                "unreachable": "drop",
                "radial": layer["radial"],
                "reduce": "root_average",
            },
            "skip": "species" if layer["skip"] else "none",
            "act": {"form": "gate", "f": "silu", "gate": "silu", "odd": "tanh"},
        }
        for layer in config["layers"]
    ]
    radial = {"count": config["bessel"], "envelope": int(config["envelope"])}
    return {
        "features": {"node": f"{config['embedding']}x0e", "radial": radial, "harmonics": lmax},
        "blocks": blocks,
        "heads": {
            "energy": {
                "read": "linear",
                "layers": "last",
                "last": config["readout"],
                "scale": scale_kind(config),
            }
        },
    }


def import_nequip(arrays: Arrays, model: Model) -> None:
    """Fill the weights and statistics of a model of the spec that `nequip_spec` gives, in place.

    Raises:
        EquicError: the peer's model is not one that the spec expresses, or not of the settings of `model`.
    """
    config = _read(arrays)
    order = species_order(config["species"], model)
    statistics = {
        "average_neighbors": config["layers"][0]["neighbors"][0],
        "atomic_energies": [config["shifts"][i] for i in order],
        "scale": scales(config, order),
    }
    fill(model, nequip_weights(arrays, model), statistics)


def nequip_weights(
    arrays: Arrays, model: Model, state: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The parameters of `model` by name, as functions of the peer's.

    Args:
        state: the peer's parameters as float64 tensors, where gradients by them are wanted; those of `arrays`
            if not given.

    Raises:
        EquicError: as `import_nequip`.
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
        self.order = species_order(config["species"], model)
        self.steps = {step.name: step for step in model.plan.steps}
        self.embedding = get("type_embed.embed_module.weight")
        self.found: dict[str, Tensor] = {}

    def weights(self) -> dict[str, Tensor]:
        self._put("features", "weight", self.embedding[self.order])
        gains: dict[Irrep, float] = {_SCALAR: 1.0}
        for t, layer in enumerate(self.config["layers"]):
            self._layer(t, layer, gains)
            gains = _gains(layer)
        self._readout(len(self.config["layers"]), gains[_SCALAR])
        return self.found

    def _layer(self, t: int, layer: Mapping[str, Any], gains: Mapping[Irrep, float]) -> None:
        here, there = f"layer{t + 1}", f"layer{t}_convnet.conv"
        inputs = Irreps.parse(layer["inputs"])
        flat, up, at = self.get(f"{there}.linear_1.weight"), {}, 0
        for block in inputs:
            up[block.irrep] = flat[at : at + block.mul**2].view(block.mul, block.mul) * gains[block.irrep]
            at += block.mul**2
        self._put_linear(f"{here}.up", up)
        self._radial_network(f"{here}.weights", f"{there}.edge_mlp.mlp", layer, here)
        self._update(here, there, layer)
        if layer["skip"]:
            self._skip(here, there, layer, gains)

    def _radial_network(self, step: str, there: str, layer: Mapping[str, Any], here: str) -> None:
        """The network of the edge length: scaled activations, our radial functions, our order of the paths."""
        alphas, silu = layer["alphas"], second_moment_factor("silu")
        for k, alpha in enumerate(alphas):
            weight = self.get(f"{there}.{2 * k}.weight")
            weight = weight * (alpha * math.sqrt(weight.shape[0]) / (silu if k else 1.0))
            if k == 0:
                weight = weight * radial_ratios(self.arrays, self.model, _COMPILE)[:, None]
            if k == len(alphas) - 1:
                weight = self._by_path(weight, layer, here)
            self._put(step, f"weights.{k}", weight)

    def _by_path(self, weight: Tensor, layer: Mapping[str, Any], here: str) -> Tensor:
        """Columns [fan_in, paths of the peer] as [fan_in, ours]: what we pruned left out, signs moved in."""
        width = {_irrep(a): block.mul for a in _names(layer) for block in _blocks_of(layer["inputs"], a)}
        starts, at = {}, 0
        for a, b, c, _ in layer["paths"]:
            starts[_irrep(a), _irrep(b), _irrep(c)] = at
            at += width[_irrep(a)]
        columns = []
        for path in self._paths(f"{here}.messages"):
            (l1, _), (l2, _), (l3, _) = path
            if path not in starts:
                raise EquicError(f"the peer has no path {path} in {here}", help=_COMPILE)
            factor = coupling_factor(self.arrays, (l1, l2, l3)) * (-1) ** l2
            columns.append(weight[:, starts[path] : starts[path] + width[path[0]]] * factor)
        return torch.cat(columns, dim=1)

    def _update(self, here: str, there: str, layer: Mapping[str, Any]) -> None:
        """The map behind the sum: rows by path, columns with the gates in our order."""
        flat, at = self.get(f"{there}.linear_2.weight"), 0
        widths = {block.irrep: block.mul for block in Irreps.parse(layer["inputs"])}
        features = {block.irrep: block.mul for block in Irreps.parse(layer["features"])}
        rows: dict[Irrep, dict[tuple[Irrep, Irrep, Irrep], Tensor]] = {}
        theirs = sorted(layer["paths"], key=lambda path: path[3])
        for irrep in dict.fromkeys(_irrep(path[2]) for path in theirs):
            paths = [tuple(_irrep(one) for one in path[:3]) for path in theirs if _irrep(path[2]) == irrep]
            size = sum(widths[path[0]] for path in paths)
            block = flat[at : at + size * features[irrep]].view(size, features[irrep])
            at += size * features[irrep]
            split = block.split([widths[path[0]] for path in paths])
            rows[irrep] = dict(zip(paths, split, strict=True))  # type: ignore[arg-type]
        parts: dict[Irrep, list[Tensor]] = {}
        for path in self._paths(f"{here}.messages"):
            parts.setdefault(path[2], []).append(rows[path[2]][path])
        matrices = {irrep: torch.cat(blocks) for irrep, blocks in parts.items()}
        self._put_linear(f"{here}.update", self._gates_in_order(f"{here}.update", matrices, layer))

    def _skip(self, here: str, there: str, layer: Mapping[str, Any], gains: Mapping[Irrep, float]) -> None:
        """The features of the atom itself, by species: the peer's product with the embedding, evaluated."""
        flat, at, size = self.get(f"{there}.sc.weight"), 0, self.config["embedding"]
        features = {block.irrep: block.mul for block in Irreps.parse(layer["features"])}
        matrices = {}
        for block in Irreps.parse(layer["inputs"]):
            if block.irrep not in features:
                continue
            count = block.mul * size * features[block.irrep]
            weight = flat[at : at + count].view(block.mul, size, features[block.irrep])
            at += count
            by_species = torch.einsum("ze,uev->zuv", self.embedding[self.order], weight)
            matrices[block.irrep] = by_species * (gains[block.irrep] / math.sqrt(size))
        self._put_linear(f"{here}.skip", self._gates_in_order(f"{here}.skip", matrices, layer))

    def _gates_in_order(
        self, step: str, matrices: dict[Irrep, Tensor], layer: Mapping[str, Any]
    ) -> dict[Irrep, Tensor]:
        """The invariant columns, scalars before gates, with a gate for each of our gated irreps in our order."""
        if not layer["gated"] or _SCALAR not in matrices:
            return matrices
        scalars = sum(b.mul for b in Irreps.parse(layer["scalars"]) if b.irrep == _SCALAR)
        kept = matrices[_SCALAR]
        columns, at = {}, scalars
        for block in Irreps.parse(layer["gated"]):
            columns[block.irrep] = kept[..., at : at + block.mul]
            at += block.mul
        linear = self._linear_of(step)
        ours = [block.irrep for block in linear.out if block.l > 0]
        return {
            **matrices,
            _SCALAR: torch.cat([kept[..., :scalars], *(columns[one] for one in ours)], dim=-1),
        }

    def _readout(self, layers: int, gain: float) -> None:
        here, there = f"layer{layers}", "per_atom_energy_readout.mlp_module.mlp"
        alphas, silu = self.config["readout_alphas"], second_moment_factor("silu")
        for k, alpha in enumerate(alphas):
            weight = self.get(f"{there}.{2 * k}.weight")
            weight = weight * (alpha * math.sqrt(weight.shape[0]) * (gain if k == 0 else 1.0 / silu))
            last = k == len(alphas) - 1
            self._put_linear(f"{here}.energy" if last else f"{here}.energy.read{k + 1}", {_SCALAR: weight})

    def _put_linear(self, step: str, parts: Mapping[Irrep, Tensor]) -> None:
        """Matrices [..., in, out] by irrep, flat and one after the other as our map keeps them."""
        kinds = self._linear_of(step).kinds
        missing = [kind.irrep for kind in kinds if kind.irrep not in parts]
        if missing:
            raise EquicError(f"`{step}` maps (l, p) = {missing[0]}, the peer's map does not", help=_COMPILE)
        self._put(step, "weight", torch.cat([parts[kind.irrep].flatten(-2) for kind in kinds], -1))

    def _linear_of(self, step: str) -> Linear:
        if step not in self.steps:
            raise EquicError(f"the plan has no step `{step}`, as the `nequip` preset makes", help=_COMPILE)
        layer = self.model.layer(step)
        assert isinstance(layer, Linear)
        return layer

    def _paths(self, step: str) -> list[tuple[Irrep, Irrep, Irrep]]:
        """(l, p) of both factors and of the result, for the paths of our product in the order of its weights."""
        if step not in self.steps:
            raise EquicError(f"the plan has no step `{step}`, as the `nequip` preset makes", help=_COMPILE)
        params = self.steps[step].params
        left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        return [(left[i].irrep, right[j].irrep, out[k].irrep) for i, j, k, _ in params["paths"]]

    def _put(self, step: str, leaf: str, value: Tensor) -> None:
        self.found[f"steps.{module_name(step)}.{leaf}"] = value


def _gains(layer: Mapping[str, Any]) -> dict[Irrep, float]:
    """How much larger the peer's activations of a layer are than ours, by irrep of the result."""
    silu, tanh = second_moment_factor("silu"), second_moment_factor("tanh")
    scalars = list(Irreps.parse(layer["scalars"]))
    found = {}
    for block, factor in zip(scalars, layer["factors"], strict=False):
        found[block.irrep] = factor / (silu if block.p > 0 else tanh)
    gates = layer["factors"][len(scalars) :]
    for block, factor in zip(Irreps.parse(layer["gated"]) if layer["gated"] else (), gates, strict=True):
        found[block.irrep] = factor / silu
    return found


def _irrep(text: str) -> Irrep:
    return int(text[:-1]), 1 if text[-1] == "e" else -1


def _names(layer: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(path[0] for path in layer["paths"]))


def _blocks_of(irreps: str, name: str) -> list[Any]:
    return [block for block in Irreps.parse(irreps) if block.irrep == _irrep(name)]


def _read(arrays: Arrays) -> dict[str, Any]:
    """The settings, refused where neither preset nor blocks have words for them."""
    if "config" not in arrays:
        raise EquicError("the arrays have no `config`", help="write them with the dump script for nequip")
    config: dict[str, Any] = json.loads(str(np.asarray(arrays["config"])))
    layers = config["layers"]
    neighbors = {round(one, 12) for layer in layers for one in layer["neighbors"]}
    problems = [
        (bool(config["extras"]), " and ".join(config["extras"])),
        (config["trainable"], "trainable radial functions"),
        (config["envelope"] != int(config["envelope"]), f"an envelope of order {config['envelope']}"),
        (len(neighbors) != 1, "numbers of neighbours that differ by type"),
        (any(layer["resnet"] for layer in layers), "layers that add their input"),
        (any(layer["nonlinearity"] != "Gate" for layer in layers), layers[0]["nonlinearity"]),
        (any(layer["radial"] != layers[0]["radial"] for layer in layers), "radial networks that differ"),
        (layers[0]["skip"] or not all(layer["skip"] for layer in layers[1:]), "these self-connections"),
    ]
    for holds, what in problems:
        if holds:
            raise EquicError(
                f"our blocks cannot express {what}",
                help="they express NequIPGNNModel of nequip 0.19 with gates, one number of neighbours and one scale",
            )
    return config
