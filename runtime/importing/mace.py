"""Weights of mace-torch for models of the `mace` preset.

The two programs compute the same functions from differently arranged numbers. All maps between the weights are
linear, and are made in torch, so that gradients by the peer's weights follow from ours. What they need:

- `config`: JSON, the settings (those of `_Config`);
- `state/NAME`: the peer's parameters, under its own names;
- `coupling/l1_l2_l3`: the couplings of its tensor products, [2 l1 + 1, 2 l2 + 1, 2 l3 + 1];
- `symmetric/L_DEGREE/{shape,index,value}`: the bases of its symmetric powers, flat and sparse; in shape
  [2L + 1, (lmax + 1)^2, ..., (lmax + 1)^2, paths] with `DEGREE` axes of features.

Nothing is assumed about signs and bases: they are compared with ours, and refused where they do not fit.
Reference: batatia2022mace.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from equic.runtime.irreps import Irreps
from equic.runtime.layers.activations import ACTIVATIONS, second_moment_factor
from equic.runtime.layers.linear import Linear
from equic.runtime.layers.power import Power
from equic.runtime.model import Model, module_name
from equic.runtime.plan import Step
from torch import Tensor

from .bases import coupling_factor, power_map
from .weights import fitting, stored

# what the peer calls its layers: without and with the features of the atom itself
_AGNOSTIC, _RESIDUAL = "RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock"

# a dict, or what `numpy.load` gives for an npz
Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Config:
    """The settings of a model of the peer, as its exporter writes them; lists have one item per layer."""

    species: tuple[str, ...]
    cutoff: float
    bessel: int
    envelope: int
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
    atomic_energies: tuple[float, ...]
    scale: float
    shift: float

    @property
    def layers(self) -> int:
        return len(self.interactions)

    @property
    def residual(self) -> bool:
        """Whether the first layer keeps the atoms' own features too."""
        return self.interactions[0] == _RESIDUAL

    @property
    def channels(self) -> int:
        return Irreps.parse(self.features[0])[0].mul

    @property
    def lmax(self) -> int:
        return max(block.l for block in Irreps.parse(self.harmonics))

    def inputs(self, layer: int) -> str:
        """The features that enter a layer: the embedding, or those of the layer before."""
        return self.features[layer - 1] if layer else f"{self.channels}x0e"


def mace_spec(arrays: Arrays) -> dict[str, Any]:
    """The sections `system` and `model` of a spec that compiles to the same function.

    Raises:
        EquicError: the `mace` preset cannot express the model; the text says what of it.
    """
    config = _read(arrays)
    return {
        "system": {"kind": "atoms", "species": list(config.species), "cutoff": f"{config.cutoff!r} Å"},
        "model": {
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
        },
    }


def import_mace(arrays: Arrays, model: Model) -> None:
    """Fill the weights and statistics of a model of the `mace` preset, in place.

    Args:
        arrays: as the module's text says; floats of any kind.
        model: of the plan that `mace_spec` leads to; its species may be fewer, and in another order.

    Raises:
        EquicError: the peer's model is not one that the preset expresses, or not of the settings of `model`.
    """
    config = _read(arrays)
    weights = mace_weights(arrays, model)
    order = _species_order(config, model)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(weights[name])
    model.set_statistics(
        {
            "average_neighbors": config.neighbors,
            "atomic_energies": [config.atomic_energies[i] for i in order],
            "scale": config.scale,
            "shift": config.shift,
        }
    )


