"""Two processes take the steps of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from equic.runtime.artifact import load_artifact
from equic.runtime.testing.training import morse_frames, small_mace
from equic.runtime.training import train

SCRIPT = """
import sys
from pathlib import Path
from equic.runtime.testing.training import morse_frames, small_mace
from equic.runtime.training import train
from equic.runtime.training.ranks import joined

sizes = {"batch": 5, "accumulate": 2, "epochs": 2, "ema": 0.9}
with joined() as processes:
    assert processes.size == 2
    plan = small_mace(**sizes)
    sets = {"train": morse_frames(plan, 7), "validation": morse_frames(plan, 3, 1)}
    train(plan, directory=Path(sys.argv[1]), device="cpu", sets=sets, progress=False)
"""


def test_two_processes_are_one(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    plan = small_mace(batch=5, accumulate=2, epochs=2, ema=0.9)
    sets = {"train": morse_frames(plan, 7), "validation": morse_frames(plan, 3, 1)}
    one = train(plan, directory=tmp_path / "one", device="cpu", sets=sets, progress=False)
    two = load_artifact(tmp_path / "two" / "model.equic")
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        torch.testing.assert_close(a, b.to(a.dtype), rtol=1e-9, atol=1e-11)
    metrics = two.manifest["training"]["metrics"]
    for name, errors in one.metrics.items():
        assert metrics[name]["forces"]["rmse"] == pytest.approx(errors["forces"]["rmse"], rel=1e-8)
