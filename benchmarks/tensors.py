"""Liquid water: dipoles and polarizabilities, learned as vectors and as symmetric matrices, and energies with forces.

The data are the examples of DeePMD-kit, 64 molecules a frame: 80 frames to train on and 80 others to test, as global
tensors; 160 frames with energies and forces to train on and 80 to test. Beside the errors stand those of a model that
knows only the mean of the training labels (its equivariant part: no dipole, an isotropic polarizability, no forces),
and how far outputs are from turning with the frame. No published errors of these small sets are at hand. The data is
not part of this repository: give its folder by --data or EQUIC_DATA.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Measurement, Row, parser, run

SPEC = """\
equic: 1
name: water-{target}
system: {{kind: atoms, species: [H, O], cutoff: 4.0 Å}}
symmetry: {{O(3): hard}}
targets:
  {target}: {{per: system, rep: {rep}, unit: {unit}}}
model: {{architecture: mace, channels: 8, lmax: 2, hidden_lmax: 2, correlation: 2, layers: 1, radial: [16, 16]}}
data:
  train: {{path: {train}, labels: {{{target}: {{key: {target}}}}}}}
  validation: 8
  test: {{path: {test}}}
train: {{epochs: {epochs}, batch: 2, learning_rate: 0.01, ema: 0.99, seed: 1, precision: float32}}
"""
TASKS = {"dipole": ("dipole", "1o", "e Å"), "polarizability": ("polar", "0e+2e", "Å^3")}
WATER = """\
equic: 1
name: water-energy
system: {{kind: atoms, species: [O, H], cutoff: 4.0 Å}}
symmetry: {{O(3): hard}}
targets:
  energy: {{per: system, rep: 0e, unit: eV}}
  forces: {{gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}}
model: {{architecture: mace, channels: 8, lmax: 2, correlation: 2, layers: 1, radial: [16, 16]}}
data:
  train: {{path: {train}, labels: {{energy: {{key: energy}}, forces: {{key: force}}}}}}
  validation: 16
  test: {{path: {test}}}
