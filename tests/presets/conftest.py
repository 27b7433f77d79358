"""Small models of the presets for atoms, and structures to hold them against other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.plan import Plan
from equic.runtime.testing.inputs import batch

DATA = Path(__file__).parents[2] / "examples" / "data" / "ethanol.xyz"
SPECIES = ("H", "C", "O")


def spec_of(model, *, symmetry=None, cutoff=3.5, system=None, **sections):
    """The text of a spec with this model; JSON is YAML."""
    spec = {
        "equic": 1,
        "name": "small",
        "system": system or {"kind": "atoms", "species": list(SPECIES), "cutoff": f"{cutoff} Å"},
        "symmetry": {"O(3)": "hard"} if symmetry is None else symmetry,
        "targets": {
            "energy": {"per": "system", "rep": "0e", "unit": "eV"},
            "forces": {"gradient_of": "energy", "wrt": "positions", "scale": -1, "unit": "eV/Å"},
        },
        "model": model,
        **sections,
    }
    return json.dumps(spec, ensure_ascii=False)


def compiled(text):
    report = Report()
    done = compile_spec(source_from_text(text, report=report), report, debug=True)
    assert done.ok, "\n".join(str(one) for one in report.diagnostics)
    return done


def built(model, seed=0, **options):
    """The float64 module of a model section, with statistics that are no round numbers."""
    module = build_module(
        Plan.from_json(compiled(spec_of(model, **options)).plan), seed=seed, dtype=torch.float64
    )
    known = set(module.plan.statistics)
    numbers = {
        "average_neighbors": 7.3,
        "atomic_energies": [-1.0, -2.0, -3.0],
        "scale": 0.5,
        "shift": 0.1,
    }
    module.set_statistics({name: value for name, value in numbers.items() if name in known})
    return module


def molecule(atoms=7, seed=0, cutoff=3.5, periodic=False):
    """One system at random places, as inputs of a model."""
    rng = np.random.default_rng(seed)
    side = (atoms / 0.08) ** (1 / 3)
    cell = np.diag([side] * 3) if periodic else np.zeros((3, 3))
    positions = np.empty((0, 3))
    while len(positions) < atoms:
        new = rng.uniform(0, side, 3)
        if all(np.linalg.norm(new - old) > 0.8 for old in positions):
            positions = np.vstack((positions, new))
    return batch([(positions, rng.integers(0, 3, atoms), cell)], cutoff)


@pytest.fixture(scope="session")
def presets():
    """The tools above, for tests that cannot import this file."""
    from types import SimpleNamespace

    return SimpleNamespace(spec_of=spec_of, compiled=compiled, built=built, molecule=molecule, data=DATA)
