"""A warning where atoms are closer than a model has ever seen them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from equic.runtime.data.distances import pair_name
from equic.runtime.errors import EquicError
from numpy.typing import NDArray

Warn = Literal["once", "always", "never"]

# Vibrations beyond those of the training set are no news: only distances shorter by more than this part are.
_MARGIN = 0.05


class OutsideRangeWarning(UserWarning):
    """Atoms came closer than in the training data: the model extrapolates."""


class DistanceWatch:
    """Compares distances with the shortest of training, and warns.

    Args:
        species: the model's, in its order.
        closest: {"C-H": 1.08}, Å; species of a pair in alphabetical order.
        warn: `once` for every pair of species, `always`, or `never`.

    Raises:
        EquicError: another word for `warn`.
    """

    def __init__(self, species: Sequence[str], closest: Mapping[str, float], warn: Warn) -> None:
        if warn not in ("once", "always", "never"):
            raise EquicError(f"`warn: {warn}` is not known", help="once, always or never")
        self._species, self._closest, self._warn = tuple(species), dict(closest), warn
        limits = [[closest.get(pair_name(a, b), np.inf) for b in species] for a in species]
        self._limits = (1.0 - _MARGIN) * np.array(limits)

    def look(
        self, species: NDArray[np.int64], lengths: NDArray[np.float64], edges: NDArray[np.int64]
    ) -> None:
        """Warn of every pair of species with a distance below its limit (an `OutsideRangeWarning` each).

        Shapes: species [N] places in the model's list, lengths [E] Å, edges [2, E]
        """
        if self._warn == "never":
            return
        first, second = species[edges]
        below = lengths < self._limits[first, second]
        if not below.any():
            return
        shortest: dict[tuple[int, int], float] = {}
        for a, b, length in zip(first[below], second[below], lengths[below], strict=True):
            pair = (min(a, b), max(a, b))
            shortest[pair] = min(float(length), shortest.get(pair, np.inf))
        for (a, b), length in sorted(shortest.items()):
            name = pair_name(self._species[a], self._species[b])
            seen = self._closest.get(name)
            known = "never met within the cutoff" if seen is None else f"were never below {seen:.2f} Å"
            warnings.warn(
                f"{name} are {length:.2f} Å apart, and in training they {known}: the model extrapolates",
                OutsideRangeWarning,
                stacklevel=5,
            )
            if self._warn == "once":
                self._limits[a, b] = self._limits[b, a] = 0.0
