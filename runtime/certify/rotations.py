"""Rotations of space: Haar samples, and steps along the group."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def haar_rotations(count: int, rng: np.random.Generator) -> Array:
    """Rotations drawn uniformly from SO(3), from normal quaternions: [count, 3, 3].

    Reference: shoemake1992uniform
    """
    w, x, y, z = (q := rng.normal(size=(4, count))) / np.linalg.norm(q, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def rotation_about(vector: Array) -> Array:
    """The rotation by |vector| about vector (Rodrigues' formula): [3] -> [3, 3]."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * K + (1.0 - np.cos(angle)) * (K @ K)
