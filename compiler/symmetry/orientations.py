"""Sets of rotations and reflections to average over: finite groups, and quadratures of all rotations.

numpy is imported where it is needed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from .coupling import coupling
from .irreps import Irreps
from .sphere import unit_moment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Rows = tuple[tuple[float, ...], ...]  # matrices [3, 3], flat
FINITE = ("inversion", "octahedral", "full_octahedral", "icosahedral", "full_icosahedral")
ALL = ("SO(3)", "O(3)")
GroupText = Literal[
    "inversion", "octahedral", "full_octahedral", "icosahedral", "full_icosahedral", "SO(3)", "O(3)"
]
MOST_ELEMENTS, MOST_DEGREE = 120, 8
_SAMPLES, _TURNS, _CHANNELS = 24, 8, 6

_MINUS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0)


class NotAGroupError(ValueError):
    """Matrices that generate no small group of rotations and reflections."""


def generators_of(name: str) -> Rows:
    """Matrices that generate a finite group of `FINITE`."""
    if name == "inversion":
        return (_MINUS,)
    quarter, third = (
        (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    )
    # an icosahedron with vertices at the even permutations of (0, ±1, ±golden)
    turns = (
        _turn((0.0, 1.0, (1 + math.sqrt(5)) / 2), 2 * math.pi / 5) if "icosa" in name else quarter,
        third,
    )
    return (*turns, _MINUS) if name.startswith("full") else turns


def _turn(axis: tuple[float, float, float], angle: float) -> tuple[float, ...]:
    """The rotation about an axis, flat."""
    import numpy as np

    n = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -n[2], n[1]], [n[2], 0, -n[0]], [-n[1], n[0], 0]])
    matrix = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return tuple(float(one) for one in matrix.ravel())


@lru_cache(maxsize=32)
def closed(generators: Rows) -> Rows:
    """All products of some matrices, the identity first.

    Raises:
        NotAGroupError: one is not orthogonal, or there are more than `MOST_ELEMENTS` products.
    """
    import numpy as np

    made = [np.eye(3)]
    steps = [np.array(one).reshape(3, 3) for one in generators]
    for one in steps:
        if np.abs(one @ one.T - np.eye(3)).max() > 1e-9:
            raise NotAGroupError("a generator is no rotation or reflection: its transpose is not its inverse")
    for one in made:  # grows meanwhile
        for step in steps:
            new = step @ one
            if min(float(np.abs(new - old).max()) for old in made) > 1e-6:
                made.append(new)
        if len(made) > MOST_ELEMENTS:
            raise NotAGroupError(f"these matrices have more than {MOST_ELEMENTS} products")
    return tuple(tuple(float(x) for x in (np.round(one, 15) + 0.0).ravel()) for one in made)


@lru_cache(maxsize=16)
def quadrature(degree: int, improper: bool) -> tuple[Rows, tuple[float, ...]]:
    """Rotations and weights that integrate the matrix elements of every irrep up to a degree over SO(3) or O(3).

    Equally spaced first and third Euler angles, degree + 1 of each, and Gauss-Legendre nodes of the cosine of the
    second. Of O(3) each rotation comes with its negative.
    """
    import numpy as np

    count = degree + 1
    cosines, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    rows, found = [], []
    for z, w in zip(cosines, weights, strict=True):
        tilt = np.array(_turn((1.0, 0.0, 0.0), math.acos(z))).reshape(3, 3)
        for a in range(count):
            first = np.array(_turn((0.0, 0.0, 1.0), 2 * math.pi * a / count)).reshape(3, 3)
            for b in range(count):
                last = np.array(_turn((0.0, 0.0, 1.0), 2 * math.pi * b / count)).reshape(3, 3)
                for sign in (1.0, -1.0) if improper else (1.0,):
                    rows.append(tuple(float(x) for x in (sign * first @ tilt @ last).ravel()))
                    found.append(float(w) / (2 * count**2 * (2 if improper else 1)))
    return tuple(rows), tuple(found)


def representation(irreps: Irreps, matrices: Array) -> Array:
    """How one copy of every block moves: [..., 3, 3] -> [..., dim, dim], block diagonal."""
    import numpy as np

    signs = np.sign(np.linalg.det(matrices))
    proper = matrices * signs[..., None, None]
    lmax = irreps.lmax
    turned = [np.ones((*matrices.shape[:-2], 1, 1))]
    for l in range(1, lmax + 1):
        w = coupling(l - 1, 1, l)
        half = np.einsum("abm,...ac->...bcm", w, turned[-1], optimize=True)
        turned.append((2 * l + 1) * np.einsum("...bcm,...bd,cdn->...mn", half, proper, w, optimize=True))
    size, at = sum(block.irrep.dim for block in irreps), 0
    result = np.zeros((*matrices.shape[:-2], size, size))
    for block in irreps:
        n = block.irrep.dim
        part = turned[block.irrep.l]
        if block.irrep.p < 0:
            part = part * signs[..., None, None]
        result[..., at : at + n, at : at + n] = part
        at += n
    return result


@lru_cache(maxsize=32)
def average_error(
    source: Irreps, out: Irreps, through: tuple[str, ...], degree: int, improper: bool
) -> float:
    """How far an average by `quadrature` is from equivariance, relative, RMS over random networks and features.

    Networks with the activations `through`, and weights and features from N(0, 1), take the components of `source`
    to those of `out`; the average over the quadrature is compared with those of turned features, turned back.
    Deterministic: the random numbers have one seed.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    rows, weights = quadrature(degree, improper)
    elements = np.array(rows).reshape(-1, 3, 3)
    turns, upper = np.linalg.qr(rng.normal(size=(_TURNS, 3, 3)))
    turns = turns * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None]
    if not improper:
        turns = turns * np.sign(np.linalg.det(turns))[:, None, None]
    moved = np.einsum("gij,kjl->kgil", elements, turns)
    into, back = representation(source, moved), representation(out, moved)
    x = rng.normal(size=(into.shape[-1], _SAMPLES, _CHANNELS))
    value = np.einsum("kgij,jsc->kgsic", into, x, optimize=True)
    value = value.reshape(*value.shape[:3], -1)
    for name in (*through, ""):
        width = back.shape[-1] * _CHANNELS if not name else 4 * _CHANNELS
        matrix = rng.normal(size=(_SAMPLES, value.shape[-1], width)) / math.sqrt(value.shape[-1])
        value = np.einsum("kgsi,sij->kgsj", value, matrix, optimize=True)
        value = unit_moment(name)(value) if name else value
    value = value.reshape(*value.shape[:3], back.shape[-1], _CHANNELS)
    mean = np.einsum("g,kgij,kgsic->ksjc", np.array(weights), back, value, optimize=True)
    return float(np.sqrt(mean.var(axis=0).mean() / np.square(mean).mean()))
