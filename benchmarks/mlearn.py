"""Accuracy on periodic silicon and lithium: the mlearn suite (Zuo et al. 2020), beside a pair potential.

The data (VASP, PBE: ground states, strained cells, vacancies, molecular dynamics, surfaces) is not part of this
repository: give its folder by --data or EQUIC_DATA. The baseline is the best pair potential that a linear fit
of energies and forces on the same training frames finds: 24 Gaussians of the distance, ridge regression. Runs lie
in --runs and go on where they were stopped. No published value of the table is at hand. Validation errors along the
runs are drawn beside the JSON.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Measurement, Row, parser, run

SPEC = Path(__file__).with_name("mlearn.yaml")
ELEMENTS = ("Si", "Li")
QUICK_MINUTES = 0.5
BASELINE = "pair potential, linear fit to the same frames"
GAUSSIANS = 24
RIDGE = 1e-8


def pair_potential(train: Any, test: Any, cutoff: float) -> dict[str, float]:
    """RMSE per atom (energy, eV) and per component (forces, eV/Å) of the fitted pair potential on `test`."""
    weights = None
    blocks = [features(frame, cutoff) for frame in train]
    rows, values = [], []
    for frame, (energy, forces) in zip(train, blocks, strict=True):
        n = len(frame)
        rows += [energy[None] / n, forces.reshape(3 * n, -1)]
        values += [np.array([float(frame.labels["energy"]) / n]), frame.labels["forces"].ravel()]
    a, b = np.concatenate(rows), np.concatenate(values)
    scale = np.linalg.norm(a, axis=0)
    scale[scale == 0] = 1.0
    a = a / scale
    weights = np.linalg.solve(a.T @ a + RIDGE * len(a) * np.eye(a.shape[1]), a.T @ b) / scale
    energy_errors, force_errors = [], []
    for frame in test:
        energy, forces = features(frame, cutoff)
        energy_errors.append((energy @ weights - float(frame.labels["energy"])) / len(frame))
        force_errors.append((forces @ weights - frame.labels["forces"]).ravel())
    rms = lambda values: float(np.sqrt(np.mean(np.square(values))))  # noqa: E731
    return {"energy": rms(energy_errors), "forces": rms(np.concatenate(force_errors))}


def features(frame: Any, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Σ over pairs of Gaussians that vanish smoothly at the cutoff, a count of atoms, and minus their gradients.

    [K + 1] and [N, 3, K + 1]; every pair stands twice in the list, so each counts half.
    """
    source, target = frame.edges
    vectors = frame.positions[target] - frame.positions[source] - frame.shifts @ frame.cell
    r = np.linalg.norm(vectors, axis=1)[:, None]
    centres = np.linspace(1.5, cutoff, GAUSSIANS)[None]
    width = centres[0, 1] - centres[0, 0]
    gauss = np.exp(-(((r - centres) / width) ** 2) / 2)
    end = np.where(r < cutoff, 0.5 * (1 + np.cos(np.pi * r / cutoff)), 0.0)
    slope = np.where(r < cutoff, -0.5 * np.pi / cutoff * np.sin(np.pi * r / cutoff), 0.0)
    values = gauss * end
    derivative = gauss * (slope - end * (r - centres) / width**2)
    energy = np.append(0.5 * values.sum(0), float(len(frame)))
    pulls = -(vectors / r)[:, :, None] * derivative[:, None, :]
    forces = np.zeros((len(frame), 3, GAUSSIANS + 1))
    np.add.at(forces[..., :-1], target, 0.5 * pulls)
    np.add.at(forces[..., :-1], source, -0.5 * pulls)
    return energy, forces


