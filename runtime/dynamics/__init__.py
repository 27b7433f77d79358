"""Molecular dynamics on ASE, and what it tells of the energy."""

from .drift import Drift, fit_drift
from .errors import DynamicsError
from .run import MDResult, run_md

__all__ = ["Drift", "DynamicsError", "MDResult", "fit_drift", "run_md"]
