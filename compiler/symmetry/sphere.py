"""Grids on the sphere: which are exact for what, and how far the others are from being equivariant.

A grid has Gauss-Legendre nodes in the cosine of the polar angle and equally spaced azimuths. With n_b and n_a of
them its sums are the integral of every polynomial of degree at most 2 n_b - 1 and n_a - 1.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

MAX_GRID = 64  # degree
_SAMPLES, _ROTATIONS, _CHANNELS = 64, 16, 4


def grid_for(degree: int) -> tuple[int, int]:
    """The smallest (n_b, n_a) whose sums are exact for polynomials of this degree on the sphere.

    2 n_b - 1 >= degree, n_a - 1 >= degree. With one node or one azimuth less some product of harmonics whose
    degrees add up to `degree` has a wrong sum.

    Example:
        >>> grid_for(6)
        (4, 7)
    """
    return degree // 2 + 1, degree + 1


@lru_cache(maxsize=64)
def grid_error(
    inputs: tuple[tuple[int, ...], ...],
    out: tuple[int, ...],
    through: tuple[str, ...],
    degree: int,
    network: bool = False,
) -> float:
    """How far sums over a grid are from equivariance, relative, RMS over random functions and rotations.

    One random function of the degrees in `inputs`, of variance 1 at every point, each degree with an equal part,
    is taken through the functions named in `through` (channels mixed at random between them, and before the first
    in a `network`); or two functions
    with unit coefficients are multiplied. Sums over the grid of `degree`, and over rotated copies of it, bring
    the result to the degrees `out`, scaled as the layers scale them: to sum over a rotated grid is to rotate the
    function, apply the op, and rotate back. The error is the standard deviation over rotations, relative to the
    RMS. Deterministic: the random numbers have one seed.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    points, weights = _grid(degree)
    lmax = max(max(one) for one in (*inputs, out))
    turns, upper = np.linalg.qr(rng.normal(size=(_ROTATIONS, 3, 3)))
    turns = turns * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None]  # Haar, reflections among them
    harmonics = _harmonics(lmax, points @ turns)  # [R, P, (lmax + 1)^2]
    value: Any = 1.0
    for degrees in inputs:
        columns = _columns(degrees)
        x = rng.normal(size=(len(columns), _SAMPLES * _CHANNELS))
        if len(inputs) == 1:
            x = x / np.sqrt([(2 * l + 1) * len(degrees) for l in degrees for _ in range(2 * l + 1)])[:, None]
        value = value * (harmonics[..., columns] @ x)
    for k, name in enumerate(through):
        if k or network:
            mixing = rng.normal(size=(_SAMPLES, _CHANNELS, _CHANNELS)) / np.sqrt(_CHANNELS)
            parts = value.reshape(*value.shape[:2], _SAMPLES, _CHANNELS)
            value = np.einsum("rpsc,scd->rpsd", parts, mixing, optimize=True).reshape(value.shape)
        value = unit_moment(name)(value)
    columns = _columns(out)
    size = [np.sqrt(2 * l + 1) if len(inputs) == 1 else _product_scale(inputs, l) for l in out]
    scale = [c for c, l in zip(size, out, strict=True) for _ in range(2 * l + 1)]
    found = np.einsum(
        "p,rpk,rpx->rkx", weights, harmonics[..., columns] * np.array(scale), value, optimize=True
    )
    return float(np.sqrt(found.var(axis=0).mean() / np.square(found).mean()))


def _grid(degree: int) -> tuple[Array, Array]:
    """Points [P, 3], polar axis last, and weights [P] with sum 1."""
    import numpy as np

    n_b, n_a = grid_for(degree)
    z, w = np.polynomial.legendre.leggauss(n_b)
    angle = 2 * np.pi * np.arange(n_a) / n_a
    r = np.sqrt(1 - z**2)
    points = np.stack(
        [np.outer(r, np.cos(angle)), np.outer(r, np.sin(angle)), np.outer(z, np.ones(n_a))], axis=-1
    )
    return points.reshape(-1, 3), np.repeat(w / (2 * n_a), n_a)


def _product_scale(inputs: tuple[tuple[int, ...], ...], l3: int) -> float:
    """What brings degree l3 of a product of functions with unit coefficients to unit variance.

    The inverse square is sum_(l1,l2) (2 l1 + 1)(2 l2 + 1) (l1 l2 l3; 0 0 0)^2, and the squared 3j symbol half the
    integral of three Legendre polynomials.
    """
    import numpy as np

    first, second = inputs
    z, w = np.polynomial.legendre.leggauss((max(first) + max(second) + l3) // 2 + 1)
    series = np.polynomial.legendre.legvander(z, max(*first, *second, l3))
    terms = [
        (2 * a + 1) * (2 * b + 1) * (w * series[:, a] * series[:, b] * series[:, l3]).sum() / 2
        for a in first
        for b in second
    ]
    return float(sum(terms) ** -0.5)


def _columns(degrees: tuple[int, ...]) -> list[int]:
    return [l * l + m for l in degrees for m in range(2 * l + 1)]


def _harmonics(lmax: int, points: Array) -> Array:
    """Real harmonics with mean square 1 on the sphere, in some basis of each degree: [..., (lmax + 1)^2]."""
    import numpy as np

    x, y, z = np.moveaxis(points, -1, 0)
    turn = x + 1j * y  # r^m e^(i m angle), whose powers carry the sin^m of the Legendre functions
    result = np.zeros((*x.shape, (lmax + 1) ** 2))
    top = np.ones_like(z)
    for m in range(lmax + 1):
        if m:
            top = top * np.sqrt((2 * m + 1) / (2 * m))
        below, here = np.zeros_like(z), top
        wave = turn**m
        for l in range(m, lmax + 1):
            if l > m:
                a = np.sqrt((4 * l * l - 1) / (l * l - m * m))
                b = np.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1)) if l > m + 1 else 0.0
                below, here = here, a * (z * here - b * below)
            factor = np.sqrt(2.0) if m else 1.0
            result[..., l * l + l + m] = factor * here * wave.real
            if m:
                result[..., l * l + l - m] = factor * here * wave.imag
    return result


def unit_moment(name: str) -> Any:
    """An activation with unit second moment under N(0, 1)."""
    import numpy as np

    functions: dict[str, Any] = {
        "silu": lambda x: x / (1 + np.exp(-x)),
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0.0),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "softplus": lambda x: np.logaddexp(x, 0.0),
        "shifted_softplus": lambda x: np.logaddexp(x, 0.0) - math.log(2.0),
        "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2.0))) / 2,
        "smooth_leaky_relu": lambda x: x * (0.2 + 0.8 / (1 + np.exp(-x))),
        "abs": np.abs,
        "identity": lambda x: x,
    }
    f = functions[name]
    x, w = np.polynomial.hermite_e.hermegauss(60)
    factor = np.sqrt(w.sum() / (w * f(x) ** 2).sum())
    return lambda value: factor * f(value)
