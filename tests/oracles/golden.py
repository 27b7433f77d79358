"""Golden files of the peers: written, and compared with answers made anew."""

import argparse
from collections.abc import Callable
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


def write_golden(make: Callable[[], dict[str, np.ndarray]], folder: Path, description: str) -> int:
    """The command line of a peer's script: [FILE] [--compare GOLDEN]; 1 where the two differ."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("file", nargs="?", type=Path, default=folder / "golden.npz")
    parser.add_argument("--compare", type=Path, metavar="GOLDEN", help="compare with this file")
    options = parser.parse_args()
    made = make()
    np.savez_compressed(options.file, **made)
    print(f"{options.file}: {len(made)} arrays, {options.file.stat().st_size / 1e3:.0f} kB")
    problems = compare(made, options.compare) if options.compare else []
    for problem in problems:
        print(problem)
    if options.compare and not problems:
        print(f"agrees with {options.compare}")
    return 1 if problems else 0
