"""Values of edges that are made again on the way back: the gradient of every preset stays what it is."""

import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.presets import load_preset, preset_names
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.kernels import find_toolchain
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from equic.runtime.recompute import Recomputed, parts
from equic.runtime.testing.plans import mace_plan

SPEC = """\
equic: 1
name: again
system: {kind: atoms, species: [H, C, O], cutoff: 4.0 Å}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
  stress: {gradient_of: energy, wrt: strain}
"""
SMALL = {"channels": 4, "heads": 2, "layers": 2, "lmax": 2, "radial": [8]}
NEEDS_COMPILER = pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")
FORMS = [pytest.param("c", marks=NEEDS_COMPILER), "torch", "reference"]


def atoms_presets():
    return [name for name in preset_names() if load_preset(name).kind == "atoms"]


def plan_of(name, extra=""):
    known = load_preset(name).parameters
    small = {
        key: value
        for key, value in SMALL.items()
        if key in known and isinstance(value, list) == (known[key].type == "ints")
    }
    report = Report()
    source = source_from_text(
        SPEC + extra + yaml.safe_dump({"model": {"architecture": name, **small}}), report=report
    )
    done = compile_spec(source, report)
    report.raise_if_errors()
    return Plan.from_json(done.plan)


def structures():
    frames = [molecule("CH3CH2OH"), Atoms("OH", positions=[[0, 0, 0], [0.9, 0.3, 0.1]]), Atoms("C")]
    crystal = Atoms("CO", scaled_positions=[[0, 0, 0], [0.4, 0.5, 0.6]], cell=[2.5, 2.7, 2.9], pbc=True)
    for number, atoms in enumerate((*frames[:2], crystal)):
        atoms.rattle(0.05, seed=number)
    return [*frames, crystal]


def gradients(model, inputs, *, recompute):
    model.zero_grad(set_to_none=True)
    outputs = model(inputs, create_graph=True, recompute=recompute)
    loss = sum((value * value.detach().cos()).sum() for value in outputs.values())
    loss.backward()
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return {name: value.detach() for name, value in outputs.items()} | found


def largest_difference(one, other):
    """Relative to each value's largest number; what is zero by nature (biases of keys) holds rounding alone."""
    assert one.keys() == other.keys()
    largest = max(value.abs().max() for value in other.values())
    return max(
        float((one[name] - value).abs().max() / value.abs().max().clamp_min(1e-5 * largest + 1e-300))
        for name, value in other.items()
        if value.numel()
    )


def blocks(model):
    return [one for one, _ in model._in_blocks(model.output_steps, model.form) if isinstance(one, Recomputed)]


@pytest.mark.parametrize("kernels", FORMS)
@pytest.mark.parametrize("name", atoms_presets())
def test_a_preset_has_the_same_gradient(name, kernels, monkeypatch):
    """Energies, forces, stresses and the gradient of a loss on them; edges all at once and 13 at a time."""
    plan = plan_of(name)
    model = build_module(plan, seed=3, dtype=torch.float64, kernels=kernels)
    statistics = {"average_neighbors": 3.7, "scale": 1.4, "shift": -0.3}
    model.set_statistics({key: value for key, value in statistics.items() if key in plan.statistics})
    inputs = model_inputs(structures(), plan)
    plain = gradients(model, inputs, recompute=False)
    assert blocks(model)
    for part in (10_000, 13):
        monkeypatch.setattr(parts, "PART", part)
        assert largest_difference(gradients(model, inputs, recompute=True), plain) <= 1e-10


@pytest.mark.parametrize("name", ["mace", "nequip", "allegro", "deepmd_se_e2_a"])
def test_sums_over_edges_are_made_in_parts(name):
    """What is left whole is what joins several edges of an atom before they are summed."""
    model = build_module(plan_of(name))
    assert blocks(model)
    assert all(one.block.in_parts for one in blocks(model))


def test_relaxed_and_frozen_weights():
    """Parts that several steps share, and weights that are not trained and get no gradient."""
    plan = mace_plan(channels=4, lmax=2, mode=("relaxed", 0.3))
    model = build_module(plan, seed=1, dtype=torch.float64)
    names = [name for name, _ in model.named_parameters()]
    for name, weight in model.named_parameters():
        weight.requires_grad_(name not in names[::2])
    inputs = model_inputs(
        [atoms for atoms in structures() if {*atoms.symbols} <= {*plan.system["species"]}], plan
    )
    plain = gradients(model, inputs, recompute=False)
    assert not {*names[::2]} & plain.keys()
    assert largest_difference(gradients(model, inputs, recompute=True), plain) <= 1e-10


def test_mixed_precision_agrees_to_its_rounding():
    """Products are rounded to bfloat16 where they were before; gradients of one weight are added up elsewhere."""
    model = build_module(plan_of("mace"), seed=3, kernels="reference")
    inputs = model_inputs(structures(), model.plan)

    def gradient(*, mixed, recompute):
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            outputs = model(inputs, create_graph=True, recompute=recompute)
        (outputs["energy"].sum() + (outputs["forces"] * inputs["positions"].cos()).sum()).backward()
        return torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])

    exact = gradient(mixed=False, recompute=False)
    plain, again = (gradient(mixed=True, recompute=recompute) for recompute in (False, True))
    assert (again - plain).norm() <= 0.1 * (plain - exact).norm()


def test_a_third_derivative_is_refused():
    plan = plan_of("mace")
    model = build_module(plan, seed=3, dtype=torch.float64)
    outputs = model(model_inputs(structures(), plan), create_graph=True, recompute=True)
    weights = list(model.parameters())
    with pytest.raises(RuntimeError, match="third order"):
        torch.autograd.grad(outputs["forces"].square().sum(), weights, create_graph=True, allow_unused=True)


def test_edges_that_do_not_exist():
    """A single atom, and no edge at all."""
    plan = plan_of("mace")
    model = build_module(plan, seed=3, dtype=torch.float64)
    inputs = model_inputs([Atoms("C")], plan)
    plain = gradients(model, inputs, recompute=False)
    assert largest_difference(gradients(model, inputs, recompute=True), plain) <= 1e-10
