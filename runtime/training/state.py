"""What a run has to remember beside weights and optimiser, and the files of its folder."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from equic.runtime import atomic
from torch import Tensor

from .errors import TrainingError

CHECKPOINT = "last.ckpt"
PLAN = "plan.json"
SETTINGS = "run.json"
SPLIT = "split.json"
ARTIFACT = "model.equic"


@dataclass(slots=True)
class Best:
    """The weights with the smallest validation loss so far."""

    loss: float
    step: int
    epoch: float
    weights: list[Tensor]
    stage: int = 0  # how many weights of the loss had changed: losses of other stages are not comparable

    def to_state(self) -> dict[str, Any]:
        """Plain data and tensors."""
        return {"loss": self.loss, "step": self.step, "epoch": self.epoch} | {
            "weights": self.weights,
            "stage": self.stage,
        }


def new_run_directory(root: str | Path, name: str) -> Path:
    """Make and return `root/NAME/NUMBER`, the first number that no run has taken.

    Making a folder either succeeds or fails as a whole, so two processes never get the same one. Characters
    of `name` that do not suit a folder become `-`.
    """
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".") or "model"
    parent = Path(root) / safe
    parent.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=0)
    while True:
        try:
            (parent / str(number)).mkdir()
        except FileExistsError:
            number += 1
        else:
            return parent / str(number)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint as tensors and plain data; it is read without unpickling code.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, ... on damaged files
        raise TrainingError(
            f"{path} cannot be read: {error}", help="train into a new folder; this run cannot be resumed"
        ) from error
    return state


def replace_file(temporary: Path, path: Path) -> None:
    """Force a finished file to disk and give it its name in one step."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The history as CSV: one row per round, one column per number."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic.write_bytes(path, text.getvalue().encode())


def read_json(path: Path) -> Any:
    """The JSON in a file of a run.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise TrainingError(f"{path} cannot be read: {error}", help="train into a new folder") from error


def write_json(path: Path, data: Any) -> None:
    """`data` as readable JSON."""
    atomic.write_bytes(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())
