"""Training through lightning, which is imported only when a run starts."""

from .errors import TrainingError
from .losses import LossTerm, loss_terms
from .metrics import evaluate
from .report import errors_table
from .run import TrainingResult, train
from .state import new_run_directory

__all__ = [
    "LossTerm",
    "TrainingError",
    "TrainingResult",
    "errors_table",
    "evaluate",
    "loss_terms",
    "new_run_directory",
    "train",
]
