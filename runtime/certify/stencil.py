"""Central differences of fourth order.

f'(0) = [f(-2h) - 8 f(-h) + 8 f(h) - f(2h)] / 12 h + O(h^4)
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES = np.array([-2.0, -1.0, 1.0, 2.0])
WEIGHTS = np.array([1.0, -8.0, 8.0, -1.0]) / 12.0

# Steps to try, in units of the argument's natural length (1 Å, or 1 in phase space). Which is best depends on
# how stiff the model is, and on whether a pair happens to cross the cutoff between the nodes; agreement at one
# of them cannot be an accident.
STEPS: dict[str, tuple[float, ...]] = {"float64": (2e-3, 3e-4), "float32": (3e-2, 1e-2)}


def derivative(values: Array, step: float) -> Array:
    """The derivative from values at step * NODES, which is the first axis: [4, ...] -> [...]."""
    return np.tensordot(WEIGHTS, values, axes=1) / step


def best_step(error: Callable[[float], float], steps: Sequence[float]) -> tuple[float, float]:
    """The smallest error over the steps, and its step; NaN only if all are."""
    found = [(error(step), step) for step in steps]
    return min(found, key=lambda pair: (np.isnan(pair[0]), pair[0]))
