"""The slope of an energy against time, with an error that knows of slow noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Waves from half a period to three in the whole run: where a trajectory's slope gets its noise from.
_WAVES = 6
# Student's t with six degrees of freedom goes as far for 99.73 % as three standard deviations of a normal variable.
_STUDENT = 4.904064673648446 / 3.0
FEWEST_FRAMES = 16


@dataclass(frozen=True, slots=True)
class Drift:
    """A straight line through the energy per atom against time.

    `slope` and its `standard_error` are in eV/atom/ps; three standard errors are a 99.73 % interval.
    """

    slope: float
    standard_error: float


def fit_drift(time: NDArray[np.float64], energy: NDArray[np.float64]) -> Drift | None:
    """Least-squares slope of `energy` [frames] against evenly spaced `time` [frames], with a standard error.

        slope = sum c_i E_i / sum c_i²,   c = time less its mean
        error = t/3 · sqrt(mean_k (q_k · E)² / sum c_i²)

    The q_k are the six slowest cosines of the run, made orthonormal to the line: a ramp is slow itself, so its noise
    is the noise of slow waves, however fast and strong the vibrations on top of them are. (One autoregressive
    coefficient, which neighbouring samples decide, sees only those.) Six squares are few, and Student's t is where
    three standard errors would be. Holds for noise with a correlation time up to a tenth of the run.
    None below 16 frames.

    Reference: lazarus2018har
    """
    count = len(time)
    if count < FEWEST_FRAMES:
        return None
    centred = time - time.mean()
    spread = float(centred @ centred)
    deviation = energy - energy.mean()
    slope = float(centred @ deviation) / spread
    phase = np.pi * (np.arange(count) + 0.5) / count
    waves = [np.cos(k * phase) for k in range(1, _WAVES + 1)]
    basis = np.linalg.qr(np.stack([np.ones(count), centred, *waves], axis=1))[0][:, 2:]
    noise = basis.T @ (deviation - slope * centred)
    return Drift(slope, _STUDENT * float(np.sqrt(np.mean(noise**2) / spread)))
