"""Weights of mace-torch for models of the `mace` preset.

The two programs compute the same functions from differently arranged numbers. All maps between the weights are
linear, and are made in torch, so that gradients by the peer's weights follow from ours. What they need:

- `config`: JSON, the settings (those of `MaceConfig`);
- `state/NAME`: the peer's parameters, under its own names;
- `coupling/l1_l2_l3`: the couplings of its tensor products, [2 l1 + 1, 2 l2 + 1, 2 l3 + 1];
- `symmetric/L_DEGREE/{shape,index,value}`: the bases of its symmetric powers, flat and sparse; in shape
  [2L + 1, (lmax + 1)^2, ..., (lmax + 1)^2, paths] with `DEGREE` axes of features.

Nothing is assumed about signs and bases: they are compared with ours, and refused where they do not fit.
Reference: batatia2022mace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from equic.runtime.errors import EquicError
from equic.runtime.irreps import Irreps
from equic.runtime.layers.activations import second_moment_factor
from equic.runtime.layers.linear import Linear
from equic.runtime.layers.power import Power
from equic.runtime.model import Model, module_name
from equic.runtime.plan import Step
from torch import Tensor

from .bases import coupling_factor, power_map
from .mace_config import BASES, DISTANCES, MaceConfig, mace_spec, read_config
from .weights import fitting, stored

# a dict, or what `numpy.load` gives for an npz
Arrays = Mapping[str, Any]


def import_mace(arrays: Arrays, model: Model) -> None:
    """Fill the weights and statistics of a model of the `mace` preset, in place.

    Args:
        arrays: as the module's text says; floats of any kind.
        model: of the plan that `mace_spec` leads to; its species may be fewer, and in another order.

    Raises:
        EquicError: the peer's model is not one that the preset expresses, or not of the settings of `model`.
    """
    config = read_config(arrays)
    weights = mace_weights(arrays, model)
    order = _species_order(config, model)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(weights[name])
    model.set_statistics(
        {
            "average_neighbors": config.neighbors,
            "atomic_energies": [config.atomic_energies[config.place][i] for i in order],
            "scale": config.scales[config.place],
            "shift": config.shifts[config.place],
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
    config = read_config(arrays)
    get = stored(arrays) if state is None else state.__getitem__
    read: set[str] = set()

    def getting(name: str) -> Tensor:
        read.add(name)
        return get(name)

    found = fitting(_Translation(config, arrays, model, getting).weights(), model, _COMPILE)
    there = {name.removeprefix("state/") for name in arrays if name.startswith("state/")}
    # powers to degrees that no output reads are left out with the degrees
    for name in sorted(name for name in there - read if not name.startswith("products.")):
        raise EquicError(f"our layers have no place for the peer's weights `{name}`")
    return found


_COMPILE = "compile the spec that `mace_spec` gives for these arrays"


class _Translation:
    """One model of the peer on its way to one of ours."""

    def __init__(
        self, config: MaceConfig, arrays: Arrays, model: Model, get: Callable[[str], Tensor]
    ) -> None:
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
        if config.dense(t):
            count = self.get(f"{there}.density_fn.layer0.weight")
            self._put_linear(f"{here}.crowd.bare", {0: count})
        if t == config.layers - 1 or config.read_everywhere:
            self._readout(t)

    def _readout(self, t: int) -> None:
        """The maps of the chosen head; the peer normalises its last one by the widths of all heads."""
        config, here = self.config, f"layer{t + 1}"
        key, chosen, heads = f"readouts.{t if config.read_everywhere else 0}", config.place, len(config.heads)
        if t < config.layers - 1 or not config.readout:
            flat = self.get(f"{key}.linear.weight")
            self._put_linear(f"{here}.energy", {0: flat.view(-1, heads)[:, chosen : chosen + 1]})
            return
        width = config.readout[0]
        first = self.get(f"{key}.linear_1.weight").view(-1, heads, width)[:, chosen]
        second = self.get(f"{key}.linear_2.weight").view(heads, width, heads)[chosen, :, chosen, None]
        self._put_linear(f"{here}.energy.read1", {0: first})
        self._put_linear(f"{here}.energy", {0: second * (self.gain / math.sqrt(heads))})

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
            self._put(f"{here}.weights" if config.ends else f"{here}.weights.bare", f"weights.{k}", weight)
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
        if t < self.config.layers - 1 or max(block.l for block in layer.out) > highest:
            _expect(
                f"the degree of the features of layer {t + 1}", max(block.l for block in layer.out), highest
            )
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
        config = self.config
        ended = "radial.bare" in self.steps
        radial = self._step("radial.bare" if ended else "radial").params
        layers = sum(name.startswith("layer") and name.endswith(".power") for name in self.steps)
        _expect("the number of layers", layers, config.layers)
        _expect("the cutoff", float(radial["cutoff"]), config.cutoff)
        _expect("the number of radial functions", int(radial["count"]), config.bessel)
        _expect("the radial basis", radial["basis"], BASES[config.radial_basis])
        shape = radial["envelope"] if "envelope" not in self.steps else self._step("envelope").params["shape"]
        _expect("the order of the envelope", int((shape or {}).get("polynomial", 0)), config.envelope)
        _expect(
            "what the envelope ends",
            not any(name.endswith(".weights.bare") for name in self.steps),
            config.ends,
        )
        self._check_pairs()
        highest = int(self._step("harmonics").params["lmax"])
        if highest > config.lmax:  # fewer are left where nothing reads the messages of the highest degrees
            _expect("the degree of the harmonics", highest, config.lmax)
        for t in range(config.layers):
            name = f"layer{t + 1}.weights"
            network = self._step(name if config.ends else f"{name}.bare").params
            _expect("the radial network", tuple(network["widths"]), config.radial)
            _expect("the radial network's activation", network["act"], config.activation)
            _expect("the radial network's bias", bool(network["bias"]), False)

    def _check_pairs(self) -> None:
        """What depends on the two elements: the scale of distances, and the repulsion."""
        config = self.config
        moved = self.steps.get("lengths.transformed")
        form = "plain" if moved is None else moved.params["form"]
        _expect("the distance transform", form, DISTANCES[config.distance])
        zbl = self.steps.get("repulsion.pairs")
        _expect("the repulsion", zbl is not None, config.repulsion)
        if zbl is not None:
            _expect("the order of its envelope", zbl.params["envelope"], config.envelope)
            _expect("its strength", zbl.params["factor"], config.scales[config.place])
        for step in (moved, zbl):
            for symbol, radius in zip(
                self.model.plan.system["species"], step.params["radii"] if step else (), strict=False
            ):
                theirs = config.radii[config.species.index(symbol)]
                if abs(radius - theirs) > 1e-6 * radius:
                    _expect(f"the covalent radius of {symbol}", radius, theirs)


def _expect(what: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise EquicError(f"{what} is {ours} in the plan, but {theirs} in the peer's model", help=_COMPILE)


def _matches(source: str, out: str) -> list[tuple[Any, Any]]:
    """Pairs of blocks with equal irreps, in the peer's order: by the input, then the output."""
    return [(a, b) for a in Irreps.parse(source) for b in Irreps.parse(out) if a.irrep == b.irrep]


def _species_order(config: MaceConfig, model: Model) -> list[int]:
    """Where the peer keeps each species of the plan."""
    species = model.plan.system.get("species", ())
    for symbol in species:
        if symbol not in config.species:
            known = ", ".join(config.species)
            raise EquicError(f"the peer's model has no weights for {symbol}", help=f"it knows {known}")
    return [config.species.index(symbol) for symbol in species]


__all__ = ["import_mace", "mace_spec", "mace_weights"]
