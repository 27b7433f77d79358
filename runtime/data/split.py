"""Sets drawn from the training data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from equic.runtime.errors import DataError
from numpy.typing import NDArray


def split_rows(
    rows: int, parts: Mapping[str, Mapping[str, Any]], seed: int
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Which rows stay in the training set, and which go to each part.

    `parts` is {name: {"fraction": f} or {"count": n}}.
    One permutation, a function of `rows` and `seed` alone, is cut from its start in the order of `parts`;
    each piece is returned in ascending order. A fraction is of all rows, rounded, and at least one row.

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
    order = np.random.default_rng(seed).permutation(rows)
    pieces = np.split(order, np.cumsum(list(counts.values())))
    drawn = {name: np.sort(piece) for name, piece in zip(counts, pieces[:-1], strict=True)}
    return np.sort(pieces[-1]), drawn
