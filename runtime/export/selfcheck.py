"""Compare a compiled package with the model it came from, in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from equic.runtime.build import Model
from equic.runtime.errors import ExportError
from torch import Tensor

from .samples import check_batches
from .signature import Port

# Largest difference from the eager model, relative to the largest number of that output over all batches.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5}
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a package is from its model: the worst relative difference per output."""

    worst: dict[str, float]
    tolerance: float


def self_check(package: Path, model: Model, inputs: tuple[Port, ...]) -> Deviation:
    """Run `package` with torch's run-time checks on at sizes 1, 2, 17 and 1000 and compare with `model`.

    The process imports torch and safetensors alone: what runs there runs without equic.

    Raises:
        ExportError: the package does not run at some size, or its numbers differ from the model's.
    """
    from safetensors.torch import load_file, save_file

    batches = check_batches(model.plan)
    device = next(iter(model.state_dict().values())).device
    stored = {
        f"{case}/{position}/{port.name}": batch[port.name].contiguous()
        for case, batch in enumerate(batches)
        for position, port in enumerate(inputs)
    }
    with tempfile.TemporaryDirectory(prefix="equic-export-") as folder:
        given, got = Path(folder, "inputs.safetensors"), Path(folder, "outputs.safetensors")
        save_file(stored, given)
        _run_worker(package, given, got)
        results = load_file(got)
    expected = [
        {name: value.cpu() for name, value in model({k: v.to(device) for k, v in batch.items()}).items()}
        for batch in batches
    ]
    return _compare(expected, results, TOLERANCE[model.dtype])


def _run_worker(package: Path, given: Path, got: Path) -> None:
    worker = Path(__file__).with_name("worker.py")
    command = [sys.executable, "-P", str(worker), str(package.resolve()), str(given), str(got)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, env={**os.environ, "PYTHONPATH": ""}
        )
    except subprocess.TimeoutExpired as problem:
        raise ExportError(f"the compiled file did not finish its check within {_TIMEOUT_S} s") from problem
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ExportError(f"the compiled file does not run in a fresh process: {last}")


def _compare(expected: list[dict[str, Tensor]], results: dict[str, Tensor], tolerance: float) -> Deviation:
    worst: dict[str, float] = {}
    for position, name in enumerate(expected[0]):
        scale = max(float(batch[name].abs().max()) for batch in expected)
        if not all(bool(batch[name].isfinite().all()) for batch in expected):
            raise ExportError(
                f"the model itself gives `{name}` that is not finite on random structures",
                help="train it again: its weights or statistics hold NaN or infinity",
            )
        for case, batch in enumerate(expected):
            reference, value = batch[name].double(), results[f"{case}/{position}"].double()
            if reference.shape != value.shape:
                shapes = f"{tuple(value.shape)}, the model {tuple(reference.shape)}"
                raise ExportError(f"the compiled file gives `{name}` of shape {shapes}")
            difference = float((reference - value).abs().max()) / (scale or 1.0)
            if not difference <= tolerance:  # NaN included
                raise ExportError(
                    f"the compiled file's `{name}` differs from the model's by {difference:.1e} of the "
                    f"largest value (batch {case}, {len(reference)} rows; tolerance {tolerance:.0e})",
                    help="this is a fault of the compiler on this machine: try another version of torch",
                )
            worst[name] = max(worst.get(name, 0.0), difference)
    return Deviation(worst, tolerance)
