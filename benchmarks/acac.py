"""Accuracy on acetylacetone: trained on 450+50 frames at 300 K, tested on every test file that is there.

Against the published rows of MACE, NequIP and BOTNet (Batatia et al. 2022, arXiv:2206.07697, table 3), whose
models have about 3 million parameters and took hours on one GPU; this one takes minutes on CPU cores. The data
(Batatia et al. 2022, arXiv:2205.06643) is not part of this repository: give its folder by --data or EQUIC_DATA.

The run lies in --runs and goes on where it was stopped. Errors against time, of the validation frames along
the run and of the test frames at its end, are drawn beside the JSON.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common import ROOT, Measurement, Row, parser, run

SPEC = Path(__file__).with_name("acac.yaml")
MINUTES, QUICK_MINUTES = 45.0, 1.0
FORCE_FLOOR = 25.0  # meV/Å on the test frames at 300 K
SOURCE = "table 3 of arXiv:2206.07697"
TESTS = {"test_MD_300K": "300 K", "test_MD_600K": "600 K"}
# meV per molecule and meV/Å, the means of three seeds
PUBLISHED = {
    "300 K": {"MACE": (0.9, 5.1), "NequIP": (0.81, 5.90), "BOTNet": (0.89, 6.3)},
    "600 K": {"MACE": (4.6, 22.4), "NequIP": (6.04, 27.8), "BOTNet": (6.2, 29.8)},
}
PARAMETERS = {"MACE": 2_803_984, "NequIP": 3_190_488, "BOTNet": 2_756_416}
CLOCK = (
    "cpu_seconds.json"  # of all processes that worked on a run, because a shared machine's clock says little
)


def train(folder: Path, runs: Path, minutes: float, threads: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Train the spec, or go on with the run that lies in `runs`; what metrics.json says, and the history."""
    import torch

    import equic

    torch.set_num_threads(threads)
    directory = runs / "run"
    others = [name for name in ("test_MD_600K",) if (folder / f"{name}.xyz").is_file()]
    given = [
        f"data.train.path={folder / 'train_300K.xyz'}",
        f"data.test.path={folder / 'test_MD_300K.xyz'}",
        *(f"data.others.{name}.path={folder / name}.xyz" for name in others),
        *overrides,
    ]
    done = directory / "metrics.json"
    if not done.exists():
        resume = (directory / "last.ckpt").exists()
        began = time.process_time()
        try:
            run_training(equic, given, directory, minutes, resume)
        finally:
            _clock(directory, time.process_time() - began)
    return json.loads(done.read_text()) | {"cpu_seconds": _clock(directory, 0.0)}


def run_training(equic: Any, given: Sequence[str], directory: Path, minutes: float, resume: bool) -> None:
    """One process's part of the run; an interrupted one leaves no errors, and says how to go on."""
    from equic.runtime.training import train as run

    from equic.api import plan

    made, _ = plan(SPEC, given)
    result = run(made, directory=directory, device="cpu", minutes=None if resume else minutes, resume=resume)
    if result.interrupted:
        raise SystemExit(f"stopped; the same command goes on with the run in {directory}")


def _clock(directory: Path, more: float) -> float:
    path = directory / CLOCK
    before = json.loads(path.read_text()) if path.exists() else 0.0
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(before + more))
    return float(before + more)


def rows(errors: dict[str, Any], directory: Path, threads: int, dtype: str, *, quick: bool) -> list[Row]:
    """Errors on each test set with every published row beside them, parameters, times."""
    from equic.runtime.artifact import load_artifact

    model = load_artifact(directory / "model.equic").model
    shared = {"threads": threads, "dtype": dtype}
    lower = partial(Row, better="lower", **shared)
    found = []
    for name, metrics in errors["metrics"].items():
        where = {"test": "300 K", "test_MD_600K": "600 K"}.get(name)
        if where is None:
            continue
        energy, forces = 1e3 * metrics["energy"]["rmse"], 1e3 * metrics["forces"]["rmse"]
        floor = FORCE_FLOOR if where == "300 K" and not quick else None
        found.append(lower(f"forces RMSE, {where}", forces, "meV/Å", floor=floor))
        found.append(lower(f"energy RMSE, {where}", energy, "meV"))
        for peer, published in PUBLISHED[where].items():
            for what, ours, theirs, unit in zip(
                ("energy", "forces"), (energy, forces), published, ("meV", "meV/Å"), strict=True
            ):
                found.append(
                    lower(
                        f"{what} RMSE, {where}, against {peer}",
                        ours,
                        unit,
                        reference=theirs,
                        source=f"{peer}, {SOURCE}",
                        ratio=theirs / ours,
                    )
                )
    count = sum(value.numel() for value in model.parameters())
    for peer, theirs in PARAMETERS.items():
        found.append(
            lower(
                f"parameters, against {peer}",
                count,
                "1",
                reference=theirs,
                source=f"{peer}, {SOURCE}",
                ratio=theirs / count,
            )
        )
    found.append(lower("wall-clock time of the run", errors["seconds"] / 60, "min"))
    # on a machine with other work to do, the time that the cores spent on this run
    found.append(lower("processor time of the run", errors["cpu_seconds"] / 60, "min"))
    found.append(Row("epochs", errors["epochs"], "1", better="higher", **shared))
    return found