def measure(
    element: str, folder: Path, runs: Path, minutes: float | None, threads: int, quick: bool
) -> Sequence[Row]:
    """Train on one element, fit the baseline, and compare both on the test frames."""
    import torch
    from equic.runtime.data import load_sets
    from equic.runtime.training import train

    from equic.api import plan

    torch.set_num_threads(threads)
    given = [
        f"name=mlearn-{element}",
        f"system.species=[{element}]",
        f"data.train.path={folder / f'{element}_training.xyz'}",
        f"data.test.path={folder / f'{element}_test.xyz'}",
    ]
    made, _ = plan(SPEC, given)
    sets = load_sets(made)
    baseline = pair_potential(
        [*sets["train"], *sets["validation"]], sets["test"], float(made.system["cutoff"])
    )
    directory = runs / element
    if not (directory / "metrics.json").exists():
        resume = (directory / "last.ckpt").exists()
        began = time.process_time()
        limit = None if resume else minutes
        try:
            done = train(made, directory=directory, device="cpu", minutes=limit, resume=resume, sets=sets)
        finally:
            _clock(directory, time.process_time() - began)
        if done.interrupted:
            raise SystemExit(f"stopped; the same command goes on with the run in {directory}")
    results = json.loads((directory / "metrics.json").read_text())
    errors = results["metrics"]["test"]
    ours = {"energy": errors["energy"]["rmse_per_atom"], "forces": errors["forces"]["rmse"]}
    units = {"energy": "meV/atom", "forces": "meV/Å"}
    rows = [
        Row(
            name=f"{what} RMSE, {element}",
            value=1e3 * ours[what],
            unit=units[what],
            better="lower",
            reference=1e3 * baseline[what],
            source=BASELINE,
            ratio=baseline[what] / ours[what],
            floor=None if quick else 1.0,
            threads=threads,
            dtype="float32",
        )
        for what in ("energy", "forces")
    ]
    times = {
        "wall-clock time": results["seconds"],
        "processor time": _clock(directory, 0.0),
    }
    rows += [
        Row(f"{name}, {element}", seconds / 60, "min", better="lower", threads=threads, dtype="float32")
        for name, seconds in times.items()
    ]
    return rows


def draw(runs: Path, path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Validation errors of the forces along the runs, with the test errors of model and pair potential."""
    import csv

    import matplotlib
    from matplotlib.figure import Figure

    known = {row["name"]: row for row in rows}
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "equic", "font.size": 10}):
        figure = Figure(figsize=(9.2, 3.4), layout="constrained")
        for axes, element in zip(figure.subplots(1, len(ELEMENTS)), ELEMENTS, strict=True):
            history = list(csv.DictReader((runs / element / "history.csv").open()))
            epochs = [float(row["epoch"]) for row in history]
            values = [1e3 * float(row["validation_forces_rmse"]) for row in history]
            test = known[f"forces RMSE, {element}"]
            axes.plot(epochs, values, color="#0b63b5", linewidth=1.6, label="equic, validation")
            axes.plot([epochs[-1]], [test["value"]], "o", color="#d2560b", markersize=7, label="equic, test")
            axes.axhline(test["reference"], color="#5a6778", linewidth=1.0, label="pair potential, test")
            minutes = known[f"processor time, {element}"]["value"]
            axes.set_title(f"{element}: {minutes:.2g} minutes of one core", fontsize=10)
            axes.set_yscale("log")
            for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                axis(lambda value, _: f"{value:g}")
            axes.set_xlabel("epochs")
            axes.set_ylabel("forces RMSE (meV/Å)")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(True, which="both", color="#e4e8ee", linewidth=0.7)
            axes.legend(frameon=False, fontsize=8.5)
        figure.suptitle("mlearn: errors of the forces along training", x=0.01, ha="left", fontsize=11)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def _clock(directory: Path, more: float) -> float:
    """Seconds of the processor that all processes spent on a run, with `more` added to them."""
    path = directory / "processor.json"
    total = (json.loads(path.read_text()) if path.exists() else 0.0) + more
    path.write_text(json.dumps(total))
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument(
        "--data", type=Path, metavar="DIR", help="the folder with Si_training.xyz ($EQUIC_DATA/mlearn)"
    )
    options.add_argument("--runs", type=Path, metavar="DIR", help="where the runs lie, and go on")
    options.add_argument(
        "--minutes",
        type=float,
        help=f"wall-clock budget for each element, not the epochs of mlearn.yaml (quick: {QUICK_MINUTES:g})",
    )
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args(arguments)
    folder = (given.data or Path(os.environ.get("EQUIC_DATA", "data")) / "mlearn").resolve()
    if not (folder / "Si_training.xyz").is_file():
        raise SystemExit(
            f"there is no {folder / 'Si_training.xyz'}; give its folder by --data, or set EQUIC_DATA"
        )
    runs = given.runs or ROOT / "runs" / ("mlearn-quick" if given.quick else "mlearn")
    minutes = given.minutes or (QUICK_MINUTES if given.quick else None)
    groups = []
    for element in ELEMENTS:
        names = [f"{what} RMSE, {element}" for what in ("energy", "forces")]
        names += [f"{what} time, {element}" for what in ("wall-clock", "processor")]
        keys = tuple((name, given.threads, "float32") for name in names)
        groups.append(
            Measurement(keys, partial(measure, element, folder, runs, minutes, given.threads, given.quick))
        )
    result = run("mlearn", groups, given)
    if given.json and not given.only:
        draw(runs, given.json.with_suffix(".svg"), result["rows"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
