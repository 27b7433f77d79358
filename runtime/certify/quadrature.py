"""Averages over rotations, exact to a degree, and what a function of a rotation is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from equic.runtime.tables.wigner import wigner_D
from numpy.typing import NDArray

Array = NDArray[np.float64]
Irrep = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """Rotations [K, 3, 3] and positive weights [K] that sum to 1."""

    rotations: Array
    weights: Array


def rotation_rule(degree: int) -> Rule:
    """A rule that averages every entry of D^l(R), l <= degree, exactly.

        R = Rz(a) Ry(b) Rz(c):  a and c equispaced, degree + 1 each; cos b at Gauss-Legendre nodes,
        degree // 2 + 1

    Reference: domina2026symmetry, supplement IV
    """
    around = 2.0 * np.pi * np.arange(degree + 1) / (degree + 1)
    cosines, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    turns = _about_z(around)
    tilt = np.zeros((len(cosines), 3, 3))
    sines = np.sqrt(1.0 - cosines**2)
    tilt[:, 0, 0] = tilt[:, 2, 2] = cosines
    tilt[:, 0, 2], tilt[:, 2, 0], tilt[:, 1, 1] = sines, -sines, 1.0
    rotations = np.einsum("aij,bjk,ckl->abcil", turns, tilt, turns).reshape(-1, 3, 3)
    spread = np.broadcast_to(weights[None, :, None] / 2.0, (len(around), len(cosines), len(around)))
    return Rule(rotations, spread.reshape(-1) / len(around) ** 2)


def _about_z(angles: Array) -> Array:
    turns = np.zeros((len(angles), 3, 3))
    turns[:, 0, 0] = turns[:, 1, 1] = np.cos(angles)
    turns[:, 1, 0] = np.sin(angles)
    turns[:, 0, 1] = -turns[:, 1, 0]
    turns[:, 2, 2] = 1.0
    return turns


def character_content(
    rule: Rule, plain: Array, reflected: Array, lmax: int
) -> tuple[dict[Irrep, float], float]:
    """What share of a function u on O(3) lies in each irrep: B of (l, p) for l <= lmax, and the mean of |u|^2.

        B_(l,p) = (2l + 1) / 4 sum_mn |c+_mn + p c-_mn|^2,    c±_mn = int D^l_mn(R^-1) u(±R) dR

    Shapes:    plain u(R) and reflected u(-R) [K, ...]; squares are summed over what follows K
    Reference: domina2026symmetry, section II; exact where u has no content above the rule's degree - lmax
    """
    pair = [part.reshape(len(rule.weights), -1) for part in (plain, reflected)]
    norm = 0.5 * sum(float(rule.weights @ np.square(part).sum(axis=1)) for part in pair)
    content: dict[Irrep, float] = {}
    for l in range(lmax + 1):
        weighted = wigner_D(l, rule.rotations).transpose(0, 2, 1) * rule.weights[:, None, None]
        flat = weighted.reshape(len(rule.weights), -1)
        upper, lower = (flat.T @ part for part in pair)
        for p in (1, -1):
            content[l, p] = (2 * l + 1) / 4.0 * float(np.square(upper + p * lower).sum())
    return content, norm


def variance(weights: Array, values: Array) -> tuple[Array, Array]:
    """The weighted mean over the first axis, and the weighted mean square about it, of each number."""
    # about the first value: the numbers may be large beside what they vary by
    shifted = values - values[0]
    mean = np.tensordot(weights, shifted, axes=1)
    return mean + values[0], np.tensordot(weights, np.square(shifted - mean), axes=1)


def share_of(content: Mapping[Irrep, float], norm: float) -> dict[str, float]:
    """Shares of the whole by name (`1o`), and `above` for what is in no irrep that was looked at."""
    if norm <= 0.0:
        return {}
    named = {f"{l}{'e' if p > 0 else 'o'}": value / norm for (l, p), value in content.items()}
    return {**named, "above": max(0.0, 1.0 - sum(named.values()))}
