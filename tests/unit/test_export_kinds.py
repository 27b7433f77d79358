"""Compiled packages of every kind with a forward: inputs beside atoms, tensors, particles, flows that are stepped."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import Model, build_module
from equic.runtime.certify import probes
from equic.runtime.errors import ExportError
from equic.runtime.export import Exported, export_pt2, load_pt2
from equic.runtime.export.samples import sample_inputs
from equic.runtime.integrators import rollout
from equic.runtime.plan import Plan
from equic.runtime.testing.plans import hnn_plan

RESPONSES = """\
equic: 1
name: responses
system:
  kind: atoms
  species: [H, O]
  cutoff: 4.0 Å
  inputs: {field: {per: system, rep: 1o, unit: V/Å}, charge: {per: node, rep: 0e, unit: e}}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
  stress: {gradient_of: energy, wrt: strain}
  dipole: {gradient_of: energy, wrt: field, scale: -1}
  alpha: {per: system, rep: 0e+2e, unit: Å^3}
  charges: {per: node, rep: 0e, unit: e}
model: {architecture: mace, channels: 2, lmax: 2, hidden_lmax: 2, correlation: 1, layers: 1, radial: [4]}
"""

PARTICLES = """\
equic: 1
name: particles
system:
  kind: particles
  inputs: {velocity: {per: node, rep: 1o}, charge: {per: node, rep: 0e}, wind: {per: system, rep: 1o}}
  interactions: all
symmetry: {O(3): hard}
targets:
  displacement: {per: node, rep: 1o}
  energy: {per: system, rep: 0e}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
  polarization: {gradient_of: energy, wrt: wind, scale: -1}
model: {architecture: mace, channels: 2, lmax: 1, hidden_lmax: 1, correlation: 1, layers: 1, radial: [4]}
"""

SPECS = {"responses": RESPONSES, "particles": PARTICLES}
OUTPUTS = {
    "responses": {"energy", "node_energy", "forces", "stress", "dipole", "alpha", "charges"},
    "particles": {"energy", "node_energy", "forces", "displacement", "polarization"},
}


def built(name: str) -> Model:
    report = Report()
    done = compile_spec(source_from_text(SPECS[name], report=report), report, debug=True)
    report.raise_if_errors()
    model = build_module(Plan.from_json(done.plan), seed=3, dtype=torch.float64)
    known = {"average_neighbors": 5.0, "scale": 1.3, "alpha_shift": [2.0]}
    model.set_statistics({key: value for key, value in known.items() if key in model.plan.statistics})
    return model


@pytest.fixture(scope="session", params=SPECS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Exported]:
    model = built(request.param)
    path = tmp_path_factory.mktemp("kinds") / f"{request.param}.pt2"
    return model, load_pt2(export_pt2(model, path, probes=probes(model, seed=1)))


@pytest.mark.parametrize("atoms", [[1], [2], [7, 1, 30]], ids=str)
def test_every_output_at_every_size(pair: tuple[Model, Exported], atoms: list[int]) -> None:
    model, exported = pair
    inputs = sample_inputs(model.plan, atoms, seed=len(atoms))
    expected, found = model(inputs), exported(inputs)
    assert set(found) == OUTPUTS[model.plan.name]
    for name, value in expected.items():
        assert found[name].shape == value.shape
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-10)
    assert all(float(value.abs().max()) > 0 for name, value in found.items() if len(atoms) > 2)


def test_systems_of_a_batch_do_not_see_each_other(pair: tuple[Model, Exported]) -> None:
    model, exported = pair
    whole = sample_inputs(model.plan, [6, 9], seed=4)
    first = {name: value[:6] if len(value) == 15 else value[:1] for name, value in whole.items()}
    mine = whole["edges"][1] < 6
    first |= {"edges": whole["edges"][:, mine], "shifts": whole["shifts"][mine]}
    together, alone = exported(whole), exported(first)
    for name, value in alone.items():
        torch.testing.assert_close(together[name][: len(value)], value, rtol=1e-10, atol=1e-10)


def test_derivatives_by_an_input_are_differences(pair: tuple[Model, Exported]) -> None:
    model, exported = pair
    field, target = {"responses": ("field", "dipole"), "particles": ("wind", "polarization")}[model.plan.name]
    inputs = sample_inputs(model.plan, [6], seed=8)
    ends = []
    for sign in (1.0, -1.0):
        moved = inputs[field].clone()
        moved[0, 1] += 1e-4 * sign
        ends.append(float(exported({**inputs, field: moved})["energy"][0]))
    numeric = -(ends[0] - ends[1]) / 2e-4
    assert float(exported(inputs)[target][0, 1]) == pytest.approx(numeric, abs=1e-6)


def test_a_missing_input_is_named(pair: tuple[Model, Exported]) -> None:
    model, exported = pair
    inputs = sample_inputs(model.plan, [3], seed=1)
    with pytest.raises(ExportError, match="needs the input `charge`"):
        exported({name: value for name, value in inputs.items() if name != "charge"})


def test_verify_measures_it_in_a_process_of_its_own(pair: tuple[Model, Exported]) -> None:
    _, exported = pair
    command = [sys.executable, "-m", "equic", "verify", str(exported.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["ok"]
    assert any(item["name"].startswith("parity") and item["status"] == "holds" for item in found["items"])


def test_a_compiled_flow_is_stepped_as_its_model(tmp_path: Path) -> None:
    model = build_module(hnn_plan(dim=4, hidden=(8,)), seed=1, dtype=torch.float64)
    exported = load_pt2(export_pt2(model, tmp_path / "flow.pt2"))
    start = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 4)))
    for integrator in ("leapfrog", "rk4"):
        steps = {"dt": 0.05, "steps": 40, "integrator": integrator}
        torch.testing.assert_close(rollout(exported, start, **steps), rollout(model, start, **steps))
