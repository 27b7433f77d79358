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

    from .structure import Structure

Array = NDArray[np.float64]

_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))  # ASE's order: xx, yy, zz, yz, xz, xy
_ROUNDED = 1e-3


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

    Shapes: scalars [] per structure and [N] per atom; vectors [3] and [N, 3]; a matrix [3, 3] from 3x3 or 9
    numbers, or 6 where it is symmetric (ASE's Voigt order xx, yy, zz, yz, xz, xy); irreps [dim] and [N, dim].

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
    outer = (atoms,) if output.index == "node" else ()
    if output.form == "cartesian":
        value = _matrix(value, key, outer, Irreps.parse(output.rep), where)
    else:
        shape = outer + output.shape
        same_but_for_ones = value.size == np.prod(shape) and output.shape == ()
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


def scaled_label(
    found: Mapping[str, Any],
    spec: Mapping[str, Any],
    output: Output,
    atoms: Atoms | Structure,
    where: str,
) -> Array:
    """The label that `spec` = {key, factor} names, in the units of the plan.

    With `virial: true` the file has W = −V σ instead of the stress σ, and σ = −W / V.

    Raises:
        LabelError: as `read_label`; a virial of a structure that is not periodic in all directions.
    """
    value = read_label(found, spec["key"], output, len(atoms), where) * float(spec["factor"])
    if spec.get("virial"):
        if not atoms.pbc.all():
            message = f"{where}: `{spec['key']}` is a virial, and the structure has no volume"
            raise LabelError("shape", message, help="leave the stress out, or the structure")
        value = -value / abs(float(np.linalg.det(np.asarray(atoms.cell))))
    return np.asarray(value)


def _matrix(value: Array, key: str, outer: tuple[int, ...], irreps: Irreps, where: str) -> Array:
    """Matrices [*, 3, 3], without what their irreps do not hold.

    Programs print rounded numbers; what is more than that is another quantity, and refused.
    """
    degrees = {block.l for block in irreps}
    if 1 not in degrees and value.shape == (*outer, 6):
        value = value[..., _VOIGT]
    if value.shape not in ((*outer, 3, 3), (*outer, 9)):
        inner = ((3, 3), (9,)) if 1 in degrees else ((3, 3), (9,), (6,))
        expected = " or ".join(str([*outer, *one]) for one in inner)
        raise LabelError("shape", f"{where}: `{key}` has shape {list(value.shape)}, expected {expected}")
    value = value.reshape(*outer, 3, 3)
    size = np.abs(value).max(initial=0.0)
    if 1 not in degrees:
        transposed = np.swapaxes(value, -1, -2)
        if np.abs(value - transposed).max(initial=0.0) > _ROUNDED * size:
            raise LabelError(
                "symmetric",
                f"{where}: `{key}` is not symmetric",
                help="give the symmetric part, or declare a general matrix: `0e+1e+2e`",
            )
        value = (value + transposed) / 2
    if 0 not in degrees:
        trace = np.trace(value, axis1=-2, axis2=-1)[..., None, None] / 3
        if np.abs(trace).max(initial=0.0) > _ROUNDED * size:
            raise LabelError(
                "symmetric",
                f"{where}: `{key}` has a trace",
                help="remove the trace, or declare it as well: `0e+2e`",
            )
        value = value - trace * np.eye(3)
    return value
