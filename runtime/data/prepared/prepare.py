"""`equic prepare`: every file of a plan's data, once, as shards on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from equic.runtime.atomic import write_bytes
from equic.runtime.data.frame import Frame
from equic.runtime.data.frames import Progress, each_frame
from equic.runtime.data.paths import existing_file
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan

from .shards import write_shard

FORMAT = 1
INDEX = "index.json"
SHARD_BYTES = 64 * 2**20


def prepare(
    plan: Plan,
    specs: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    progress: Progress | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, int]:
    """Write each of `specs` = {name: {path, labels, group}} below `folder`; how many frames each has.

    A name that is there already, from the same file, labels and cutoff, is left as it is. What is half
    written has no index, and is written anew. No more than one shard is held in memory.

    Raises:
        DataError: as `each_frame`.
    """
    counts = {}
    for name, spec in specs.items():
        place = folder / name
        key = fingerprint(plan, spec)
        known = read_index(place)
        if known is not None and known["key"] == key:
            counts[name] = int(known["frames"])
            continue
        shutil.rmtree(place, ignore_errors=True)
        index = _written(plan, spec, place, key, progress, shard_bytes)
        counts[name] = int(index["frames"])
    return counts


def fingerprint(plan: Plan, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a prepared file depends on: the file's size and time of change, labels, group, species, neighbours."""
    path = existing_file(spec["path"])
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    return {
        "path": str(path.resolve()),
        "bytes": sum(file.stat().st_size for file in files),
        "changed": max(file.stat().st_mtime_ns for file in files),
        **wanted(plan, spec),
    }


def wanted(plan: Plan, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the fingerprint that the spec decides, which can be compared when the file is gone."""
    return {
        "labels": {name: dict(label) for name, label in spec["labels"].items()},
        "group": spec.get("group"),
        "species": list(plan.system["species"]),
        "cutoff": plan.system["cutoff"],
        "pairs": plan.system["pairs"],
        "inputs": [dict(entry) for entry in plan.system["inputs"]],
    }


def read_index(place: Path) -> dict[str, Any] | None:
    """The index of a prepared file, or None where there is none.

    Raises:
        DataError: it is damaged, or of another version.
    """
    path = place / INDEX
    if not path.is_file():
        return None
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path} cannot be read: {error}", help="remove the folder and prepare it again"
        ) from error
    if index.get("format") != FORMAT:
        raise DataError(
            f"{path} was written by another version", help="remove the folder and prepare it again"
        )
    return index


def _written(
    plan: Plan,
    spec: Mapping[str, Any],
    place: Path,
    key: dict[str, Any],
    progress: Progress | None,
    shard_bytes: int,
) -> dict[str, Any]:
    words: dict[str, list[str]] = {"config": [""], "group": [""]}
    shards: list[dict[str, Any]] = []
    isolated: list[Frame] = []
    first: Frame | None = None
    read = _bulk(each_frame(plan, spec, progress=progress), isolated.append)
    for frames in _pieces(read, shard_bytes):
        first = first or frames[0]
        numbers = [_number(frame) for frame in frames]
        shards.append(write_shard(place / f"{len(shards):05d}", frames, words, numbers))
    # each by itself: they may lack labels that the others have
    apart = []
    for k, frame in enumerate(isolated):
        facts = write_shard(place / f"isolated-{k}", [frame], words, [_number(frame)])
        apart.append({"folder": f"isolated-{k}", "per_atom": sorted(frame.per_atom), **facts})
    index = {
        "format": FORMAT,
        "key": key,
        "name": Path(spec["path"]).name,
        "frames": sum(shard["frames"] for shard in shards),
        "shards": shards,
        "per_atom": [] if first is None else sorted(first.per_atom),
        "isolated": apart,
        "words": words,
    }
    write_bytes(place / INDEX, (json.dumps(index, ensure_ascii=False) + "\n").encode())
    return index


def _number(frame: Frame) -> int:
    """The frame's place in its file."""
    return int(frame.source.rpartition(" ")[2])


def _bulk(frames: Iterator[Frame], keep: Callable[[Frame], None]) -> Iterator[Frame]:
    """The frames but isolated atoms, which are handed to `keep`."""
    for frame in frames:
        if frame.is_isolated_atom:
            keep(frame)
        else:
            yield frame


def _pieces(frames: Iterator[Frame], most: int) -> Iterator[list[Frame]]:
    held: list[Frame] = []
    size = 0
    for frame in frames:
        held.append(frame)
        size += 60 * len(frame) + 14 * frame.edges.shape[1] + 300
        if size >= most:
            yield held
            held, size = [], 0
    if held:
        yield held
