"""Sets drawn from the training data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from numpy.typing import NDArray


def split_rows(
    rows: int, parts: Mapping[str, Mapping[str, Any]], seed: int, groups: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Which rows stay in the training set, and which go to each part.

    `parts` is {name: {"fraction": f} or {"count": n}}.
    One permutation, a function of `rows` and `seed` alone, is cut from its start in the order of `parts`;
    each piece is returned in ascending order. A fraction is of all rows, rounded, and at least one row.
    With `groups`, one for each row, whole groups are drawn, until a part has as many rows as it asks for, or
    as near to that as it gets.

    Raises:
        DataError: nothing would be left to train on.
    """
    counts = {}
    for name, part in parts.items():
        counts[name] = (
            int(part["count"]) if "count" in part else max(1, round(rows * float(part["fraction"])))
        )
    if sum(counts.values()) >= rows:
        asked = ", ".join(f"{count} for {name}" for name, count in counts.items())
        raise DataError(
            f"the training data has {rows} entries; {asked} would leave none to train on",
            help="take fewer, or give the set a file of its own",
        )
    if groups is not None:
        return _whole_groups(counts, groups, seed)
    order = np.random.default_rng(seed).permutation(rows)
    pieces = np.split(order, np.cumsum(list(counts.values())))
    drawn = {name: np.sort(piece) for name, piece in zip(counts, pieces[:-1], strict=True)}
    return np.sort(pieces[-1]), drawn


def _whole_groups(
    counts: Mapping[str, int], groups: Sequence[str], seed: int
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    names = sorted(set(groups))
    if len(names) <= len(counts):
        raise DataError(
            f"the frames have {len(names)} groups, too few for {len(counts) + 1} sets",
            help="split by another key, or give the sets files of their own",
        )
    rows = {name: np.flatnonzero(np.asarray(groups) == name) for name in names}
    waiting = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    drawn = {}
    for place, (part, count) in enumerate(counts.items()):
        taken = [rows[waiting.pop(0)]]
        still = len(counts) - place  # sets that need a group after this one, training included
        while len(waiting) > still and abs(sum(map(len, taken)) + len(rows[waiting[0]]) - count) < abs(
            sum(map(len, taken)) - count
        ):
            taken.append(rows[waiting.pop(0)])
        drawn[part] = np.sort(np.concatenate(taken))
    return np.sort(np.concatenate([rows[name] for name in waiting])), drawn


def written_down(sources: Mapping[str, Iterable[str]]) -> dict[str, dict[str, str]]:
    """Which frames are in which set, by file: {set: {file: "0-17, 19"}}, from names such as `a.xyz:frame 17`."""
    found: dict[str, dict[str, str]] = {}
    for name, frames in sources.items():
        files: dict[str, list[int]] = {}
        for source in frames:
            file, _, number = source.rpartition(":frame ")
            files.setdefault(file, []).append(int(number))
        found[name] = {file: _ranges(np.array(sorted(numbers))) for file, numbers in files.items()}
    return found


def _ranges(numbers: NDArray[np.int64]) -> str:
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
