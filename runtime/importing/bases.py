"""How another program's couplings and symmetric powers are written in ours."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from equic.runtime.errors import EquicError
from equic.runtime.tables.symmetric import symmetric_basis
from equic.runtime.tables.wigner import wigner_3j
from numpy.typing import NDArray

Array = NDArray[np.float64]
Irrep = tuple[int, int]

# What a change of basis may leave over, of the norm of what is changed, by the precision in which the peer keeps
# its tables.
TOLERANCES = {"float64": 1e-12, "float32": 1e-6}


def precision_of(arrays: Mapping[str, Any]) -> str:
    """The precision in which the peer keeps its tables and weights: `float64` where the arrays do not say."""
    found = str(arrays["dtype"]) if "dtype" in arrays else "float64"
    if found not in TOLERANCES:
        raise EquicError(
            f"the peer's model is kept in {found}", help="convert it to float32 or float64 first"
        )
    return found


def coupling_factor(arrays: Mapping[str, Any], path: tuple[int, int, int]) -> float:
    """The factor f with `their coupling = f sqrt(2 l3 + 1) w3j(l1, l2, l3)`: a sign, for e3nn of any version.

    Raises:
        EquicError: the arrays have no such coupling, or it is no multiple of ours.
    """
    key = "coupling/{}_{}_{}".format(*path)
    theirs = np.asarray(_get(arrays, key), dtype=np.float64)
    ours = wigner_3j(*path) * math.sqrt(2 * path[2] + 1)
    if theirs.shape != ours.shape:
        raise EquicError(f"`{key}` has shape {theirs.shape}, not {ours.shape}")
    factor = float((theirs * ours).sum() / (ours * ours).sum())
    _check_rest(theirs - factor * ours, theirs, f"`{key}`", precision_of(arrays))
    return factor


def power_map(arrays: Mapping[str, Any], blocks: tuple[Irrep, ...], target: Irrep, degree: int) -> Array:
    """The matrix M with `their polynomial e = sum_p M_pe our polynomial p`; our weights are M times theirs.

    Their basis may be larger than the space (paths that are equal as polynomials), or smaller.

    Shapes: -> [our paths, their paths]; no rows where there is no such polynomial.

    Raises:
        EquicError: the arrays have no such basis, or it leaves the space that ours spans.
    """
    basis = symmetric_basis(blocks, target, degree)
    theirs, names = _polynomials(arrays, f"symmetric/{target[0]}_{degree}", blocks, target, degree)
    place = {name: i for i, name in enumerate(names)}
    ours = np.zeros((len(names), len(basis.allowed), 2 * target[0] + 1))
    for name, row in zip(basis.monomials, basis.coefficients, strict=True):
        if name in place:
            ours[place[name]] = row
        elif theirs.size and np.any(row):
            place[name] = len(place)
            ours = np.concatenate((ours, row[None]))
    theirs = np.concatenate((theirs, np.zeros((len(ours) - len(theirs), *theirs.shape[1:]))))
    # as symmetric tensors: a coefficient is spread over the orderings of its monomial
    orderings = np.array([_orderings(name) for name in place], dtype=np.float64)
    change = np.einsum("tpm,tem,t->pe", ours, theirs, 1.0 / orderings, optimize=True) / (2 * target[0] + 1)
    rest = theirs - np.einsum("tpm,pe->tem", ours, change, optimize=True)
    what = f"the symmetric powers of degree {degree} to l = {target[0]}"
    _check_rest(rest, theirs, what, precision_of(arrays))
    return change


def _polynomials(
    arrays: Mapping[str, Any], key: str, blocks: tuple[Irrep, ...], target: Irrep, degree: int
) -> tuple[Array, list[tuple[int, ...]]]:
    """A sparse tensor [component, size, ..., size, path] as coefficients [monomial, path, component].

    The peer's features have every degree up to its highest; those that `blocks` leave out must not occur.
    """
    components, shape = 2 * target[0] + 1, tuple(int(n) for n in _get(arrays, f"{key}/shape"))
    size = shape[1] if len(shape) == degree + 2 else 0
    if shape[:-1] != (components, *([size] * degree)) or any((l + 1) ** 2 > size for l, _ in blocks):
        raise EquicError(f"`{key}` has shape {shape}, which is no basis of degree {degree} for {blocks}")
    at = np.stack(np.unravel_index(np.asarray(_get(arrays, f"{key}/index")), shape), axis=1)
    place = np.full(size, -1)
    start = 0
    for l, _ in blocks:
        place[l * l : (l + 1) ** 2] = np.arange(start, start + 2 * l + 1)
        start += 2 * l + 1
    factors = place[at[:, 1:-1]]
    if (factors < 0).any():
        raise EquicError(f"`{key}` reads degrees that the plan's power does not: {[l for l, _ in blocks]}")
    names, rows = np.unique(np.sort(factors, axis=1), axis=0, return_inverse=True)
    result = np.zeros((len(names), shape[-1], components))
    values = np.asarray(_get(arrays, f"{key}/value"), dtype=np.float64)
    np.add.at(result, (rows.ravel(), at[:, -1], at[:, 0]), values)
    return result, [tuple(int(i) for i in name) for name in names]


def _orderings(name: tuple[int, ...]) -> int:
    repeats = math.prod(math.factorial(count) for count in Counter(name).values())
    return math.factorial(len(name)) // repeats


def _check_rest(rest: Array, whole: Array, what: str, precision: str) -> None:
    scale = float(np.linalg.norm(whole))
    if scale and float(np.linalg.norm(rest)) > TOLERANCES[precision] * scale:
        raise EquicError(
            f"{what} of the peer's model are not in the span of ours: "
            f"{np.linalg.norm(rest) / scale:.1e} of their norm is left over"
        )


def _get(arrays: Mapping[str, Any], key: str) -> Any:
    if key not in arrays:
        raise EquicError(f"the arrays have no table `{key}`")
    return arrays[key]
