"""Frames read from structure files, with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from ase.data import atomic_numbers
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .frame import Frame, frame_of, means_isolated_atom
from .labels import Array, output_of, scaled_label
from .paths import existing_file
from .structure import Structure
from .structures import read_quickly
from .words import did_you_mean

Progress = Callable[[str, int], None]  # (file, frames read so far)


@runtime_checkable
class Lazy(Protocol):
    """Frames that lie elsewhere, and can be chosen among without being read."""

    def subset(self, places: NDArray[np.int64]) -> Sequence[Frame]: ...

    def groups(self) -> list[str]: ...

    def sources(self) -> list[str]: ...

    def fingerprints(self) -> list[bytes]: ...

    def sizes(self, what: str) -> NDArray[np.int64]: ...


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet(Sequence[Frame]):
    """Frames of one set, and the isolated atoms that were found with them and do not belong to it."""

    frames: Sequence[Frame]
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

    def groups(self) -> list[str]:
        """The group of every frame."""
        return self.frames.groups() if isinstance(self.frames, Lazy) else [f.group for f in self.frames]

    def sources(self) -> list[str]:
        """The name of every frame, `train.xyz:frame 17`."""
        return self.frames.sources() if isinstance(self.frames, Lazy) else [f.source for f in self.frames]

    def fingerprints(self) -> list[bytes]:
        """The fingerprint of every structure."""
        lazy = isinstance(self.frames, Lazy)
        return self.frames.fingerprints() if lazy else [f.fingerprint() for f in self.frames]

    def sizes(self, what: str) -> NDArray[np.int64]:
        """How many atoms or edges (`what`) every frame has."""
        if isinstance(self.frames, Lazy):
            return self.frames.sizes(what)
        counts = [len(f) if what == "atoms" else f.edges.shape[1] for f in self.frames]
        return np.array(counts, dtype=np.int64)

    def subset(self, places: NDArray[np.int64]) -> FrameSet:
        """The frames at these places, in this order, with the same isolated atoms."""
        if isinstance(self.frames, Lazy):
            return FrameSet(self.frames.subset(places), self.isolated)
        return FrameSet(tuple(self.frames[place] for place in places), self.isolated)


def read_frames(plan: Plan, spec: Mapping[str, Any], *, progress: Progress | None = None) -> FrameSet:
    """All frames that `spec` names, in memory (see `each_frame`).

    Raises:
        DataError: as `each_frame`.
    """
    frames: list[Frame] = []
    isolated: list[Frame] = []
    for frame in each_frame(plan, spec, progress=progress):
        (isolated if frame.is_isolated_atom else frames).append(frame)
    return FrameSet(tuple(frames), tuple(isolated))


def each_frame(plan: Plan, spec: Mapping[str, Any], *, progress: Progress | None = None) -> Iterator[Frame]:
    """The frames of a file in any format that ASE reads, or of a folder of DeePMD systems, one by one.

    `spec` is {path, labels: {target: {key, factor}}, group: key or None}. Labels are multiplied by their
    factors, neighbours searched within the plan's cutoff. Isolated atoms (single atoms with `config_type`
    IsolatedAtom) need none of the labels, and keep those they have; those of unknown elements are left out.

    Args:
        progress: called with the file's name and the number of frames read, after each.

    Raises:
        DataError: a file that is missing, empty or damaged; an element that the plan does not know; a
            label or a group that is missing, a label that is not finite or of another shape; atoms in the
            same place. The message names file and frame, counted from 0.
    """
    path = existing_file(spec["path"])
    for target in spec["labels"]:
        output_of(target, plan)
    known = {atomic_numbers[symbol] for symbol in plan.system["species"]}
    number = -1
    for number, structure in enumerate(read_quickly(path)):
        config_type = str(structure.found.get("config_type", ""))
        is_isolated = len(structure) == 1 and means_isolated_atom(config_type)
        # free atoms of elements that the model does not need do no harm
        if not is_isolated or structure.numbers[0] in known:
            source = f"{path.name}:frame {number}"
            yield frame_of(
                structure,
                plan,
                source=source,
                labels=_labels(structure, plan, spec["labels"], source, optional=is_isolated),
                config_type=config_type,
                group="" if is_isolated else _group(structure.found, spec.get("group"), source),
            )
        if progress is not None:
            progress(path.name, number + 1)
    if number < 0:
        raise DataError(f"{path} holds no frames")


def _group(found: Mapping[str, Any], key: str | None, source: str) -> str:
    if key is None:
        return ""
    if key not in found:
        raise DataError(
            f"{source} has no `{key}`, which sets are split by", help=did_you_mean(key, found, "its keys are")
        )
    return str(found[key])


def _labels(
    structure: Structure,
    plan: Plan,
    specs: Mapping[str, Mapping[str, Any]],
    source: str,
    *,
    optional: bool,
) -> dict[str, Array]:
    """The labels of a structure in internal units; `optional` ones may be missing."""
    return {
        target: scaled_label(structure.found, spec, plan.outputs[target], structure, source)
        for target, spec in specs.items()
        if not optional or spec["key"] in structure.found
    }
