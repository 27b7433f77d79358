"""Frames read from structure files, with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .frame import Frame, frame_from_atoms, means_isolated_atom
from .labels import Array, output_of, properties, read_label
from .paths import existing_file

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
    searched within the plan's cutoff. Isolated atoms (single atoms with `config_type` IsolatedAtom) are kept
    apart; of the labels they need none, and keep those they have.

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
    for number, atoms in enumerate(_structures(path)):
        frame = _frame(atoms, plan, spec["labels"], f"{path.name}:frame {number}")
        (isolated if frame.is_isolated_atom else frames).append(frame)
        if progress is not None:
            progress(path.name, number + 1)
    if not frames and not isolated:
        raise DataError(f"{path} holds no frames")
    return FrameSet(tuple(frames), tuple(isolated))


def _frame(atoms: Atoms, plan: Plan, specs: Mapping[str, Mapping[str, Any]], source: str) -> Frame:
    config_type = str(atoms.info.get("config_type", ""))
    isolated = len(atoms) == 1 and means_isolated_atom(config_type)
    found = properties(atoms)
    labels: dict[str, Array] = {}
    for target, spec in specs.items():
        if not isolated or spec["key"] in found:
            value = read_label(found, spec["key"], plan.outputs[target], len(atoms), source)
            labels[target] = np.asarray(value * float(spec["factor"]))
    return frame_from_atoms(atoms, plan, source=source, labels=labels, config_type=config_type)


def _structures(path: Path) -> Iterator[Atoms]:
    import ase.io

    number = 0
    try:
        for atoms in ase.io.iread(path, index=":"):
            yield atoms
            number += 1
    except DataError:
        raise
    except Exception as error:  # every format of ASE fails in its own way
        where = f"{path}:frame {number}" if number else str(path)
        raise DataError(
            f"{where} cannot be read: {error or type(error).__name__}",
            help="data files are extended XYZ, or another format that ASE reads by its file name",
        ) from error
