"""Steppers for phase-space models."""

from .field import field_of
from .rollout import INTEGRATORS, energies, rollout
from .steppers import Field, Stepper, kick_drift_kick, leapfrog, rk4

__all__ = [
    "INTEGRATORS",
    "Field",
    "Stepper",
    "energies",
    "field_of",
    "kick_drift_kick",
    "leapfrog",
    "rk4",
    "rollout",
]
