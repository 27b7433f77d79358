"""Three programs that train a model of the same frames, each in its own processes, by its own clock of the processor.

Every function returns what is known after one budget: an `Outcome`. Their processes have one thread each. What is
in the folder already is not done again, so that a stopped benchmark goes on between two trainings.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WORKERS = Path(__file__).with_name("peers")
STAGE_ONE = 0.75  # of mace's run: where its second stage starts if not said otherwise
# arguments of mace_run_train; see `mace`
MACE = {
    "model": "ScaleShiftMACE",
    "scaling": "rms_forces_scaling",
    "E0s": "average",
    "r_max": "5.0",
    "num_channels": "64",
    "max_L": "0",
    "batch_size": "5",
    "valid_batch_size": "25",
    "lr": "0.01",
    "ema_decay": "0.99",
    "seed": "1",
    "device": "cpu",
    "default_dtype": "float32",
    "num_workers": "0",
    "plot": "False",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """After a budget: RMSE of the test frames' forces (meV/Å), processor seconds, and epochs."""

    forces: float
    seconds: float
    epochs: float


@dataclass(frozen=True, slots=True)
class Frames:
    """A folder with train.xyz, validation.xyz and test.xyz: the same frames for all programs."""

    folder: Path

    def test_forces(self) -> np.ndarray:
        """Labels of the test frames: [frame, atom, 3] eV/Å."""
        import ase.io

        return np.stack([a.arrays["REF_forces"] for a in ase.io.read(self.folder / "test.xyz", index=":")])


def write_frames(plan: Any, folder: Path) -> Frames:
    """The sets of our plan as files that mace-torch and nequip read, so that all are given the same split."""
    import ase.io
    from ase import Atoms
    from equic.runtime.data import load_sets

    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in load_sets(plan).items():
        written = []
        for frame in frames:
            symbols = [plan.system["species"][i] for i in frame.species]
            atoms = Atoms(symbols, positions=frame.positions)
            atoms.info["REF_energy"] = float(frame.labels["energy"])
            atoms.arrays["REF_forces"] = np.asarray(frame.labels["forces"], dtype=np.float64)
            written.append(atoms)
        ase.io.write(folder / f"{name}.xyz", written, format="extxyz")
    return Frames(folder)


def equic(
    spec: Path, overrides: Sequence[str], frames: Frames, runs: Path, budget: float, seed: int
) -> Outcome:
    """Our own `train`: one run for the budget, whose schedule ends with it.

    Everything behind the imports is counted: the compiler, kernels, data, validation, errors at the end.
    """
    import equic as library

    folder = runs / f"equic-{seed}-{budget:g}"
    artifact = folder / "run" / "model.equic"
    if not artifact.exists():
        _fresh(folder)
        order = folder / "order.json"
        order.write_text(
            json.dumps(
                {
                    "spec": str(spec),
                    "overrides": [*overrides, "data.test=null", f"train.seed={seed}"],
                    "directory": str(folder / "run"),
                    "clock": str(folder / "clock.jsonl"),
                    "budget": budget,
                }
            ),
            encoding="utf-8",
        )
        _run([sys.executable, str(WORKERS / "own_training.py"), str(order)], folder)
    last = lines(folder)[-1]
    import ase.io

    atoms = ase.io.read(frames.folder / "test.xyz", index=":")
    found = library.load(artifact).predict(atoms)
    forces = np.stack([np.asarray(one["forces"]) for one in found])
    return Outcome(rmse(forces, frames.test_forces()), last["seconds"], last["epoch"])


