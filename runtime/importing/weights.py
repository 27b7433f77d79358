"""What the importers share: the peer's parameters as tensors, and weights that fit a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from equic.runtime.model import Model
from torch import Tensor


def stored(arrays: Mapping[str, Any]) -> Callable[[str], Tensor]:
    """The peer's parameters by name, `state/NAME` of its dump, as float64 tensors."""

    def get(name: str) -> Tensor:
        key = f"state/{name}"
        if key not in arrays:
            raise EquicError(f"the arrays have no weights `{key}`")
        return torch.from_numpy(np.array(arrays[key], dtype=np.float64))

    return get


def fitting(found: dict[str, Tensor], model: Model, help: str) -> dict[str, Tensor]:
    """The weights, where they are those of `model` by name and shape.

    Raises:
        EquicError: a weight without a counterpart, or of another shape.
    """
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    for name in sorted(shapes.keys() ^ found.keys()):
        raise EquicError(f"the weights `{name}` have no counterpart", help=help)
    for name, value in found.items():
        if tuple(value.shape) != shapes[name]:
            raise EquicError(
                f"`{name}` takes shape {shapes[name]}, the peer's weights give {tuple(value.shape)}",
                help=help,
            )
    return found


def fill(model: Model, weights: Mapping[str, Tensor], statistics: Mapping[str, Any]) -> None:
    """Put weights and statistics into a model, in place; `scale` is 1 and `shift` 0 where they are not given."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(weights[name])
        for name, number in (("scale", 1.0), ("shift", 0.0)):
            model.statistics.get_buffer(name).fill_(number)
    model.set_statistics(statistics)


def scale_kind(config: Mapping[str, Any]) -> str:
    """Whether the peer's energies have one scale or one for each species, as a head says it."""
    return "one" if len(set(config["scales"])) == 1 else "species"


def scales(config: Mapping[str, Any], order: Sequence[int]) -> float | list[float]:
    """The peer's scales of energies as the statistic of a model with such a head."""
    if scale_kind(config) == "one":
        return float(config["scales"][0])
    return [float(config["scales"][i]) for i in order]


def species_order(known: Sequence[str], model: Model) -> list[int]:
    """Where the peer, which knows these species, keeps each species of the plan.

    Raises:
        EquicError: it has none of them.
    """
    species = list(model.plan.system.get("species", ()))
    for symbol in species:
        if symbol not in known:
            raise EquicError(
                f"the peer's model has no weights for {symbol}", help=f"it knows {', '.join(known)}"
            )
    return [list(known).index(symbol) for symbol in species]


def radial_ratios(arrays: Mapping[str, Any], model: Model, help: str) -> Tensor:
    """The peer's radial functions, `radial/values` at `radial/lengths`, by ours: one constant each.

    Shapes: -> [count]

    Raises:
        EquicError: they are no multiples of ours.
    """
    lengths = torch.from_numpy(np.array(arrays["radial/lengths"], dtype=np.float64))[:, None]
    theirs = np.array(arrays["radial/values"], dtype=np.float64)
    ours = model.layer("radial").to(torch.float64)(lengths).detach().numpy()
    if ours.shape != theirs.shape:
        raise EquicError(
            f"the plan has {ours.shape[1]} radial functions, the peer {theirs.shape[1]}", help=help
        )
    ratios = (theirs * ours).sum(0) / (ours * ours).sum(0)
    rest = np.abs(theirs - ours * ratios).max() / np.abs(theirs).max()
    if rest > (1e-10 if str(arrays.get("dtype", "float64")) == "float64" else 1e-6):
        raise EquicError(
            f"the peer's radial functions are no multiples of ours: {rest:.1e} is left over", help=help
        )
    return torch.from_numpy(ratios)
