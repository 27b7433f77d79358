"""Splines in the place of networks: the error asked for is kept, kernels and layers agree, a wrong knot shows."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from equic.runtime.artifact import load_artifact, save_artifact
from equic.runtime.build import build_module
from equic.runtime.certify import Subject, verify_file
from equic.runtime.certify.baseline import measure_baseline
from equic.runtime.certify.geometry import as_geometries
from equic.runtime.certify.tables import TABLES, table_items
from equic.runtime.errors import ArtifactError
from equic.runtime.kernels import find_toolchain
from equic.runtime.layers.table import Table
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from equic.runtime.tabulate import TableError, build_tables

import equic

from ..small_specs import compiled

TEXT = """
equic: 1
name: small
system: {kind: atoms, species: [H, C, O], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model: {architecture: NAME}
deploy: {tabulate: {radial: 1e-6}}
"""
# every preset whose networks see lengths alone, with what the compiler finds first
PRESETS = {
    "mace": ("layer1.weights", "length"),
    "nequip": ("layer1.weights", "length"),
    "schnet": ("layer1.weights", "length"),
    "painn": ("layer1.message.s", "source"),
    "ace": ("layer1.weights", "pair"),
    "allegro": ("layer1.start.ended", "pair"),
}
FRAMES = [molecule("CH3CH2OH"), Atoms("OH", positions=[[0, 0, 0], [0.9, 0.3, 0.1]]), Atoms("C")]
FRAMES[0].rattle(0.05, seed=1)


def plan_of(name: str) -> Plan:
    small = {"allegro": ", channels: 4, lmax: 1", "schnet": ", channels: 4", "painn": ", channels: 4"}
    text = TEXT.replace("NAME", name + small.get(name, ", channels: 4, lmax: 2"))
    return Plan.from_json(compiled(text).plan)


def model_of(name: str, dtype: torch.dtype = torch.float64, kernels: str = "auto"):
    plan = plan_of(name)
    model = build_module(plan, seed=3, dtype=dtype, kernels=kernels)
    known = {
        "average_neighbors": 3.7,
        "scale": 1.4,
        "shift": -0.3,
        "atomic_energies": [-13.0, -1029.0, -2042.0],
    }
    model.set_statistics({key: value for key, value in known.items() if key in plan.statistics})
    return model


def tables(model):
    return dict(named_tables(model))


def named_tables(model):
    return [(step.name, model.layer(step.name)) for step in model.plan.steps if step.layer == "table"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_compiler_finds_what_depends_on_lengths(name):
    mark = plan_of(name).deploy["radial"][0]
    assert (mark["step"], mark["by"]) == PRESETS[name]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("error", [1e-4, 1e-7])
def test_functions_and_answers_keep_the_error(name, error):
    """Each function at random lengths and species, its slope by differences; energies and forces of molecules."""
    exact = model_of(name, kernels="reference")
    made = build_tables(exact, error)
    rng = np.random.default_rng(0)
    count = 400
    pairs = [Atoms("HCO", positions=np.diag([0.0, 1.1, 0.0]) + [[0, 0, 0], [0, 0, 0], [0.7, 0, 1.2]])]
    inputs = model_inputs(pairs, exact.plan)
    species = torch.tensor([0, 1, 2])
    ends = torch.from_numpy(rng.integers(0, 3, size=(2, count)))
    start = max(layer.start for layer in tables(made).values())
    length = torch.from_numpy(rng.uniform(start, 4.0, size=count))
    step = 1e-5

    def values(model, at, extra):
        positions = torch.zeros(2 * count, 3, dtype=torch.float64)
        positions[count:, 2] = at
        edges = torch.stack((torch.arange(count), torch.arange(count) + count))
        given = {
            **inputs,
            "positions": positions,
            "species": torch.cat((species[ends[0]], species[ends[1]])),
            "system": torch.zeros(2 * count, dtype=torch.int64),
            "edges": edges,
            "shifts": torch.zeros(count, 3, dtype=torch.int64),
        }
        return model.intermediate(given, extra)

    for step_name, _ in named_tables(made):
        found, expected = (values(model, length, step_name) for model in (made, exact))
        assert (found - expected).abs().max() <= 1.1 * error * expected.abs().max(), step_name
        slopes = [
            (values(model, length + step, step_name) - values(model, length - step, step_name)) / (2 * step)
            for model in (made, exact)
        ]
        assert (slopes[0] - slopes[1]).abs().max() <= 1.1 * error * slopes[1].abs().max() + 1e-8, step_name
    inputs = model_inputs(FRAMES, exact.plan)
    ours, theirs = made(inputs), exact(inputs)
    spread = theirs["forces"].square().mean().sqrt()
    assert 0 < (ours["forces"] - theirs["forces"]).abs().max() <= 10 * error * spread
    bound = theirs["energy"] - torch.zeros(3, dtype=torch.float64).index_add(
        0, inputs["system"], exact.statistics.atomic_energies[inputs["species"]]
    )
    assert (ours["energy"] - theirs["energy"]).abs().max() <= 10 * error * bound.std()


@pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_kernels_and_layers_agree(name, dtype):
    made = build_tables(model_of(name, dtype), 1e-6)
    assert made.fused
    plain = build_module(made.plan, dtype=dtype, kernels="reference")
    plain.load_state_dict(made.state_dict())
    inputs = model_inputs(FRAMES, made.plan)
    expected = plain(inputs)["forces"]
    scale = expected.abs().max()
    tolerance = 1e-11 if dtype is torch.float64 else 2e-5
    assert (made(inputs)["forces"] - expected).abs().max() <= tolerance * scale
    by_autograd = made._run(inputs, made.output_steps, create_graph=False)
    energies = next(iter(by_autograd.values()))
    assert (energies - plain(inputs)["energy"]).abs().max() <= tolerance * energies.abs().max()


@pytest.mark.parametrize("kernels", ["auto", "reference"])
def test_forces_are_minus_the_slope_of_the_energy(kernels):
    made = build_tables(model_of("ace", kernels=kernels), 1e-3)
    inputs = model_inputs(FRAMES[:1], made.plan)
    forces, h = made(inputs)["forces"], 1e-5
    for atom, axis in ((0, 0), (3, 2)):
        energies = []
        for sign in (1, -1):
            moved = inputs["positions"].clone()
            moved[atom, axis] += sign * h
            energies.append(made({**inputs, "positions": moved})["energy"])
        slope = (energies[0] - energies[1]) / (2 * h)
        assert abs(float(slope + forces[atom, axis])) <= 1e-7 * float(forces.abs().max())


def table_item(model):
    subject = Subject(model, "float64")
    (item,) = table_items(measure_baseline(subject, as_geometries(FRAMES, model.plan)), model.exact)
    return item


def test_a_wrong_knot_fails_the_certificate():
    made = build_tables(model_of("mace"), 1e-6)
    assert table_item(made).status == "holds"
    table = tables(made)["layer2.weights"]
    with torch.no_grad():
        table.knots[0, round((1.09 - table.start) / table.step), 0] *= 1.001  # the length of C-H
    item = table_item(made)
    assert item.status == "fails"
    assert item.value > 1e-5


def test_nothing_is_extrapolated():
    table = Table({"start": 0.1, "end": 2.0, "intervals": 4, "columns": 3, "by": "length", "species": 2})
    with torch.no_grad():
        table.knots.fill_(1.0)
    y = table(torch.tensor([[0.0999], [0.1], [1.0], [1.99999], [2.0], [5.0]], dtype=torch.float64))
    assert torch.isnan(y[0]).all()
    assert torch.isfinite(y[1:]).all()
    assert (y[1:4] != 0).all()
    assert (y[4:] == 0).all()


@pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")
def test_the_kernel_extrapolates_nothing_either():
    table = Table({"start": 0.1, "end": 2.0, "intervals": 4, "columns": 3, "by": "length", "species": 2})
    with torch.no_grad():
        table.knots.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    r = torch.tensor([[0.0999], [0.1], [0.77], [1.99999], [2.0], [5.0]], dtype=torch.float64)
    y = torch.ops.equic.table(r, None, table.knots.detach(), table.start, table.end)
    torch.testing.assert_close(y, table(r).detach(), rtol=1e-12, atol=1e-12, equal_nan=True)
    r.requires_grad_()
    g = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad(table(r)[1:], r, g[1:])
    found = torch.ops.equic.table_backward(g, r.detach(), None, table.knots.detach(), table.start, table.end)
    torch.testing.assert_close(found[1:], expected[1:], rtol=1e-12, atol=1e-12)
    assert torch.isnan(found[0]).all()


def test_what_cannot_be_tabulated_says_why():
    model = model_of("schnet")
    with pytest.raises(TableError, match="cannot be tabulated to 1e-16"):
        build_tables(model, 1e-16)
    made = build_tables(model)
    with pytest.raises(TableError, match="nothing to tabulate"):
        build_tables(made, 1e-6)


def test_an_artifact_is_used_and_certified_with_its_tables(tmp_path):
    path = tmp_path / "m.equic"
    model = model_of("schnet", torch.float32)
    save_artifact(path, model, spec_text=TEXT)
    used, exact, rough = (equic.load(path, tabulate=one) for one in (None, False, 1e-3))
    assert {step.layer for step in used.plan.steps} >= {"table"}
    assert used.plan.deploy["tabulate"] == {"radial": 1e-6}
    assert exact.plan == load_artifact(path).plan
    errors = []
    for loaded in (used, rough):
        found, expected = loaded.predict(FRAMES[0])[0], exact.predict(FRAMES[0])[0]
        errors.append(np.abs(found["forces"] - expected["forces"]).max())
    assert 0 < errors[0] < 0.1 * errors[1]
    certificate = verify_file(path, frames=FRAMES[:1], dtypes=["float64"], group_elements=2)
    assert certificate.ok
    assert certificate.item(TABLES, "float64").value < 1e-5
    with pytest.raises(TableError, match="have an error"):
        equic.load(path, tabulate=True)


def table_item_of_file(folder):
    subject = Subject(equic.load(folder).model, "float64")
    (item,) = table_items(measure_baseline(subject, as_geometries(FRAMES, subject.plan)), None)
    return item


def test_an_export_holds_the_tables(tmp_path):
    path = tmp_path / "m.equic"
    save_artifact(path, model_of("schnet", torch.float32), spec_text=TEXT)
    folder = equic.export(path, target="standalone")
    plan = equic.load(folder).plan
    assert "table" in {step.layer for step in plan.steps}
    assert table_item_of_file(folder).status == "not applicable"
    used = equic.load(path, dtype="float64").predict(FRAMES[0])[0]["forces"]
    found = equic.load(folder).predict(FRAMES[0])[0]["forces"]
    np.testing.assert_allclose(found, used, atol=1e-12 * np.abs(used).max())
    with pytest.raises(ArtifactError, match="is an export"):
        equic.load(folder, tabulate=False)