def mace_weights(
    arrays: Arrays, model: Model, state: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The parameters of `model` by name, as linear functions of the peer's.

    Args:
        state: the peer's parameters as float64 tensors, where gradients by them are wanted; those of `arrays`
            if not given.

    Raises:
        EquicError: as `import_mace`.
    """
    config = _read(arrays)
    get = stored(arrays) if state is None else state.__getitem__
    return fitting(_Translation(config, arrays, model, get).weights(), model, _COMPILE)


_COMPILE = "compile the spec that `mace_spec` gives for these arrays"


class _Translation:
    """One model of the peer on its way to one of ours."""

    def __init__(self, config: _Config, arrays: Arrays, model: Model, get: Callable[[str], Tensor]) -> None:
        self.config, self.arrays, self.model, self.get = config, arrays, model, get
        self.order = _species_order(config, model)
        self.steps = {step.name: step for step in model.plan.steps}
        # the peer estimates the factor of its activation; the difference goes into the weights behind it
        self.gain = config.activation_factor / second_moment_factor(config.activation)
        self.found: dict[str, Tensor] = {}

    def weights(self) -> dict[str, Tensor]:
        self._check_features()
        embedding = self.get("node_embedding.linear.weight").view(len(self.config.species), -1)
        self._put("features", "weight", embedding[self.order] / math.sqrt(len(self.config.species)))
        for t in range(self.config.layers):
            self._layer(t)
        return self.found

    def _layer(self, t: int) -> None:
        config, here, there = self.config, f"layer{t + 1}", f"interactions.{t}"
        inputs, features, messages = config.inputs(t), config.features[t], config.messages[t]
        self._linear(f"{here}.up", f"{there}.linear_up", inputs, inputs)
        self._messages(t)
        if t == 0 and not config.residual:
            self._species_linear(f"{here}.mix", f"{there}.skip_tp", messages, messages)
        else:
            self._species_linear(f"{here}.skip", f"{there}.skip_tp", inputs, features)
        self._power(t)
        self._linear(f"{here}.update", f"products.{t}.linear", features, features)
        readout = f"readouts.{t}"
        if t == config.layers - 1 and config.readout:
            hidden = f"{config.readout[0]}x0e"
            self._linear(f"{here}.energy.read1", f"{readout}.linear_1", features, hidden)
            self._linear(f"{here}.energy", f"{readout}.linear_2", hidden, "1x0e", self.gain)
        else:
            self._linear(f"{here}.energy", f"{readout}.linear", features, "1x0e")

    def _messages(self, t: int) -> None:
        """The radial network, its last weights in our order and signs of the paths, and the map behind."""
        config, here, there = self.config, f"layer{t + 1}", f"interactions.{t}"
        # a density (a first layer, reassociated) couples as the messages do that it stands for
        name = f"{here}.messages" if f"{here}.messages" in self.steps else f"{here}.pooled"
        ours = self._paths(name)
        theirs = [tuple(path) for path in config.paths[t]]
        kept = {path[2] for path in ours}  # the compiler drops degrees that nothing reads
        if sorted(ours) != sorted(path for path in theirs if path[2] in kept):
            raise EquicError(
                f"layer {t + 1} couples (l1, l2, l3) = {sorted(ours)}, the peer's {sorted(theirs)}",
                help=_COMPILE,
            )
        place = [theirs.index(path) for path in ours]
        factors = torch.tensor([coupling_factor(self.arrays, path) for path in ours], dtype=torch.float64)
        last = len(config.radial)
        for k in range(last + 1):
            weight = self.get(f"{there}.conv_tp_weights.layer{k}.weight")
            weight = weight * self.gain if k else weight
            if k == last:
                by_path = weight.unflatten(1, (len(theirs), config.channels))
                weight = (by_path[:, place] * factors[:, None]).flatten(1)
            self._put(f"{here}.weights", f"weights.{k}", weight)
        # rows of the linear map behind: the paths to one l, in our order
        blocks = self.get(f"{there}.linear.weight").view(len(theirs), config.channels, config.channels)
        by_degree: dict[int, list[Tensor]] = {}
        for path, i in zip(ours, place, strict=True):
            by_degree.setdefault(path[2], []).append(blocks[i])
        self._put_linear(f"{here}.A", {l: torch.cat(parts) for l, parts in by_degree.items()})

    def _power(self, t: int) -> None:
        layer = self._layer_of(f"layer{t + 1}.power")
        assert isinstance(layer, Power)
        order = self.config.correlation[t]
        _expect(f"the order of layer {t + 1}", layer.order, order)
        blocks = tuple(block.irrep for block in layer.source)
        highest = len(Irreps.parse(self.config.features[t])) - 1
        _expect(f"the degree of the features of layer {t + 1}", max(block.l for block in layer.out), highest)
        rows = []
        for block in layer.out:
            for degree in range(1, order + 1):
                change = power_map(self.arrays, blocks, block.irrep, degree)
                if not len(change):
                    continue
                name = f"products.{t}.symmetric_contractions.contractions.{block.l}"
                leaf = "weights_max" if degree == order else f"weights.{order - 1 - degree}"
                weight = self.get(f"{name}.{leaf}")[self.order]
                rows.append(torch.einsum("pe,zec->pzc", torch.from_numpy(change), weight))
        self._put(f"layer{t + 1}.power", "weight", torch.cat(rows))

    def _linear(self, step: str, key: str, source: str, out: str, factor: float = 1.0) -> None:
        """A map of the peer between irreps with one block for each l: its matrices lie flat, in order of l."""
        flat, parts, at = self.get(f"{key}.weight"), {}, 0
        for a, b in _matches(source, out):
            parts[a.l] = flat[at : at + a.mul * b.mul].view(a.mul, b.mul) * factor
            at += a.mul * b.mul
        self._put_linear(step, parts)

    def _species_linear(self, step: str, key: str, source: str, out: str) -> None:
        """Likewise, from a product with the species as unit vectors: [in, species, out] for each l."""
        species = len(self.config.species)
        flat, parts, at = self.get(f"{key}.weight"), {}, 0
        for a, b in _matches(source, out):
            size = a.mul * species * b.mul
            block = flat[at : at + size].view(a.mul, species, b.mul)
            parts[a.l] = block[:, self.order].transpose(0, 1) / math.sqrt(species)
            at += size
        self._put_linear(step, parts)

    def _put_linear(self, step: str, parts: Mapping[int, Tensor]) -> None:
        """Matrices [..., in, out] by degree, flat and one after the other as our map keeps them."""
        layer = self._layer_of(step)
        assert isinstance(layer, Linear)
        missing = [kind.irrep[0] for kind in layer.kinds if kind.irrep[0] not in parts]
        if missing:
            raise EquicError(f"`{step}` maps l = {missing[0]}, the peer's map does not", help=_COMPILE)
        self._put(step, "weight", torch.cat([parts[kind.irrep[0]].flatten(-2) for kind in layer.kinds], -1))

    def _put(self, step: str, leaf: str, value: Tensor) -> None:
        self.found[f"steps.{module_name(step)}.{leaf}"] = value

    def _layer_of(self, step: str) -> Any:
        self._step(step)
        return self.model.layer(step)

    def _step(self, name: str) -> Step:
        if name not in self.steps:
            raise EquicError(f"the plan has no step `{name}`, as the `mace` preset makes", help=_COMPILE)
        return self.steps[name]

    def _paths(self, step: str) -> list[tuple[int, int, int]]:
        """(l1, l2, l3) of the paths of our product, in the order of its weights."""
        params = self._step(step).params
        left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
        return [(left[i].l, right[j].l, out[k].l) for i, j, k, _ in params["paths"]]

    def _check_features(self) -> None:
        """What is no weight must agree too."""
        config, radial = self.config, self._step("radial").params
        layers = sum(name.startswith("layer") and name.endswith(".power") for name in self.steps)
        _expect("the number of layers", layers, config.layers)
        _expect("the cutoff", float(radial["cutoff"]), config.cutoff)
        _expect("the number of radial functions", int(radial["count"]), config.bessel)
        _expect("the order of the envelope", int(radial["envelope"]["polynomial"]), config.envelope)
        highest = int(self._step("harmonics").params["lmax"])
        if highest > config.lmax:  # fewer are left where nothing reads the messages of the highest degrees
            _expect("the degree of the harmonics", highest, config.lmax)
        for t in range(config.layers):
            network = self._step(f"layer{t + 1}.weights").params
            _expect("the radial network", tuple(network["widths"]), config.radial)
            _expect("the radial network's activation", network["act"], config.activation)
            _expect("the radial network's bias", bool(network["bias"]), False)


def _expect(what: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise EquicError(f"{what} is {ours} in the plan, but {theirs} in the peer's model", help=_COMPILE)


def _matches(source: str, out: str) -> list[tuple[Any, Any]]:
    """Pairs of blocks with equal irreps, in the peer's order: by the input, then the output."""
    return [(a, b) for a in Irreps.parse(source) for b in Irreps.parse(out) if a.irrep == b.irrep]


def _species_order(config: _Config, model: Model) -> list[int]:
    """Where the peer keeps each species of the plan."""
    species = model.plan.system.get("species", ())
    for symbol in species:
        if symbol not in config.species:
            known = ", ".join(config.species)
            raise EquicError(f"the peer's model has no weights for {symbol}", help=f"it knows {known}")
    return [config.species.index(symbol) for symbol in species]


def _read(arrays: Arrays) -> _Config:
    """The settings, refused where the preset has no words for them."""
    if "config" not in arrays:
        raise EquicError("the arrays have no `config`", help="write them with the exporter for mace-torch")
    given = json.loads(str(np.asarray(arrays["config"])))
    known = [field.name for field in fields(_Config)]
    if missing := [name for name in known if name not in given]:
        raise EquicError(f"the settings of the peer's model lack `{missing[0]}`")
    _refuse(given)
    values = {name: _frozen(given[name]) for name in known}
    values["neighbors"] = given["neighbors"][0]
    values["activation_factor"] = given["activation_factor"][0]
    return _Config(**values)


def _refuse(given: Mapping[str, Any]) -> None:
    """Raise for the first thing that the `mace` preset cannot express."""
    layers = len(given["interactions"])
    first, *others = given["interactions"]
    features = [Irreps.parse(text) for text in given["features"]]
    widest = features[0]
    single = layers == 1
    wanted = ["LinearReadoutBlock"] * (layers - 1) + [
        "LinearReadoutBlock" if single else "NonLinearReadoutBlock"
    ]
    problems: list[tuple[bool, str]] = [
        (given.get("class") != "ScaleShiftMACE", f"models of class {given.get('class')}"),
        (first not in (_AGNOSTIC, _RESIDUAL), f"{first} as the first layer"),
        (
            any(name != _RESIDUAL for name in others),
            f"{' and '.join(sorted(set(others)))} after the first layer",
        ),
        (given.get("heads", ["Default"]) != ["Default"], f"heads {given.get('heads')}"),
        (given.get("radial_basis") != "BesselBasis", f"the radial basis {given.get('radial_basis')}"),
        (bool(given.get("extras")), " and ".join(given.get("extras") or ())),
        (given["activation"] not in ACTIVATIONS, f"the activation {given['activation']}"),
        (given["activation"] != "silu", f"{given['activation']} in the radial network"),
        (len(given["activation_factor"]) != 1, "different activations in radial network and readout"),
        (list(given["readouts"]) != wanted, f"readouts {given['readouts']}"),
        (len(set(given["correlation"])) != 1, f"orders that differ by layer: {given['correlation']}"),
        (len(set(given["neighbors"])) != 1, "numbers of neighbours that differ by layer"),
        (not _natural(given["harmonics"], 1), f"harmonics {given['harmonics']}"),
        (
            not all(_natural(text, widest[0].mul) for text in (*given["features"], *given["messages"])),
            f"features {given['features']} with messages {given['messages']}",
        ),
        (
            any(one != widest for one in features[:-1]) or (not single and len(features[-1]) != 1),
            f"features that change from layer to layer as {given['features']}",
        ),
    ]
    for holds, what in problems:
        if holds:
            raise EquicError(
                f"the `mace` preset cannot express {what}",
                help=f"it expresses ScaleShiftMACE with {_AGNOSTIC} or {_RESIDUAL} first and the latter after, "
                "one head, silu, Bessel functions",
            )


def _natural(text: str, mul: int) -> bool:
    """Whether irreps are mul copies of 0e, 1o, 2e, ... without gaps."""
    return [(block.mul, block.l, block.p) for block in Irreps.parse(text)] == [
        (mul, l, (-1) ** l) for l in range(len(Irreps.parse(text)))
    ]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
