"""One shard: some hundred or thousand frames as flat arrays, each a .npy file that is mapped into memory.

atoms, pairs [S + 1]        where the atoms and the edges of each frame begin, and the last one ends
numbers [N], positions [N, 3], cell [S, 3, 3], pbc [S, 3]
edges [E, 2], shifts [E, 3] whole numbers, as small as they go
number, config, group [S]   the frame's number in its file; places in the index's lists of words
print [S, 32]               the structure's fingerprint
label.TARGET                [N, ...] where there is one value per atom, else [S, ...]
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from equic.runtime.atomic import write_bytes
from equic.runtime.data.frame import Frame
from equic.runtime.errors import DataError
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


def write_shard(
    folder: Path, frames: Sequence[Frame], words: dict[str, list[str]], numbers: Sequence[int]
) -> dict[str, Any]:
    """Write frames as a shard; what the index has to know of it: frames, and size and checksum of each file.

    `words` has the lists of configuration types and groups, which grow as new ones come.
    """
    arrays: dict[str, NDArray[Any]] = {
        "atoms": np.cumsum([0, *(len(frame) for frame in frames)], dtype=np.int64),
        "pairs": np.cumsum([0, *(frame.edges.shape[1] for frame in frames)], dtype=np.int64),
        "numbers": np.concatenate([frame.numbers for frame in frames]).astype(np.uint8),
        "positions": np.concatenate([frame.positions for frame in frames]),
        "cell": np.stack([frame.cell for frame in frames]),
        "pbc": np.stack([frame.pbc for frame in frames]),
        "edges": _small(np.concatenate([frame.edges.T for frame in frames])),
        "shifts": _small(np.concatenate([frame.shifts for frame in frames])),
        "number": np.array(numbers, dtype=np.int64),
        "config": _places(words["config"], [frame.config_type for frame in frames]),
        "group": _places(words["group"], [frame.group for frame in frames]),
        "print": np.stack([np.frombuffer(frame.fingerprint(), dtype=np.uint8) for frame in frames]),
    }
    for target in frames[0].labels:
        values = [np.asarray(frame.labels[target]) for frame in frames]
        joined = np.concatenate(values) if target in frames[0].per_atom else np.stack(values)
        arrays[f"label.{target}"] = joined
    for name in frames[0].inputs:
        # one row a frame, or one an atom: where all frames are single atoms that is the same
        per_frame = all(len(frame.inputs[name]) == 1 for frame in frames)
        rows = np.concatenate([frame.inputs[name] for frame in frames])
        arrays[f"{'given' if per_frame else 'known'}.{name}"] = rows
    files = {}
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        content = buffer.getvalue()
        write_bytes(folder / f"{name}.npy", content)
        files[name] = {"bytes": len(content), "crc32": zlib.crc32(content)}
    return {"frames": len(frames), "files": files}


def map_shard(folder: Path, files: Mapping[str, Mapping[str, int]]) -> Arrays:
    """The arrays of a shard, mapped into memory: nothing is read before it is used.

    Raises:
        DataError: a file is missing, or has another size than when it was written.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, facts in files.items():
        path = folder / f"{name}.npy"
        if not path.is_file() or path.stat().st_size != facts["bytes"]:
            what = "is not whole" if path.is_file() else "is missing"
            raise DataError(f"{path} {what}", help="remove the folder, and run `equic prepare` again")
        # an empty array cannot be mapped
        empty = facts["bytes"] <= 128
        found[name] = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
    return found


def check_shard(folder: Path, files: Mapping[str, Mapping[str, int]]) -> None:
    """Read a shard and compare its checksums.

    Raises:
        DataError: a file differs from what was written.
    """
    for name, facts in files.items():
        checksum = 0
        with (folder / f"{name}.npy").open("rb") as stream:
            while block := stream.read(2**22):
                checksum = zlib.crc32(block, checksum)
        if checksum != facts["crc32"]:
            raise DataError(
                f"{folder / name}.npy is damaged: its checksum is another one",
                help="remove the folder, and run `equic prepare` again",
            )


def frame_at(
    arrays: Arrays,
    k: int,
    place: NDArray[np.int64],
    words: Mapping[str, Sequence[str]],
    name: str,
    per_atom: frozenset[str],
) -> Frame:
    """Frame k of a shard; `place` maps atomic numbers to species, `name` is the file it came from."""
    a, b = int(arrays["atoms"][k]), int(arrays["atoms"][k + 1])
    c, d = int(arrays["pairs"][k]), int(arrays["pairs"][k + 1])
    numbers = arrays["numbers"][a:b].astype(np.int64)
    labels = {
        key[6:]: np.asarray(values[a:b] if key[6:] in per_atom else values[k])
        for key, values in arrays.items()
        if key.startswith("label.")
    }
    inputs = {
        key[6:]: np.asarray(values[a:b] if key.startswith("known.") else values[k : k + 1])
        for key, values in arrays.items()
        if key.startswith(("known.", "given."))
    }
    return Frame(
        numbers=numbers,
        species=place[numbers],
        positions=np.asarray(arrays["positions"][a:b]),
        cell=np.asarray(arrays["cell"][k]),
        pbc=np.asarray(arrays["pbc"][k]),
        edges=np.ascontiguousarray(arrays["edges"][c:d].T, dtype=np.int64),
        shifts=arrays["shifts"][c:d].astype(np.float64),
        labels=labels,
        source=f"{name}:frame {int(arrays['number'][k])}",
        config_type=words["config"][int(arrays["config"][k])],
        per_atom=per_atom,
        group=words["group"][int(arrays["group"][k])],
        inputs=inputs,
    )


def _small(values: NDArray[Any]) -> NDArray[Any]:
    """The same whole numbers in the smallest type that holds them."""
    most = int(np.abs(values).max(initial=0))
    for dtype in (np.int8, np.int16, np.int32):
        if most <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.int64)


def _places(known: list[str], words: Sequence[str]) -> NDArray[np.int32]:
    for word in dict.fromkeys(words):
        if word not in known:
            known.append(word)
    place = {word: k for k, word in enumerate(known)}
    return np.array([place[word] for word in words], dtype=np.int32)
