"""Frames read from structure files, with their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .frame import Frame, frame_from_atoms, means_isolated_atom
from .labels import Array, output_of, properties, read_label
from .paths import existing_file
from .structures import read_structures

if TYPE_CHECKING:
    from ase import Atoms

Progress = Callable[[str, int], None]  # (file, frames read so far)


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet(Sequence[Frame]):
    """Frames of one set, and the isolated atoms that were found with them and do not belong to it."""

    frames: tuple[Frame, ...]
    isolated: tuple[Frame, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> FrameSet: ...
    def __getitem__(self, index: int | slice) -> Frame | FrameSet:
        if isinstance(index, slice):
            return FrameSet(self.frames[index], self.isolated)
        return self.frames[index]

    def subset(self, places: NDArray[np.int64]) -> FrameSet:
        """The frames at these places, in this order, with the same isolated atoms."""
        return FrameSet(tuple(self.frames[place] for place in places), self.isolated)


def read_frames(plan: Plan, spec: Mapping[str, Any], *, progress: Progress | None = None) -> FrameSet:
    """All frames of the file that `spec` names, in any format that ASE reads.

    `spec` is {path, labels: {target: {key, factor}}}. Labels are multiplied by their factors, neighbours
    searched within the plan's cutoff. Isolated atoms (single atoms with `config_type` IsolatedAtom) are
    kept apart; of the labels they need none, and keep those they have; those of unknown elements are left
    out.

    Args:
        progress: called with the file's name and the number of frames read, after each.

    Raises:
        DataError: a file that is missing, empty or damaged; an element that the plan does not know; a
            label that is missing, not finite or of another shape; atoms in the same place. The message
            names file and frame, counted from 0.
    """
    path = existing_file(spec["path"])
    for target in spec["labels"]:
        output_of(target, plan)
    frames: list[Frame] = []
    isolated: list[Frame] = []
    for number, atoms in enumerate(read_structures(path)):
        config_type = str(atoms.info.get("config_type", ""))
        is_isolated = len(atoms) == 1 and means_isolated_atom(config_type)
        # free atoms of elements that the model does not need do no harm
        if not is_isolated or atoms.get_chemical_symbols()[0] in plan.system["species"]:
            source = f"{path.name}:frame {number}"
            labels = _labels(atoms, plan, spec["labels"], source, optional=is_isolated)
            frame = frame_from_atoms(atoms, plan, source=source, labels=labels, config_type=config_type)
            (isolated if is_isolated else frames).append(frame)
        if progress is not None:
            progress(path.name, number + 1)
    if not frames and not isolated:
        raise DataError(f"{path} holds no frames")
    return FrameSet(tuple(frames), tuple(isolated))


def _labels(
    atoms: Atoms, plan: Plan, specs: Mapping[str, Mapping[str, Any]], source: str, *, optional: bool
) -> dict[str, Array]:
    """The labels of a structure in internal units; `optional` ones may be missing."""
    found = properties(atoms)
    labels = {}
    for target, spec in specs.items():
        if not optional or spec["key"] in found:
            value = read_label(found, spec["key"], plan.outputs[target], len(atoms), source)
            labels[target] = np.asarray(value * float(spec["factor"]))
    return labels
