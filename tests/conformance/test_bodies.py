"""Pairs of bodies: squared distances, shared pair energies, and what they conserve."""

import itertools

import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.certify import certify
from equic.runtime.layers.bodies import Distances, SumPairs
from equic.runtime.plan import Plan

SPEC = """\
equic: 1
name: bodies
system: {{kind: phase_space, coordinates: {{{coordinates}}}}}
symmetry: {{SO(2): hard, translation: hard, permutation: {{swap: [{swap}], mode: {mode}}}}}
constraints: {{hamiltonian: {{separable: true, masses: {masses}, integrator: leapfrog}}}}
targets: {{derivatives: {{flow_of: hamiltonian}}}}
model: {{architecture: pairwise_energy, hidden: [8]}}
"""


def compiled(count: int, masses: list[float] | None = None, mode: str = "hard", model: str | None = None):
    names = [f"q{k}" for k in range(count)]
    text = SPEC.format(
        coordinates=", ".join(f"{name}: 1x1" for name in names),
        masses=masses or [1.0] * count,
        swap=", ".join(names),
        mode=mode,
    )
    if model is not None:
        text = text.replace("{architecture: pairwise_energy, hidden: [8]}", model)
    report = Report()
    return compile_spec(source_from_text(text, report=report), report, debug=True)


def model_of(count: int, masses: list[float] | None = None, mode: str = "hard"):
    done = compiled(count, masses, mode)
    done.report.raise_if_errors()
    return build_module(Plan.from_json(done.plan), seed=1, dtype=torch.float64)


def test_distances_are_those_of_all_pairs():
    bodies = [torch.randn(4, 3, dtype=torch.float64) for _ in range(4)]
    found = Distances({})(*bodies)
    expected = torch.stack([((a - b) ** 2).sum(-1) for a, b in itertools.combinations(bodies, 2)], dim=-1)
    assert found.shape == (4, 6, 1)
    torch.testing.assert_close(found[..., 0], expected)
    torch.testing.assert_close(SumPairs()(found)[..., 0], expected.sum(-1))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_bodies_of_equal_mass_cannot_be_told_apart(count):
    model = model_of(count)
    state = torch.randn(6, 4 * count, dtype=torch.float64)
    parts = state.reshape(6, 2, count, 2)
    order = torch.roll(torch.arange(count), 1)
    swapped = parts[:, :, order].reshape(6, -1)
    energy = model({"state": state})["hamiltonian"]
    torch.testing.assert_close(model({"state": swapped})["hamiltonian"], energy, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_equal_bodies_are_proven_alike_and_measured_so(count):
    model = model_of(count)
    (claim,) = [claim for claim in model.plan.claims if claim.factor == "permutation"]
    assert claim.verdict == "exact"
    item = certify(model, dtypes=("float64",)).item("permutation", "float64")
    assert item.status == "holds"
    assert item.value < 1e-10


def test_different_masses_are_told_apart_by_proof_and_by_measure():
    done = compiled(3, [1.0, 1.0, 2.0])
    (error,) = done.report.errors
    assert error.code == "T201"
    assert "`q1.kinetic` breaks permutation" in error.message
    model = model_of(3, [1.0, 1.0, 2.0], mode="free")
    (claim,) = [claim for claim in model.plan.claims if claim.factor == "permutation"]
    assert claim.verdict == "broken"
    assert certify(model, dtypes=("float64",)).item("permutation", "float64").value > 1e-3


def test_networks_of_their_own_tell_bodies_apart():
    """Two equal networks with different weights are not the same: the proof must not confuse them."""
    dense = "{blocks: [{kind: mlp, of: [coordinates], hidden: [8]}, {kind: kinetic}]}"
    done = compiled(2, model=dense)
    assert any("breaks permutation" in error.message for error in done.report.errors)


def test_three_bodies_keep_energy_momentum_and_angular_momentum():
    certificate = certify(model_of(3, [1.0, 2.0, 0.5], mode="free"), dtypes=("float64",))
    assert certificate.ok, certificate.failures
    held = {item.name for item in certificate.items if item.status == "holds"}
    assert {"conserved energy", "conserved momentum", "conserved angular momentum"} <= held
