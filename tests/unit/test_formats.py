"""Formats that ASE reads, from files to labels in internal units."""

from __future__ import annotations

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from equic.runtime.data import read_frames
from equic.runtime.testing.data import displaced_molecules

LABELS = {name: {"key": name, "factor": 1.0} for name in ("energy", "forces", "stress")}
KILOBAR = 1 / 1602.1766208  # eV/Å^3
CELL = 5.43 * np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
POSITIONS = np.array([[0.0, 0.0, 0.0], [1.4, 1.3, 1.36]])
FORCES = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])
# kbar, VASP's order xx yy zz xy yz zx, and its sign: positive where the cell wants to expand
PRESSURES = (10.0, 20.0, 30.0, 4.0, 5.0, 6.0)
