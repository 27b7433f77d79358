"""What MACE of ours takes by itself on the CPU: latency, time and memory per atom as systems grow, first calls.

Each figure comes from a process of its own. `flat` is how much longer an atom of 97,336 takes than one of 1,000
(silicon, with splines in the place of radial networks); `latency` one molecule of 15 atoms, neighbours found
before; `md step` `get_forces` of the calculator while atoms move, its Verlet list included; `ready` from a spec's
text to the first answer, imports done, with an empty cache of kernels and a filled one; `share of GEMM peak` the
useful operations of energy and forces (as `equic show --cost` counts them) per second, of what a product of two
matrices of 2048 x 2048 reaches at the same moment; `training memory` what the process grows by in five steps
(forward, backward and gradients of all weights; no optimiser), beside as many of mace-torch.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from common import Measurement, Row, cores, parser, run
from side_by_side import Peer
from speed import MODELS, PEER, Case, settings
from speed import WORKER as MACE

WORKER = Path(__file__).parent / "peers/own_worker.py"
# ms a molecule, small and big model: what symmetrix takes (its fastest way, measured on another day of this machine)
SYMMETRIX = {
    ("small", "float64", 1): 2.3,
    ("small", "float32", 1): 3.3,
    ("small", "float32", 2): 1.8,
    ("big", "float64", 1): 16.3,
    ("big", "float32", 1): 21.0,
    ("big", "float32", 2): 11.7,
}


def ask(command: Mapping[str, Any], cache: Path | None = None) -> dict[str, float]:
    """What the worker answers, in a fresh process."""
    environment = dict(os.environ)
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", WORKER, json.dumps(command)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{WORKER.name} failed: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def latency(model: str, dtype: str, threads: int, tables: bool, do: str, repeats: int) -> Sequence[Row]:
    """One molecule: a call of the model, or a step of the calculator."""
    command = {"do": do, "model": MODELS[model], "system": "single", "dtype": dtype, "threads": threads}
    milliseconds = 1e3 * ask({**command, "tables": tables, "repeats": repeats})["seconds"]
    known = SYMMETRIX.get((model, dtype, threads)) if tables and do == "step" else None
    return [
        Row(
            name=latency_name(model, tables, do),
            value=milliseconds,
            unit="ms",
            better="lower",
            reference=known,
            source=None if known is None else "symmetrix, another day",
            ratio=None if known is None else known / milliseconds,
            floor=None if known is None else 1.0,
            threads=threads,
            dtype=dtype,
        )
    ]


def latency_name(model: str, tables: bool, do: str) -> str:
    """The name of such a row."""
    what = "latency" if do == "step" else "md step"
    return f"{what}, mace {model}, one molecule, {'tabulated' if tables else 'exact'}"


def flatness(model: str, threads: int, repeats: int, quick: bool) -> Sequence[Row]:
    """Microseconds and bytes an atom at three sizes, and how flat time is."""
    rows, times = [], []
    for system in sizes(quick):
        found = ask(
            {"do": "step", "model": MODELS[model], "system": system, "dtype": "float32", "threads": threads}
            | {"tables": True, "repeats": repeats}
        )
        times.append(found["seconds"] / found["atoms"])
        for what, value, unit in (
            ("time per atom", 1e6 * times[-1], "µs"),
            ("memory per atom", found["growth"] / found["atoms"] / 1024.0, "KiB"),
        ):
            name = f"flat: {what}, mace {model}, {system}, tabulated"
            rows.append(Row(name, value, unit, "lower", threads=threads, dtype="float32"))
    name = f"flat: longest time per atom over the shortest, mace {model}, tabulated"
    ratio = max(times) / min(times)
    return [*rows, Row(name, ratio, "", "lower", floor=1.2, threads=threads, dtype="float32")]


def sizes(quick: bool) -> tuple[str, ...]:
    """The systems of `flatness`."""
    return ("si216", "si1000") if quick else ("si1000", "si10648", "si97336")


def flat_keys(model: str, threads: int, quick: bool) -> list[tuple[str, int | None, str | None]]:
    """The rows of `flatness`."""
    names = [
        f"flat: {what}, mace {model}, {system}, tabulated"
        for system in sizes(quick)
        for what in ("time per atom", "memory per atom")
    ]
    names.append(f"flat: longest time per atom over the shortest, mace {model}, tabulated")
    return [(name, threads, "float32") for name in names]


def memory(model: str, system: str, tables: bool, python: Path) -> Sequence[Row]:
    """What a process grows by for energy and forces, against mace-torch's."""
    from step_time import structures

    ours = ask(
        {"do": "step", "model": MODELS[model], "system": system, "dtype": "float32", "threads": 1}
        | {"tables": tables, "repeats": 2}
    )
    theirs = growth_of_mace(model, structures(system), python, "energy+forces", calls=1)
    return [memory_row(memory_name(model, system, tables), ours, theirs, floor=3.0)]


