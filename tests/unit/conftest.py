"""Fixtures that several tests of data share."""

import pytest
from ase import Atoms
from ase.io import write
from equic.runtime.plan import Plan
from equic.runtime.testing.plans import mace_plan


@pytest.fixture
def plan() -> Plan:
    """A model of H, C and O with a short cutoff."""
    return mace_plan(species=("H", "C", "O"), cutoff=3.0)


@pytest.fixture
def saved(tmp_path):
    """Write structures to a file of this name, and give its path."""

    def save(name: str, frames: list[Atoms]) -> str:
        write(tmp_path / name, frames, format="extxyz")
        return str(tmp_path / name)

    return save
