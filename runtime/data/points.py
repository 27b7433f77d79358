"""Particles with their fields and labels, read from npz or HDF5 files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from equic.runtime.neighbors.pairs import edges_of
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .arrays import load_arrays
from .frame import Frame
from .frames import FrameSet
from .known import read_known
from .labels import Array, output_of, read_label
from .paths import existing_file
from .words import did_you_mean


def read_points(
    plan: Plan, spec: Mapping[str, Any], *, progress: Callable[[str, int], None] | None = None
) -> FrameSet:
    """The systems of particles of the file that `spec` names, as frames without a cell.

    `spec` is {path, labels: {target: {key, factor}}}. The file has `positions` [S, N, 3], and every input and
    label under its key: [S, ...] per system, [S, N, ...] per particle, and `types` [S, N] or [N] (numbers from 0)
    where the plan has several kinds. Systems of different sizes stand one after another, with `counts` [S]:
    `positions` [sum of counts, 3], and so whatever belongs to particles.

    Raises:
        DataError: no such file or array, wrong shapes, values that are not finite, unknown types, two particles
            in one place; the message names file and system, as `frame` counted from 0.
    """
    path = existing_file(spec["path"])
    arrays = load_arrays(path)
    for target in spec["labels"]:
        output_of(target, plan)
    if "positions" not in arrays:
        raise DataError(
            f"{path.name} has no array `positions`", help=did_you_mean("positions", arrays, "its arrays are")
        )
    counts = _counts(arrays, path.name)
    starts = np.cumsum([0, *counts])
    per_node = {entry["key"] for entry in plan.system["inputs"] if entry["index"] == "node"}
    per_node |= {label["key"] for name, label in spec["labels"].items() if plan.outputs[name].index == "node"}
    rows = {
        key: _rows(arrays, key, starts, len(counts), per_node=key in {*per_node, "positions"}, path=path.name)
        for key in ("positions", *_keys(plan, spec), *(["types"] if len(plan.system["species"]) > 1 else []))
        if key in arrays
    }
    frames = []
    for number, count in enumerate(counts):
        source = f"{path.name}:frame {number}"
        found = {key: one[number] for key, one in rows.items()}
        frames.append(_frame(plan, spec, found, int(count), source))
        if progress is not None:
            progress(path.name, number + 1)
    if not frames:
        raise DataError(f"{path} holds no systems")
    return FrameSet(tuple(frames))


def points_frame(
    plan: Plan, found: Mapping[str, Any], *, source: str, labels: Mapping[str, Array] | None = None
) -> Frame:
    """One system of particles as a frame, from its arrays by key: `positions` [N, 3], inputs, `types` [N].

    Raises:
        DataError: an input is missing or does not fit, or two particles are in one place.
    """
    positions = np.array(found["positions"], dtype=np.float64).reshape(-1, 3)
    cell, pbc = np.zeros((3, 3)), np.zeros(3, dtype=bool)
    edges, shifts = edges_of(plan.system, positions, cell, pbc, where=source)
    species = _species(found, plan, len(positions), source)
    labels = {} if labels is None else dict(labels)
    return Frame(
        numbers=species,
        species=species,
        positions=positions,
        cell=cell,
        pbc=pbc,
        edges=edges,
        shifts=shifts,
        labels=labels,
        source=source,
        per_atom=frozenset(target for target in labels if plan.outputs[target].index == "node"),
        inputs=read_known(found, plan, len(positions), source),
    )


def _frame(plan: Plan, spec: Mapping[str, Any], found: Mapping[str, Any], count: int, source: str) -> Frame:
    labels = {
        target: np.asarray(
            read_label(found, label["key"], plan.outputs[target], count, source) * float(label["factor"])
        )
        for target, label in spec["labels"].items()
    }
    return points_frame(plan, found, source=source, labels=labels)


def _keys(plan: Plan, spec: Mapping[str, Any]) -> list[str]:
    inputs = [entry["key"] for entry in plan.system["inputs"]]
    return list(dict.fromkeys([*inputs, *(label["key"] for label in spec["labels"].values())]))


def _counts(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.int64]:
    positions = arrays["positions"]
    if positions.ndim == 3 and positions.shape[2] == 3 and "counts" not in arrays:
        return np.full(positions.shape[0], positions.shape[1], dtype=np.int64)
    if positions.ndim == 2 and positions.shape[1] == 3 and "counts" in arrays:
        counts = np.asarray(arrays["counts"])
        if (
            counts.ndim == 1
            and counts.dtype.kind in "iu"
            and (counts > 0).all()
            and counts.sum() == len(positions)
        ):
            return counts.astype(np.int64)
        raise DataError(
            f"{name}: `counts` must be [systems] whole numbers whose sum is {len(positions)}, the rows of `positions`"
        )
    raise DataError(
        f"{name}: `positions` has shape {list(positions.shape)}, expected [systems, particles, 3]",
        help="systems of different sizes stand one after another, [all particles, 3], with their sizes as `counts`",
    )


def _rows(
    arrays: Mapping[str, NDArray[Any]],
    key: str,
    starts: NDArray[np.int64],
    systems: int,
    *,
    per_node: bool,
    path: str,
) -> list[NDArray[Any]]:
    """What an array holds of each system."""
    value = arrays[key]
    sizes = np.diff(starts)
    if key == "types" and value.shape == (sizes[0],) and (sizes == sizes[0]).all():
        return [value] * systems
    if "counts" in arrays and (per_node or key == "types"):
        if value.ndim and len(value) == starts[-1]:
            return [value[a:b] for a, b in pairwise(starts)]
        expected = f"[{starts[-1]}, ...]"
    else:
        if value.ndim and len(value) == systems:
            return list(value)
        expected = f"[{systems}, ...]"
    raise DataError(f"{path}: `{key}` has shape {list(value.shape)}, expected {expected}")


def _species(found: Mapping[str, Any], plan: Plan, count: int, source: str) -> NDArray[np.int64]:
    names = plan.system["species"]
    if len(names) == 1:
        return np.zeros(count, dtype=np.int64)
    if "types" not in found:
        raise DataError(
            f"{source} has no `types`", help=f"give each particle the number of its type: {', '.join(names)}"
        )
    types = np.asarray(found["types"])
    if (
        types.shape != (count,)
        or types.dtype.kind not in "iu"
        or types.min() < 0
        or types.max() >= len(names)
    ):
        raise DataError(f"{source}: `types` must be {count} whole numbers from 0 to {len(names) - 1}")
    return types.astype(np.int64)