def draw(directory: Path, path: Path, found: Sequence[Row]) -> None:
    """Validation error of the forces against wall-clock time, with the published test errors as lines."""
    import csv

    import matplotlib
    from matplotlib.figure import Figure

    history = list(csv.DictReader((directory / "history.csv").open()))
    minutes = [float(row["seconds"]) / 60 for row in history]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "equic", "font.size": 10}):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        for axes, (column, unit, place) in zip(
            figure.subplots(1, 2), (("forces", "meV/Å", 1), ("energy", "meV", 0)), strict=True
        ):
            values = [1e3 * float(row[f"validation_{column}_rmse"]) for row in history]
            axes.plot(minutes, values, color="#0b63b5", linewidth=1.6, label="equic, 50 validation frames")
            test = next((row.value for row in found if row.name == f"{column} RMSE, 300 K"), math.nan)
            axes.plot([minutes[-1]], [test], "o", color="#d2560b", markersize=7, label="equic, test at 300 K")
            for dashes, (peer, published) in zip(("-", "--", ":"), PUBLISHED["300 K"].items(), strict=True):
                label = f"{peer}, published: test, hours on a GPU"
                axes.axhline(published[place], color="#5a6778", linewidth=1.0, linestyle=dashes, label=label)
            axes.set_yscale("log")
            axes.set_xlabel("wall-clock minutes")
            axes.set_ylabel(f"{column} RMSE ({unit})")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(True, which="both", color="#e4e8ee", linewidth=0.7)
        axes.legend(frameon=False, fontsize=8.5)
        figure.suptitle("Acetylacetone: error against time of training", x=0.01, ha="left", fontsize=11)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def measure(options: argparse.Namespace, folder: Path) -> Sequence[Row]:
    """The whole benchmark: train, collect the rows, draw."""
    quick = options.quick
    runs = options.runs or ROOT / "runs" / ("acac-quick" if quick else "acac")
    if options.fresh and (runs / "run").exists():
        raise SystemExit(f"--fresh: remove {runs} first; runs are never overwritten")
    minutes = options.minutes or (QUICK_MINUTES if quick else MINUTES)
    errors = train(folder, runs, minutes, options.threads, options.set or ())
    found = rows(errors, runs / "run", options.threads, errors["settings"]["precision"], quick=quick)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        draw(runs / "run", options.json.with_suffix(".svg"), found)
    return found


def keys(folder: Path, threads: int) -> tuple[tuple[str, int | None, str | None], ...]:
    """The keys of all rows, known before anything is trained."""
    there = [where for name, where in TESTS.items() if (folder / f"{name}.xyz").is_file()]
    names = [f"{what} RMSE, {where}" for where in there for what in ("forces", "energy")]
    names += [
        f"{what} RMSE, {where}, against {peer}"
        for where in there
        for peer in PUBLISHED[where]
        for what in ("energy", "forces")
    ]
    names += [f"parameters, against {peer}" for peer in PARAMETERS]
    names += ["wall-clock time of the run", "processor time of the run", "epochs"]
    return tuple((name, threads, "float32") for name in names)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument(
        "--data", type=Path, metavar="DIR", help="the folder with train_300K.xyz ($EQUIC_DATA/acac)"
    )
    options.add_argument("--runs", type=Path, metavar="DIR", help="where the run lies, and goes on")
    options.add_argument(
        "--minutes", type=float, help=f"wall-clock budget ({MINUTES:g}; quick: {QUICK_MINUTES:g})"
    )
    options.add_argument("--threads", type=int, default=1, help="small models train as fast on one as on two")
    options.add_argument("--set", action="append", metavar="KEY=VALUE", help="changes of acac.yaml")
    given = options.parse_args(arguments)
    folder = given.data or Path(os.environ.get("EQUIC_DATA", "data")) / "acac"
    if not (folder / "train_300K.xyz").is_file():
        raise SystemExit(
            f"there is no {folder / 'train_300K.xyz'}; give its folder by --data, or set EQUIC_DATA"
        )
    work: Callable[[], Sequence[Row]] = partial(measure, given, folder.resolve())
    run("acac", [Measurement(keys(folder, given.threads), work)], given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
