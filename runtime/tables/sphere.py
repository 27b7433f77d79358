"""Grids on the sphere, and real harmonics at their points."""

from __future__ import annotations

from functools import cache

import numpy as np

from .spherical import harmonic_polynomials, monomials
from .wigner import Array


@cache
def gauss_grid(degree: int) -> tuple[Array, Array]:
    """The smallest product grid that integrates polynomials of this degree exactly: points and weights.

    Gauss-Legendre in the cosine of the angle to the polar axis y, degree // 2 + 1 nodes, times degree + 1 equal
    azimuths; the weights sum to 1, so sums are means over the sphere.

    Shapes:    -> [point, 3], [point] float64
    """
    n_b, n_a = degree // 2 + 1, degree + 1
    y, w = np.polynomial.legendre.leggauss(n_b)
    angle = 2 * np.pi * np.arange(n_a) / n_a
    r = np.sqrt(1 - y**2)
    points = np.stack(
        [np.outer(r, np.sin(angle)), np.outer(y, np.ones(n_a)), np.outer(r, np.cos(angle))], axis=-1
    )
    return points.reshape(-1, 3), np.repeat(w / (2 * n_a), n_a)


def harmonics_at(l: int, points: Array) -> Array:
    """Y_l at unit vectors, component normalised: [point, 2l + 1]."""
    products = np.stack(
        [
            np.prod(points[:, list(name)], axis=1) if name else np.ones(len(points))
            for name in monomials(3, l)
        ],
        axis=1,
    )
    return products @ harmonic_polynomials(l)
