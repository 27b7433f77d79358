"""Compare an exported file with the model it came from, in a fresh process."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from equic.runtime.build import Model
from equic.runtime.errors import ExportError
from torch import Tensor

from .samples import check_batches
from .signature import Port
from .trace import recast

# Largest difference allowed, relative to the largest number of that output over all batches. Rounding in single
# precision depends on the weights: a file may also be as far from double precision as `_SLACK` times its model.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5}
_SLACK = 4.0
_TIMEOUT_S = 600


Outputs = list[dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a package is from its model: per output, the worst relative difference and what was allowed."""

    worst: dict[str, float]
    allowed: dict[str, float]


def self_check(package: Path, model: Model, inputs: tuple[Port, ...]) -> Deviation:
    """Run a compiled `package` with torch's run-time checks on and compare with `model` (`check_against`)."""
    worker = Path(__file__).with_name("worker.py")
    return check_against(model, inputs, [sys.executable, "-P", str(worker), str(package.resolve())])


def check_against(model: Model, inputs: tuple[Port, ...], command: Sequence[str]) -> Deviation:
    """Run an exported file at sizes 1, 2, 17 and 1000 in a fresh process and compare with `model`.

    The `command` is called with two more arguments, a safetensors file of inputs, `CASE/POSITION/NAME`, and one to
    write, `CASE/POSITION`. It imports torch and safetensors alone: what runs there runs without equic. The numbers
    are compared with those of the model in float64, whatever the file computes in.

    Raises:
        ExportError: the file does not run at some size, or its numbers differ from the model's.
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
        _run_worker([*command, str(given), str(got)])
        results = load_file(got)
    reference = model if model.dtype is torch.float64 else recast(model, torch.float64, device)
    expected = _outputs(reference, batches, device)
    scales = _scales(expected)
    own = expected if reference is model else _outputs(model, batches, device)
    found = [
        {name: results[f"{case}/{place}"] for place, name in enumerate(batch)}
        for case, batch in enumerate(expected)
    ]
    rounding = _differences(expected, own, scales)
    floor = TOLERANCE[model.dtype]
    allowed = {name: max(floor, _SLACK * value) for name, value in rounding.items()}
    worst = _differences(expected, found, scales)
    for name, value in worst.items():
        if not value <= allowed[name]:  # NaN included
            raise ExportError(
                f"the exported file's `{name}` differs from the model's by {value:.1e} of its largest value "
                f"(allowed: {allowed[name]:.0e})",
                help="this is a fault of the compiler on this machine: try another version of torch",
            )
    return Deviation(worst, allowed)


def _outputs(model: Model, batches: list[dict[str, Tensor]], device: torch.device) -> Outputs:
    return [
        {name: value.cpu() for name, value in model({k: v.to(device) for k, v in batch.items()}).items()}
        for batch in batches
    ]


def _scales(expected: Outputs) -> dict[str, float]:
    """The largest number of each output over all batches, 1 where all are zero."""
    scales = {}
    for name in expected[0]:
        if not all(bool(batch[name].isfinite().all()) for batch in expected):
            raise ExportError(
                f"the model itself gives `{name}` that is not finite on random structures",
                help="train it again: its weights or statistics hold NaN or infinity",
            )
        scales[name] = max(float(batch[name].abs().max()) for batch in expected) or 1.0
    return scales


def _differences(expected: Outputs, found: Outputs, scales: dict[str, float]) -> dict[str, float]:
    """The largest difference of each output, of its scale; NaN where a number is."""
    worst = dict.fromkeys(scales, 0.0)
    for reference, other in zip(expected, found, strict=True):
        for name, scale in scales.items():
            a, b = reference[name].double(), other[name].double()
            if a.shape != b.shape:
                raise ExportError(
                    f"the exported file gives `{name}` of shape {tuple(b.shape)}, the model {tuple(a.shape)}"
                )
            difference = float((a - b).abs().max()) / scale
            if math.isnan(difference) or difference > worst[name]:  # once NaN, always NaN
                worst[name] = difference
    return worst


def _run_worker(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, env={**os.environ, "PYTHONPATH": ""}
        )
    except subprocess.TimeoutExpired as problem:
        raise ExportError(f"the exported file did not finish its check within {_TIMEOUT_S} s") from problem
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ExportError(f"the exported file does not run in a fresh process: {last}")