def growth_of_mace(
    model: str, frames: Sequence[Any], python: Path, what: str, calls: int
) -> tuple[float, str]:
    """KiB an atom that a process of mace-torch grows by in its first steps, and its version."""
    atoms = sum(map(len, frames))
    with Peer(python, MACE) as peer, tempfile.TemporaryDirectory() as folder:
        about = {
            "settings": settings(Case(model, "", "float32", 1), frames),
            "dtype": "float32",
            "threads": 1,
        }
        weights, ones = Path(folder) / "weights.npz", (np.ones(len(frames)), np.ones((atoms, 3)))
        answer = peer.build(frames, weights, *ones, **about, grows=what, calls=calls)
        return answer["growth"] / atoms / 1024.0, f"mace-torch {peer.version('mace-torch')}"


def memory_row(name: str, ours: Mapping[str, float], theirs: tuple[float, str], floor: float | None) -> Row:
    """KiB an atom, beside a peer's, given with its version."""
    value = max(ours["growth"], 1.0) / ours["atoms"] / 1024.0
    return Row(
        name,
        value,
        "KiB",
        "lower",
        reference=theirs[0],
        source=theirs[1],
        ratio=theirs[0] / value,
        floor=floor,
        threads=1,
        dtype="float32",
    )


def training_memory(model: str, system: str, python: Path) -> Sequence[Row]:
    """What a process grows by for training steps, values of edges kept and computed again, against mace-torch's."""
    from step_time import structures

    command = {"do": "training", "model": MODELS[model], "system": system, "dtype": "float32", "threads": 1}
    kept, again = (ask({**command, "recompute": recompute, "calls": 5}) for recompute in (False, True))
    theirs = growth_of_mace(model, structures(system), python, "training step", calls=5)
    names = training_names(model, system)
    return [
        *(
            memory_row(name, ours, theirs, floor=2.0)
            for name, ours in zip(names, (kept, again), strict=False)
        ),
        Row(names[2], again["seconds"] / kept["seconds"], "", "lower", threads=1, dtype="float32"),
    ]


def training_names(model: str, system: str) -> tuple[str, str, str]:
    """The names of such rows."""
    memory = f"training memory per atom, mace {model}, {system}"
    return (
        f"{memory}, values kept",
        f"{memory}, activation checkpointing",
        f"training step with activation checkpointing over one without, mace {model}, {system}",
    )


def memory_name(model: str, system: str, tables: bool) -> str:
    """The name of such a row."""
    return f"memory per atom, mace {model}, {system}, {'tabulated' if tables else 'exact'}"


def ready() -> Sequence[Row]:
    """From spec to answer, with an empty cache and with a filled one."""
    command = {"do": "ready", "model": MODELS["big"], "system": "single", "dtype": "float32", "threads": 1}
    with tempfile.TemporaryDirectory() as cache:
        seconds = [ask(command, Path(cache))["seconds"] for _ in range(2)]
    return [
        Row(name, value, "s", "lower", floor=floor, threads=1, dtype="float32")
        for (name, floor), value in zip(READY.items(), seconds, strict=True)
    ]


