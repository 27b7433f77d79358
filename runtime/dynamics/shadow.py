"""The energy that velocity Verlet keeps: that of the slightly different system which its steps follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import units
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]


class ShadowEnergy:
    """Total energies of velocity Verlet, corrected to fourth order in the time step h, one step late.

        H~ = H + h² (v · K v / 12 − F · M⁻¹ F / 24),   K v = −(F(t + h) − F(t − h)) / 2h

    The second derivatives K come from the forces before and after. The total energy itself goes up and down with
    h² and with what the fastest vibrations hold, also slowly, as they exchange it with others; H~ does neither, so
    that its slope is that of the integration and the forces.

    Units: eV. Reference: engle2005monitoring
    """

    def __init__(self, timestep_fs: float) -> None:
        self._step = timestep_fs * units.fs
        self._before: Array | None = None
        self._now: tuple[float, Array, Array, Array] | None = None

    def add(self, atoms: Atoms, total: float) -> float | None:
        """Take the next step; the shadow energy of the step before it, None for the first two calls."""
        forces = atoms.get_forces(md=True).copy()
        found = None
        if self._now is not None and self._before is not None:
            energy, velocities, inverse, now = self._now
            curvature = -float((velocities * (forces - self._before)).sum()) / (2.0 * self._step)
            pull = float((now**2 * inverse).sum())
            found = energy + self._step**2 * (curvature / 12.0 - pull / 24.0)
        self._before = None if self._now is None else self._now[3]
        self._now = (total, atoms.get_velocities(), 1.0 / atoms.get_masses()[:, None], forces)
        return found
