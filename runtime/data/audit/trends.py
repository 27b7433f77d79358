"""Do two columns of numbers, predicted and found, tell one story? Rank correlation, and how much larger one is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FEWEST = 10  # pairs below which nothing is said
_SIGNIFICANT = 4.0  # standard errors of Fisher's z
_STRONG = 0.5  # rank correlation that makes the ratio worth quoting


@dataclass(frozen=True, slots=True)
class Trend:
    """How found values follow predicted ones.

    Attributes:
        pairs: how many.
        rank: Spearman's rank correlation, from -1 to 1.
        ratio: median of |found / predicted| over the larger half of the predictions.
        likeness: of the slopes at both ends, from -1 to 1; near 1 the prediction cannot be far off.
    """

    pairs: int
    rank: float
    ratio: float
    likeness: float = 0.0

    @property
    def follows(self) -> int:
        """1 where found values clearly rise with predicted ones, -1 where they clearly fall, else 0."""
        if self.pairs < _FEWEST or abs(self.rank) < _STRONG:
            return 0
        # Fisher's transform: z of independent columns is normal with this width
        z = math.atanh(min(abs(self.rank), 1 - 1e-12)) * math.sqrt(self.pairs - 3)
        return int(math.copysign(1, self.rank)) if z > _SIGNIFICANT else 0

    @property
    def is_absent(self) -> bool:
        """Found values pay no heed to predictions that cannot be far off."""
        return self.pairs >= 2 * _FEWEST and self.likeness > 0.8 and abs(self.rank) < 0.25


def trend(predicted: Array, found: Array, likeness: float = 0.0) -> Trend | None:
    """The trend of [M] found values over [M] predicted ones; None where there are too few, or none vary.

    Example:
        >>> x = np.arange(1.0, 20.0)
        >>> trend(x, 3 * x)
        Trend(pairs=19, rank=1.0, ratio=3.0, likeness=0.0)
    """
    finite = np.isfinite(predicted) & np.isfinite(found)
    predicted, found = predicted[finite], found[finite]
    if len(predicted) < _FEWEST or np.ptp(predicted) == 0 or np.ptp(found) == 0:
        return None
    rank = float(np.corrcoef(_ranks(predicted), _ranks(found))[0, 1])
    large = np.abs(predicted) >= np.median(np.abs(predicted))
    large &= predicted != 0
    ratio = float(np.median(np.abs(found[large] / predicted[large])))
    return Trend(len(predicted), rank, ratio, likeness)


def _ranks(values: Array) -> Array:
    """Ranks from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]