READY = {"ready, mace big, empty cache": 3.0, "ready, mace big, filled cache": 0.5}


def imports() -> Sequence[Row]:
    """Importing what runs an artifact: the best of three, files in memory."""
    seconds = min(ask({"do": "imports"})["seconds"] for _ in range(3))
    return [Row("import of the runtime", seconds, "s", "lower", floor=2.0)]


def share(model: str, dtype: str, threads: int, repeats: int) -> Sequence[Row]:
    """Useful operations per second over those of a product of matrices."""
    import torch
    from equic.compiler.cost import Sizes, total_flops
    from equic.compiler.language.diagnostics import Report
    from equic.compiler.language.source import source_from_text
    from equic.compiler.pipeline import compile_spec

    sys.path.insert(0, str(WORKER.parent))
    from own_worker import text_of

    found = ask(
        {"do": "step", "model": MODELS[model], "system": "si216", "dtype": dtype, "threads": threads}
        | {"tables": False, "repeats": repeats}
    )
    report = Report()
    done = compile_spec(source_from_text(text_of(*MODELS[model], "Si"), report=report), report)
    assert done.optimised is not None
    assert done.context is not None
    sizes_ = Sizes(int(found["atoms"]), found["edges"] / found["atoms"])
    useful = total_flops(done.optimised, done.context.scope, sizes_)
    torch.set_num_threads(threads)
    a = torch.randn(2048, 2048, dtype=getattr(torch, dtype))
    clock = time.process_time if threads == 1 else time.perf_counter
    best = float("inf")
    for _ in range(5):
        began = clock()
        a @ a
        best = min(best, clock() - began)
    peak = 2 * 2048**3 / best
    return [
        Row(share_name(model), useful / found["seconds"] / peak, "", "higher", aim=0.7, threads=threads,
            dtype=dtype),
        Row(f"GEMM peak beside {model}", peak / 1e9, "GFLOP/s", "higher", threads=threads, dtype=dtype),
    ]  # fmt: skip


def share_name(model: str) -> str:
    """The name of such a row."""
    return f"share of GEMM peak, mace {model}, si216, exact"


def measurements(quick: bool, repeats: int, python: Path) -> Iterator[Measurement]:
    """Every group of rows."""

    def group(keys: Sequence[Any], measure: Callable[[], Sequence[Row]]) -> Measurement:
        return Measurement(tuple(keys), measure)

    counts = [1] if quick else [count for count in (1, 2) if count <= cores()]
    models = ("small",) if quick else ("small", "big")
    dtypes = ("float32",) if quick else ("float32", "float64")
    yield group([("import of the runtime", None, None)], imports)
    yield group([(name, 1, "float32") for name in READY], ready)
    for model, dtype, threads, tables in product(models, dtypes, counts, (True, False)):
        for do in ("step", "dynamics"):
            key = (latency_name(model, tables, do), threads, dtype)
            yield group([key], partial(latency, model, dtype, threads, tables, do, 20 * repeats))
    for model, dtype, threads in product(models, dtypes, counts):
        keys = [(name, threads, dtype) for name in (share_name(model), f"GEMM peak beside {model}")]
        yield group(keys, partial(share, model, dtype, threads, repeats))
    yield group(flat_keys("small", counts[-1], quick), partial(flatness, "small", counts[-1], 2, quick))
    if quick:
        return
    yield group(flat_keys("big", counts[-1], False), partial(flatness, "big", counts[-1], 2, False))
    for model, tables in product(models, (True, False)):
        key = (memory_name(model, "si1000", tables), 1, "float32")
        yield group([key], partial(memory, model, "si1000", tables, python))
    for model, system in product(models, ("acac10", "si216")):
        keys = [(name, 1, "float32") for name in training_names(model, system)]
        yield group(keys, partial(training_memory, model, system, python))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--peer", type=Path, default=PEER, metavar="PYTHON", help="Python with mace-torch")
    given = options.parse_args(arguments)
    repeats = given.repeats or (3 if given.quick else 5)
    run("speed_alone", measurements(given.quick, repeats, given.peer), given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
