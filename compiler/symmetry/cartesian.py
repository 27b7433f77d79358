"""Which representations are those of a Cartesian tensor, and the shape of its array of numbers."""

from __future__ import annotations

from .irreps import Irreps

# the degrees of each tensor of rank two; the parity is one for all of them
_MATRICES = ((0, 2), (2,), (0, 1, 2))


def cartesian_shape(irreps: Irreps) -> tuple[int, ...] | None:
    """The shape of the Cartesian tensor with these irreps, or None where there is none.

    One vector (`1o`, `1e`) is [3]; a matrix [3, 3] is symmetric (`0e+2e`), symmetric without trace (`2e`) or
    general (`0e+1e+2e`). A matrix that changes sign under inversion (`0o+2o`, ...) is a pseudotensor.

    Example:
        >>> [cartesian_shape(Irreps.parse(text)) for text in ("1o", "0e+2e", "0e", "2x1o", "0e+2o")]
        [(3,), (3, 3), None, None, None]
    """
    blocks = irreps.simplified().blocks
    if irreps.group != "O(3)" or any(block.mul != 1 for block in blocks):
        return None
    degrees = tuple(block.irrep.l for block in blocks)
    if degrees == (1,):
        return (3,)
    alike = len({block.irrep.p for block in blocks}) == 1
    return (3, 3) if alike and degrees in _MATRICES else None
