"""Rows of the history for those who watch: TensorBoard, Weights & Biases, MLflow, through lightning.

The history is in history.csv in any case; a resumed run is a new one to W&B and MLflow. Tried with tensorboard 2.21,
wandb 0.31 (offline) and mlflow 3.17. Imports lightning: import this module only to train.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import TrainingError

# What lightning calls it, and the package that has to be there.
KNOWN = {
    "tensorboard": ("TensorBoardLogger", "tensorboard"),
    "wandb": ("WandbLogger", "wandb"),
    "mlflow": ("MLFlowLogger", "mlflow"),
}


def open_loggers(names: Sequence[str], directory: Path, name: str) -> list[Any]:
    """A logger for each name, writing below the run's folder where it writes files.

    All runs beside this one share a database of MLflow, `mlflow.db` in the folder above, unless the environment names
    a server (MLFLOW_TRACKING_URI): files alone are no longer enough for mlflow.

    Raises:
        TrainingError: a name that is not known, or a package that is not installed.
    """
    from lightning.pytorch import loggers

    found = []
    for one in names:
        if one not in KNOWN:
            raise TrainingError(f"`{one}` is no logger", help=f"known are: {', '.join(KNOWN)}")
        cls, package = KNOWN[one]
        options: dict[str, Any] = {
            "tensorboard": {"save_dir": directory, "name": "", "version": "tensorboard"},
            "wandb": {"save_dir": directory, "project": name, "name": "/".join(directory.parts[-2:])},
            "mlflow": {
                "experiment_name": name,
                "run_name": "/".join(directory.parts[-2:]),
                "tracking_uri": os.environ.get("MLFLOW_TRACKING_URI")
                or f"sqlite:///{directory.resolve().parent / 'mlflow.db'}",
                "artifact_location": str(directory.resolve()),
            },
        }[one]
        try:
            found.append(getattr(loggers, cls)(**options))
        except ImportError as error:  # lightning raises ModuleNotFoundError with advice for its own extras
            raise TrainingError(
                f"logging to {one} needs the package {package}",
                help=f"pip install 'equic[loggers]' ({package})",
            ) from error
    return found


def log_row(loggers: Sequence[Any], row: Mapping[str, Any]) -> None:
    """One row of the history, at its step."""
    numbers = {key: float(value) for key, value in row.items() if isinstance(value, int | float)}
    for logger in loggers:
        logger.log_metrics(numbers, step=int(row["step"]))


def close_loggers(loggers: Sequence[Any], *, finished: bool) -> None:
    """Write what is held back, and end the runs: a later one in this process must not go on with them."""
    for logger in loggers:
        logger.finalize("success" if finished else "failed")
        if type(logger).__name__ == "WandbLogger":  # lightning leaves W&B's run open
            logger.experiment.finish(exit_code=0 if finished else 1)
