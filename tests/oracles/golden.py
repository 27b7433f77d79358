"""Golden files of the peers, compared with answers made anew."""

from pathlib import Path

import numpy as np


def compare(made: dict[str, np.ndarray], golden: Path) -> list[str]:
    """What differs: inputs and weights at all, tables and answers by more than 1e-10 of their scale."""
    problems = []
    with np.load(golden, allow_pickle=False) as before:
        problems += [f"{key}: only in one of the two" for key in sorted(set(made) ^ set(before.files))]
        for key in sorted(set(made) & set(before.files)):
            old, new = before[key], made[key]
            exact = "/state/" in key or key.startswith("structures/") or old.dtype.kind not in "f"
            if old.shape != new.shape:
                problems.append(f"{key}: shape {old.shape}, now {new.shape}")
            elif exact and not np.array_equal(old, new):
                problems.append(f"{key}: no longer equal")
            elif not exact and (worst := np.abs(old - new).max()) > 1e-10 * max(1.0, np.abs(old).max()):
                problems.append(f"{key}: differs by {worst:.1e}")
    return problems
