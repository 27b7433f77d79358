"""Labels of a structure: found under the names that the data uses, checked, in internal units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from equic.runtime.errors import DataError
from equic.runtime.irreps import Irreps
from equic.runtime.plan import Output, Plan
from numpy.typing import NDArray

from .words import did_you_mean

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]

SYMMETRIC_TENSOR = Irreps.parse("0e+2e")  # stored as a symmetric 3x3 matrix
_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))  # ASE's order: xx, yy, zz, yz, xz, xy


class LabelError(DataError):
    """A label that cannot be used; `problem` is one of missing, numbers, shape, finite, symmetric."""

    def __init__(self, problem: str, message: str, *, help: str | None = None) -> None:
        super().__init__(message, help=help)
        self.problem = problem


def output_of(target: str, plan: Plan) -> Output:
    """The type of a target.

    Raises:
        DataError: the model does not predict it.
    """
    if target not in plan.outputs:
        raise DataError(
            f"the data has labels for `{target}`, which `{plan.name}` does not predict",
            help=did_you_mean(target, plan.outputs, "its targets are"),
        )
    return plan.outputs[target]


def properties(atoms: Atoms) -> dict[str, Any]:
    """Everything a structure carries beside elements, positions and cell, by name.

    ASE's readers put what they recognise (energy, forces, stress, dipole, ...) into a calculator's
    results, and all else into `info` (one per structure) and `arrays` (one per atom); users look for a
    key in one place.
    """
    found = dict(atoms.calc.results) if atoms.calc is not None else {}
    found.update(atoms.info)
    found.update({key: value for key, value in atoms.arrays.items() if key not in ("numbers", "positions")})
    return found


def read_label(found: Mapping[str, Any], key: str, output: Output, atoms: int, where: str) -> Array:
    """The label under `key`, as float64 in the shape of its target, in the data's own units.

    Shapes: scalars [] per structure and [N] per atom; vectors [3] and [N, 3]; a symmetric tensor [3, 3]
        from
    3x3, 9 or 6 numbers (ASE's Voigt order xx, yy, zz, yz, xz, xy); any other representation [dim], [N,
    dim].

    Raises:
        LabelError: no such key, not numbers, not finite, another shape, or a tensor that is not symmetric.
    """
    if key not in found:
        help = did_you_mean(key, found, "its keys are")
        raise LabelError("missing", f"{where} has no `{key}`", help=help)
    try:
        value = np.array(found[key], dtype=np.float64)
    except (TypeError, ValueError):
        message = f"{where}: `{key}` is not made of numbers: {found[key]!r:.60}"
        raise LabelError("numbers", message) from None
    if Irreps.parse(output.rep) == SYMMETRIC_TENSOR:
        value = _symmetric(value, key, (atoms,) if output.index == "node" else (), where)
    else:
        dim = Irreps.parse(output.rep).dim
        shape = (() if output.index == "system" else (atoms,)) + (() if dim == 1 else (dim,))
        same_but_for_ones = value.size == np.prod(shape) and (dim == 1 or value.shape == shape)
        if not (value.shape == shape or same_but_for_ones):
            expected = list(shape) if shape else "one number"
            message = f"{where}: `{key}` has shape {list(value.shape)}, expected {expected}"
            raise LabelError("shape", message)
        value = value.reshape(shape)
    if not np.isfinite(value).all():
        raise LabelError(
            "finite",
            f"{where}: `{key}` is not finite",
            help="remove the frame, or repeat the calculation behind it",
        )
    return value


def _symmetric(value: Array, key: str, outer: tuple[int, ...], where: str) -> Array:
    if value.shape == (*outer, 6):
        return value[..., _VOIGT]
    if value.shape not in ((*outer, 3, 3), (*outer, 9)):
        expected = " or ".join(str([*outer, *inner]) for inner in ((3, 3), (9,), (6,)))
        raise LabelError("shape", f"{where}: `{key}` has shape {list(value.shape)}, expected {expected}")
    value = value.reshape(*outer, 3, 3)
    transposed = np.swapaxes(value, -1, -2)
    # programs print rounded numbers; more than that is another quantity
    if np.abs(value - transposed).max() > 1e-3 * np.abs(value).max():
        raise LabelError("symmetric", f"{where}: `{key}` is not symmetric", help="give the symmetric part")
    return (value + transposed) / 2
