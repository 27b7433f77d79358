"""How outputs move under the group: brought back from transformed structures, they should be what they were."""

import numpy as np
from equic.runtime.irreps import Irreps
from equic.runtime.plan import Output
from equic.runtime.tables.wigner import wigner_D
from numpy.typing import NDArray

Array = NDArray[np.float64]


def turned_back(output: Output, matrices: Array, values: Array) -> Array:
    """g_k^-1 z_k: values of structures that each of these orthogonal matrices was applied to, brought back.

        numbers: z;   irreps: D(g)^T z;   matrices: g^T T g, and its negative where a pseudotensor is reflected

    Shapes:    matrices [K, 3, 3], values [K, rows, *output.shape] -> as the values
    """
    proper = matrices * np.linalg.det(matrices)[:, None, None]
    reflected = np.linalg.det(matrices) < 0
    irreps = Irreps.parse(output.rep)
    if irreps.group != "O(3)":
        return values
    if output.form == "cartesian":
        back = np.einsum("kia,krij,kjb->krab", matrices, values, matrices)
        return np.where(reflected[:, None, None, None], irreps[0].p * back, back)
    flat = values.reshape(*values.shape[:2], irreps.dim)
    parts = []
    for block in irreps:
        part = flat[..., block.slice].reshape(*flat.shape[:2], block.size, block.mul)
        D = wigner_D(block.l, proper) * np.where(reflected, block.p, 1.0)[:, None, None]
        parts.append(np.einsum("kmn,krmu->krnu", D, part).reshape(*flat.shape[:2], block.dim))
    return np.concatenate(parts, axis=-1).reshape(values.shape)