def mace(python: Path, frames: Frames, runs: Path, budget: float, longest: float) -> Outcome:
    """`mace_run_train` of mace-torch: its first stage, and its second for the last quarter of the budget.

    The first stage is the same for all budgets, up to the epoch where the second starts: it is run once, for
    the `longest`. Its settings: AMSGrad at 0.01, moving average 0.99, batches of 5 and scaling by the forces as in
    its paper (arXiv:2206.07697), float32, and messages of 64 invariant channels; all else is its default. The
    example of its README, 128 channels with vectors, has epochs that take several times as long; 128x0e and
    64x0e+64x1o were at 134 and 136 meV/Å after two epochs of about twice the time, 64x0e at 95 after four. Only
    the steps and validations are counted.
    """
    first, second = runs / "mace", runs / f"mace-{budget:g}"
    if not (first / "done").exists():
        _fresh(first)
        # with a second stage far away: its rate is kept in the checkpoints, and wanted when they are read
        given = ["--max_num_epochs=100000", "--stage_two", "--start_stage_two=90000"]
        given += ["--save_all_checkpoints", "--keep_checkpoints"]
        _mace(python, frames, first, STAGE_ONE * longest, given)
        (first / "done").touch()
    until = end_of_stage_one(runs, budget)
    model = second / "checkpoints" / "mace_run-1_stagetwo.model"
    if not model.exists():
        _fresh(second)
        model.parent.mkdir()
        number, pace = until["epoch"], until["seconds"] / (until["epoch"] + 1)
        name = f"mace_run-1_epoch-{number}.pt"
        shutil.copy(first / "checkpoints" / name, model.parent / name)
        # the program takes the number of the checkpoint's epoch again, and the rate of the second stage from the
        # next one on: the epoch of the checkpoint is run twice, under the first stage
        end = number + max(2, math.floor((budget - until["seconds"]) / pace))
        given = [
            "--restart_latest",
            "--stage_two",
            f"--start_stage_two={number + 1}",
            f"--max_num_epochs={end}",
        ]
        _mace(python, frames, second, math.inf, given)
    after = lines(second)
    command = [str(python.with_name("mace_eval_configs")), f"--configs={frames.folder / 'test.xyz'}"]
    command += [f"--model={model}", f"--output={second / 'test.xyz'}", "--default_dtype=float32"]
    _run([str(python), "-W", "ignore", *command, "--device=cpu", "--batch_size=25"], second)
    import ase.io

    forces = np.stack([a.arrays["MACE_forces"] for a in ase.io.read(second / "test.xyz", index=":")])
    seconds = until["seconds"] + after[-1]["seconds"]
    return Outcome(rmse(forces, frames.test_forces()), seconds, until["epoch"] + 1 + len(after))


def end_of_stage_one(runs: Path, budget: float) -> dict[str, Any]:
    """The last epoch of mace's first stage that a run of this budget takes over."""
    return [line for line in lines(runs / "mace") if line["seconds"] <= STAGE_ONE * budget][-1]


def _mace(python: Path, frames: Frames, folder: Path, seconds: float, given: Sequence[str]) -> None:
    settings = [f"--{key}={value}" for key, value in MACE.items()]
    settings += [f"--{name}_file={frames.folder / file}.xyz" for name, file in
                 (("train", "train"), ("valid", "validation"))]  # fmt: skip
    worker = [str(python), "-W", "ignore", str(WORKERS / "mace_training.py")]
    clock = [str(folder / "clock.jsonl"), f"{seconds:g}"]
    _run([*worker, *clock, "--name=mace", "--ema", "--amsgrad", *settings, *given], folder)


def nequip(python: Path, frames: Frames, runs: Path, budget: float, budgets: Sequence[float]) -> Outcome:
    """`nequip-train` on nequip_training.yaml: one run for all budgets, the best checkpoint so far at each.

    Its rate falls when its validation errors stop falling, whatever the budget. Only the steps and validations
    are counted.
    """
    folder = runs / "nequip"
    kept = folder / f"at_{budget:g}.ckpt"
    if not kept.exists():
        _fresh(folder)
        places = {
            "EQUAL_TIME_FRAMES": str(frames.folder),
            "EQUAL_TIME_CLOCK": str(folder / "clock.jsonl"),
            "EQUAL_TIME_BUDGETS": ",".join(f"{seconds:g}" for seconds in budgets),
        }
        worker = [str(python), "-W", "ignore", str(WORKERS / "nequip_training.py")]
        given = ["-cp", str(WORKERS), "-cn", "nequip_training", f"hydra.run.dir={folder / 'run'}"]
        _run([*worker, *given], folder, places)
    out = folder / f"at_{budget:g}.npz"
    worker = [str(python), "-W", "ignore", str(WORKERS / "nequip_forces.py")]
    _run([*worker, str(kept), str(frames.folder / "test.xyz"), str(out)], folder)
    last = [line for line in lines(folder) if line["seconds"] <= budget][-1]
    with np.load(out) as found:
        return Outcome(rmse(found["forces"], frames.test_forces()), last["seconds"], last["epoch"] + 1)


def rmse(found: np.ndarray, wanted: np.ndarray) -> float:
    """Over all components of all atoms, in meV/Å."""
    return 1e3 * float(np.sqrt(np.mean(np.square(found - wanted))))


def lines(folder: Path) -> list[dict[str, Any]]:
    """What the clock of a training has noted, an epoch a line."""
    return [json.loads(line) for line in (folder / "clock.jsonl").read_text(encoding="utf-8").splitlines()]


def _fresh(folder: Path) -> None:
    """An empty folder; what a stopped training left is moved aside, never removed."""
    if folder.exists():
        number = 1
        while (aside := folder.with_name(f"{folder.name}.stopped{number}")).exists():
            number += 1
        folder.rename(aside)
    folder.mkdir(parents=True)


def _run(command: Sequence[str], folder: Path, places: dict[str, str] | None = None) -> None:
    """A program with one thread; what it prints goes into the folder."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with (folder / "printed.log").open("a", encoding="utf-8") as printed:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **one, **(places or {})},
            stdout=printed,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}; see {folder / 'printed.log'}")