train: {{epochs: {epochs}, batch: 2, learning_rate: 0.01, ema: 0.99, seed: 1, precision: float32}}
"""
EPOCHS, WATER_EPOCHS, QUICK_MINUTES = 60, 15, 0.7
FLOOR = 1.5  # times better than the mean
THREADS = 1


def folders(data: Path, target: str) -> tuple[Path, Path]:
    """The training and the test frames of one task."""
    task = data / TASKS[target][0]
    return (
        task / "training_data_reformat" / "global_system",
        task / "validation_data_reformat" / "global_system",
    )


def labels(folder: Path, target: str) -> np.ndarray:
    """The labels of a folder: [frames, 3] or [frames, 9]."""
    return np.concatenate([np.load(path / f"{target}.npy") for path in sorted(folder.glob("set.*"))])


def error_of_the_mean(data: Path, target: str) -> float:
    """The RMSE on the test frames of the mean training label, as far as it is the same in every direction."""
    train, test = (labels(folder, target) for folder in folders(data, target))
    guess = np.zeros(3)
    if train.shape[1] == 9:
        guess = (train.reshape(-1, 3, 3).trace(axis1=1, axis2=2).mean() / 3 * np.eye(3)).ravel()
    return float(np.sqrt(np.mean((test - guess) ** 2)))


def frames_of(plan: Any, folder: Path, target: str) -> list[Any]:
    """The frames of a folder with their labels; of matrices, which finite fields make, the symmetric part."""
    from equic.runtime.data import frame_from_atoms
    from equic.runtime.data.structures import structures_of

    frames = []
    for number, (atoms, label) in enumerate(zip(structures_of(folder), labels(folder, target), strict=True)):
        matrix = label.reshape(3, 3) if label.size == 9 else None
        value = label if matrix is None else (matrix + matrix.T) / 2
        source = f"{target}:frame {number}"
        frames.append(frame_from_atoms(atoms, plan, source=source, labels={target: value.astype(np.float64)}))
    return frames


def measure(options: argparse.Namespace, data: Path, target: str) -> Sequence[Row]:
    """Train one model, or take the run that is there, and compare."""
    import torch
    from equic.runtime.artifact import load_artifact
    from equic.runtime.certify import certify

    torch.set_num_threads(THREADS)
    directory = directory_of(options, target)
    _, rep, unit = TASKS[target]
    here, there = folders(data, target)
    text = SPEC.format(target=target, rep=rep, unit=unit, train=here, test=there, epochs=EPOCHS)
    plan = plan_of(text)
    known = frames_of(plan, here, target)
    sets = {"train": known[:-8], "validation": known[-8:], "test": frames_of(plan, there, target)}
    metrics = trained(options, plan, directory, sets)
    model = load_artifact(directory / "model.equic", device="cpu").model
    frames = sets["test"][:2]
    turned = certify(model, frames=frames, dtypes=("float64",)).item(
        f"SO(3) equivariance, {target}", "float64"
    )
    error, trivial = metrics["metrics"]["test"][target]["rmse"], error_of_the_mean(data, target)
    unit = plan.outputs[target].unit
    row = partial(Row, better="lower", threads=THREADS, dtype="float32")
    return [
        row(
            f"{target} RMSE, test",
            error,
            unit,
            reference=trivial,
            source="the mean of the training labels",
            ratio=trivial / error,
            floor=FLOOR,
        ),
        row(f"{target} MAE, test", metrics["metrics"]["test"][target]["mae"], unit),
        row(f"{target} RMSE, training", metrics["metrics"]["train"][target]["rmse"], unit),
        row(f"{target} equivariance error in float64", turned.value or 0.0, "relative", floor=1e-10),
        row(f"{target} wall-clock time of the run", metrics["seconds"], "s"),
        row(f"{target} processor time of the run", metrics["processor"], "s"),
    ]


def measure_water(options: argparse.Namespace, data: Path) -> Sequence[Row]:
    """Energies and forces, beside a model without forces that knows the mean energy."""
    import torch
    from equic.runtime.data import load_sets

    torch.set_num_threads(THREADS)
    plan = plan_of(WATER.format(train=data / "data_1", test=data / "data_0", epochs=WATER_EPOCHS))
    sets = load_sets(plan)
    errors = trained(options, plan, directory_of(options, "water"), sets)
    mean = np.mean([frame.labels["energy"] / len(frame) for frame in sets["train"]])
    trivial = {
        "energy": [frame.labels["energy"] / len(frame) - mean for frame in sets["test"]],
        "forces": np.concatenate([frame.labels["forces"].ravel() for frame in sets["test"]]),
    }
    found = errors["metrics"]["test"]
    ours = {"energy": found["energy"]["rmse_per_atom"], "forces": found["forces"]["rmse"]}
    row = partial(Row, better="lower", threads=THREADS, dtype="float32")
    return [
        row(
            f"water {what} RMSE, test",
            1e3 * ours[what],
            unit,
            reference=1e3 * float(np.sqrt(np.mean(np.square(trivial[what])))),
            source="the mean energy, and no forces",
            ratio=float(np.sqrt(np.mean(np.square(trivial[what])))) / ours[what],
            floor=FLOOR,
        )
        for what, unit in (("energy", "meV/atom"), ("forces", "meV/Å"))
    ] + [
        row("water wall-clock time of the run", errors["seconds"], "s"),
        row("water processor time of the run", errors["processor"], "s"),
    ]


def plan_of(text: str) -> Any:
    """The plan of a spec."""
    from equic.compiler.language.diagnostics import Report
    from equic.compiler.language.source import source_from_text
    from equic.compiler.pipeline import compile_spec
    from equic.runtime.plan import Plan

    report = Report()
    done = compile_spec(source_from_text(text, report=report), report)
    report.raise_if_errors()
    return Plan.from_json(done.plan or {})


def directory_of(options: argparse.Namespace, target: str) -> Path:
    """Where the run of a task lies."""
    place = (options.runs or ROOT / "runs" / "tensors") / f"{target}{'-quick' if options.quick else ''}"
    if options.fresh:
        shutil.rmtree(place, ignore_errors=True)
    return Path(place)


def trained(options: argparse.Namespace, plan: Any, directory: Path, sets: Any) -> dict[str, Any]:
    """The metrics of the run in the folder, which is trained, or trained on, where it is not over."""
    from equic.runtime.training import train

    clock = directory / "processor.json"
    if not (directory / "metrics.json").exists():
        minutes = options.minutes or (QUICK_MINUTES if options.quick else None)
        resume = (directory / "last.ckpt").exists()
        before = json.loads(clock.read_text()) if clock.exists() else 0.0
        began = time.process_time()
        budget = None if resume else minutes
        result = train(plan, directory=directory, device="cpu", minutes=budget, resume=resume, sets=sets)
        clock.write_text(json.dumps(before + time.process_time() - began))
        if result.interrupted:
            raise SystemExit(f"stopped; the same command goes on with the run in {directory}")
    found: dict[str, Any] = json.loads((directory / "metrics.json").read_text())
    return found | {"processor": json.loads(clock.read_text())}


def keys(target: str) -> tuple[tuple[str, int | None, str | None], ...]:
    """The keys of the rows of one task."""
    names = (
        "RMSE, test",
        "MAE, test",
        "RMSE, training",
        "equivariance error in float64",
        "wall-clock time of the run",
        "processor time of the run",
    )
    return tuple((f"{target} {name}", THREADS, "float32") for name in names)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the folder with water and water_tensor ($EQUIC_DATA/deepmd)",
    )
    options.add_argument("--runs", type=Path, metavar="DIR", help="where the runs lie, and go on")
    options.add_argument(
        "--minutes", type=float, help=f"for each task, not the epochs of its spec (quick: {QUICK_MINUTES:g})"
    )
    given = options.parse_args(arguments)
    root = (given.data or Path(os.environ.get("EQUIC_DATA", "data")) / "deepmd").resolve()
    data = root / "water_tensor"
    if not folders(data, "dipole")[0].is_dir():
        raise SystemExit(
            f"there is no {folders(data, 'dipole')[0]}; give the folder by --data, or set EQUIC_DATA"
        )
    works: list[Measurement] = []
    for target in TASKS:
        work: Callable[[], Sequence[Row]] = partial(measure, given, data, target)
        works.append(Measurement(keys(target), work))
    names = (
        "energy RMSE, test",
        "forces RMSE, test",
        "wall-clock time of the run",
        "processor time of the run",
    )
    water: Callable[[], Sequence[Row]] = partial(measure_water, given, root / "water" / "data")
    works.append(Measurement(tuple((f"water {name}", THREADS, "float32") for name in names), water))
    run("tensors", works, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
