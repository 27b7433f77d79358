"""Reading data: 10^5 frames, time and memory, against ASE alone; an epoch from disk against one from memory.

Frames are molecules of 9 atoms with energies and forces, in extended XYZ, made here. `ase` reads them all with
ase.io.read and keeps them; `equic` also checks labels and finds neighbours (5 Å); `prepare` writes them to disk;
`open` maps what was prepared, compares its checksums, and reads nothing else. Each runs in a process of its own,
whose peak memory is its own. An epoch is the training of a small MACE, streamed against in memory, in turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Measurement, Row, paired_ratio, parser, run

FRAMES, QUICK_FRAMES = 100_000, 2_000
TRAINED = 256
SETS = ("ase", "equic", "prepare", "open")


def write_frames(path: Path, count: int) -> None:
    """Ethanol-like molecules, displaced at random, with made-up labels; written without ASE, which is slow at it."""
    from ase.build import molecule

    atoms = molecule("CH3CH2OH")
    symbols, positions = atoms.get_chemical_symbols(), atoms.positions
    rng = np.random.default_rng(0)
    head = f'{len(atoms)}\nProperties=species:S:1:pos:R:3:forces:R:3 pbc="F F F" energy='
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            rows = np.hstack(
                [positions + rng.normal(0, 0.05, positions.shape), rng.normal(size=positions.shape)]
            )
            lines = [" ".join([s, *(f"{x:.8f}" for x in row)]) for s, row in zip(symbols, rows, strict=True)]
            file.write(f"{head}{rng.normal():.8f}\n" + "\n".join(lines) + "\n")


def plan_of(path: Path, prepared: Path | None = None) -> Any:
    """A small MACE that trains on the file."""
    from equic.runtime.plan import Plan
    from equic.runtime.testing.plans import mace_plan

    made = mace_plan(channels=16, lmax=2, species=("H", "C", "O"), cutoff=5.0, stress=False).to_json()
    labels = {name: {"key": name, "factor": 1.0} for name in ("energy", "forces")}
    sets = {"train": {"path": str(path), "labels": labels}}
    made["data"] = {
        "sets": sets,
        "isolated_atoms": "least_squares",
        "seed": 0,
        "prepared": None if prepared is None else str(prepared),
    }
    return Plan.from_json(made)


def work(what: str, path: Path, prepared: Path) -> Callable[[], int]:
    """One way to read the file; it gives the number of frames. Imports are done before the clock runs."""
    import ase.io
    import vesin  # noqa: F401  # it takes a second, which is not for reading
    from equic.runtime.data import load_sets
    from equic.runtime.data.prepared import prepare
    from equic.runtime.data.sets import file_specs

    plan = plan_of(path)
    match what:
        case "ase":
            return lambda: len(ase.io.read(path, index=":"))
        case "equic":
            return lambda: len(load_sets(plan)["train"])
        case "prepare":
            return lambda: prepare(plan, file_specs(plan), prepared)["train"]
        case "open":
            return lambda: len(load_sets(plan_of(path, prepared))["train"])
    raise ValueError(what)


def child(what: str, path: Path, prepared: Path) -> None:
    """Read once, and print seconds (wall clock and processor), frames, and how much memory it took, as JSON."""
    do = work(what, path, prepared)
    before = memory()
    wall, processor = time.perf_counter(), time.process_time()
    frames = do()
    seconds = time.perf_counter() - wall, time.process_time() - processor
    print(
        json.dumps(
            {"wall": seconds[0], "processor": seconds[1], "frames": frames, "bytes": memory() - before}
        )
    )


def memory() -> int:
    """The most memory that this process has held, in bytes."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def read_rows(folder: Path, count: int) -> Sequence[Row]:
    """Every way to read the file, once, each in its own process."""
    path, prepared = folder / "frames.xyz", folder / "prepared"
    if not path.exists():
        write_frames(path, count)
    found: dict[str, dict[str, float]] = {}
    for what in SETS:
        command = [sys.executable, str(Path(__file__)), "--child", what, str(path), str(prepared)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        found[what] = json.loads(done.stdout.splitlines()[-1])
        assert found[what]["frames"] == count
    rows = []
    for what, facts in found.items():
        peer = None if what == "ase" else found["ase"]
        for name, key, unit, scale in (
            ("time", "processor", "s", 1.0),
            ("memory", "bytes", "MiB", 2.0**-20),
        ):
            value = facts[key] * scale
            theirs = None if peer is None else peer[key] * scale
            rows.append(
                Row(
                    name=f"{name}, {what}, {count} frames",
                    value=value,
                    unit=unit,
                    better="lower",
                    reference=theirs,
                    source=None if peer is None else "ase.io.read of the same file, side by side",
                    ratio=None if theirs is None or value <= 0 else theirs / value,
                    threads=1,
                )
            )
    return rows


def epoch_row(folder: Path, repeats: int) -> Sequence[Row]:
    """The time of an epoch from disk over that of one from memory: the median of paired ratios."""
    import torch
    from equic.runtime.build import build_module
    from equic.runtime.data import compute_statistics, load_sets
    from equic.runtime.data.prepared import prepare
    from equic.runtime.data.sets import file_specs
    from equic.runtime.training.batches import TrainingStream, samples_of
    from equic.runtime.training.losses import loss_terms, term_losses

    torch.set_num_threads(1)
    path, prepared = folder / "epoch.xyz", folder / "epoch"
    if not path.exists():
        write_frames(path, TRAINED)
    plan = plan_of(path)
    prepare(plan, file_specs(plan), prepared)
    sets = {"memory": load_sets(plan)["train"], "disk": load_sets(plan_of(path, prepared))["train"]}
    model = build_module(plan, seed=0, dtype=torch.float32)
    model.set_statistics(compute_statistics(plan, sets["memory"]))
    terms = loss_terms(plan)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def epoch(name: str) -> float:
        stream = iter(TrainingStream(samples_of(sets[name], torch.device("cpu"), name), 8, 0, lambda: 0))
        began = time.process_time()
        for _ in range(TRAINED // 8):
            (batch,) = next(stream)
            outputs = model.trainable(batch.inputs, [term.target for term in terms])
            optimizer.zero_grad()
            term_losses(terms, outputs, batch.labels, batch.atoms).sum().backward()
            optimizer.step()
        return time.process_time() - began

    epoch("memory")
    seconds: dict[str, list[float]] = {"memory": [], "disk": []}
    for _ in range(repeats):
        for name in seconds:
            seconds[name].append(epoch(name))
    ratio, spread = paired_ratio(seconds["disk"], seconds["memory"])
    return [
        Row(
            name="epoch, from memory over from disk",
            value=statistics.median(seconds["disk"]),
            unit="s",
            better="lower",
            reference=statistics.median(seconds["memory"]),
            source="the same epoch from memory, side by side",
            ratio=ratio,
            spread=spread,
            floor=1 / 1.1,
            threads=1,
            dtype="float32",
        )
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options: argparse.ArgumentParser = parser(__doc__.splitlines()[0])
    options.add_argument("--folder", type=Path, metavar="DIR", help="where the data is made (about 1.5 GB)")
    options.add_argument("--frames", type=int, help=f"how many ({FRAMES:,}; quick: {QUICK_FRAMES:,})")
    options.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    if given.child:
        child(given.child[0], Path(given.child[1]), Path(given.child[2]))
        return 0
    count = given.frames or (QUICK_FRAMES if given.quick else FRAMES)
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        folder = Path(made)
        keys = tuple(
            (f"{name}, {what}, {count} frames", 1, None) for what in SETS for name in ("time", "memory")
        )
        repeats = given.repeats or (3 if given.quick else 7)
        groups = [
            Measurement(keys, partial(read_rows, folder, count)),
            Measurement(
                (("epoch, from memory over from disk", 1, "float32"),), partial(epoch_row, folder, repeats)
            ),
        ]
        run("reading", groups, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
