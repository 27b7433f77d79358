"""Search over the fields that a spec marks, through Optuna: resumable, by one worker or many."""

from .errors import TrialTaken, TuningError
from .evidence import evidence
from .outcome import TrialContext, TrialOutcome
from .render import render_tuning
from .result import Point, TrialRow, TuningResult
from .search import tune
from .spaces import Space
from .starts import Start, starting_points

__all__ = [
    "Point",
    "Space",
    "Start",
    "TrialContext",
    "TrialOutcome",
    "TrialRow",
    "TrialTaken",
    "TuningError",
    "TuningResult",
    "evidence",
    "render_tuning",
    "starting_points",
    "tune",
]
