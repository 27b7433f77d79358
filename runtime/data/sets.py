"""All data of a plan: read, checked, split."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from equic.runtime.errors import DataError
from equic.runtime.plan import Plan

from .arrays import ArraySet, read_arrays
from .frames import FrameSet, Progress, read_frames
from .isolated import read_isolated
from .points import read_points
from .prepared import PreparedFrames, open_store
from .split import split_rows

DataSet = FrameSet | ArraySet


def load_sets(
    plan: Plan, *, progress: Progress | None = None, notes: list[str] | None = None
) -> dict[str, DataSet]:
    """Every set that the plan names, in its order, `train` first.

    A set has a file of its own, or is drawn from `train` (`fraction` or `count`) by a permutation that
    depends only on `data.seed` and the number of frames; where `group` names a key of the file, whole groups
    of frames with the same value are drawn. States are drawn one by one, whatever their trajectory.
    Where a file's labels are not given, they are those of `train`. `data.isolated_atoms:
    {path: FILE}` reads the isolated atoms from another file; they are kept with `train`.

    Args:
        progress: called as progress(file, frames read) after each frame.
        notes: what the user should know beside errors is appended here, a sentence each.

    Returns:
        name → `FrameSet` (atoms) or `ArraySet` (phase_space).

    Raises:
        DataError: no data in the plan, a file that cannot be used (see `read_frames`, `read_arrays`), a
            set without frames, or a structure of one file that is also in the training or validation data
            of another.
    """
    if plan.data is None:
        raise DataError(f"`{plan.name}` comes without data", help="add `data:` to the spec")
    files = file_specs(plan)
    notes = [] if notes is None else notes
    train = _read(plan, "train", files["train"], progress)
    if len(train) == 0:
        raise DataError("the set `train` has no frames but isolated atoms")
    parts = {name: spec for name, spec in plan.data["sets"].items() if name not in files}
    by_group = files["train"].get("group") is not None and isinstance(train, FrameSet)
    groups = train.groups() if by_group else None  # type: ignore[union-attr]
    kept, drawn = split_rows(len(train), parts, int(plan.data["seed"]), groups)
    sets: dict[str, DataSet] = {"train": train.subset(kept)}
    for name in plan.data["sets"]:
        if name == "train":
            continue
        sets[name] = train.subset(drawn[name]) if name in drawn else _read(plan, name, files[name], progress)
        if len(sets[name]) == 0:
            raise DataError(f"the set `{name}` has no frames but isolated atoms")
    if plan.is_points:
        sets["train"] = _with_isolated(plan, sets["train"], files["train"])  # type: ignore[arg-type]
        paths = {name: Path(files.get(name, files["train"])["path"]).resolve() for name in sets}
        _check_overlap(sets, paths, notes)  # type: ignore[arg-type]
        _note_isolated(sets, notes)  # type: ignore[arg-type]
    return sets


def file_specs(plan: Plan) -> dict[str, dict[str, Any]]:
    """The sets that have a file of their own, with what they inherit from `train`, which is the first.

    Raises:
        DataError: there is no training set.
    """
    assert plan.data is not None
    specs = plan.data["sets"]
    if "train" not in specs:
        raise DataError(
            f"`{plan.name}` has no training set", help="add `data: {train: {path: ...}}` to the spec"
        )
    group = next((spec["group"] for spec in specs.values() if spec.get("group")), None)
    train = {**specs["train"], **({} if group is None else {"group": group})}
    own = {name: _inherit(spec, train) for name, spec in specs.items() if name != "train" and "path" in spec}
    return {"train": train, **own}


def _read(plan: Plan, name: str, spec: Mapping[str, Any], progress: Progress | None) -> DataSet:
    assert plan.data is not None
    prepared = plan.data["prepared"]
    if plan.kind != "atoms":
        if prepared is not None:
            raise DataError("only frames of atoms are prepared", help="remove `data.prepared`")
        if plan.kind == "particles":
            return read_points(plan, spec, progress=progress)
        return read_arrays(plan, spec)
    if prepared is None:
        return read_frames(plan, spec, progress=progress)
    store = open_store(plan, spec, Path(prepared) / name)
    return FrameSet(PreparedFrames(store), store.isolated())


def _inherit(spec: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in train.items() if key not in ("path", "group")}, **spec}


def _with_isolated(plan: Plan, train: FrameSet, train_spec: Mapping[str, Any]) -> FrameSet:
    """The training set, with the isolated atoms of `data.isolated_atoms: {path: FILE}` if that is given."""
    assert plan.data is not None
    where = plan.data["isolated_atoms"]
    if not (isinstance(where, Mapping) and "path" in where):
        return train
    labels = {target: label for target, label in train_spec["labels"].items() if target == plan.energy}
    return FrameSet(train.frames, read_isolated(plan, {"labels": labels, **where}))


def _check_overlap(sets: Mapping[str, FrameSet], files: Mapping[str, Path], notes: list[str]) -> None:
    """The same structure in two sets makes errors look smaller than they are.

    Between files that is an error. It is a note within one file (which repeats itself, or was named twice
    on purpose), and between sets that neither train nor choose a model.
    """
    prints = {
        name: dict(zip(frames.fingerprints(), frames.sources(), strict=True)) for name, frames in sets.items()
    }
    for a, b in combinations(sets, 2):
        shared = prints[a].keys() & prints[b].keys()
        if not shared:
            continue
        # sets keep no order: the message should be the same each time
        first = min((prints[a][key], prints[b][key]) for key in shared)
        verb = "is" if len(shared) == 1 else "are"
        what = f"{len(shared)} of the {len(prints[b])} structures of `{b}` {verb} also in `{a}`"
        if files[a] == files[b] or not {a, b} & {"train", "validation"}:
            notes.append(f"{what} (for instance, {first[1]} is {first[0]})")
        else:
            raise DataError(
                f"{what}: {first[1]} is {first[0]}",
                help="remove them from one of the files: errors on structures seen in training say little",
            )


def _note_isolated(sets: Mapping[str, FrameSet], notes: list[str]) -> None:
    if frames := sets["train"].isolated:
        atoms = "isolated atom" if len(frames) == 1 else "isolated atoms"
        notes.append(
            f"{len(frames)} {atoms} ({', '.join(frame.source for frame in frames[:5])}) not trained on"
        )
