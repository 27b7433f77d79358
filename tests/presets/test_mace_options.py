"""What foundation models of the `mace` family have beside its usual parts: claims, kernels, levels, use elsewhere."""

import json

import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.nodes import plain
from equic.compiler.language.presets import fill_preset, load_preset
from equic.compiler.language.source import source_from_text
from equic.runtime.build import build_module
from equic.runtime.certify import certify
from equic.runtime.kernels import find_toolchain
from equic.runtime.plan import Plan

SMALL = {"channels": 4, "lmax": 2, "correlation": 2, "layers": 2, "radial": [8], "readout": [4], "bessel": 5}
OPTIONS = {
    "density": {"distance": "agnesi", "reduce": "density", "repulsion": "zbl", "repulsion_strength": 0.8},
    "weights": {
        "distance": "soft",
        "basis": "gaussian",
        "ends": "weights",
        "reduce": "density",
        "first_layer": "residual",
    },
}


def section(name):
    return {"architecture": "mace", **SMALL, **OPTIONS[name]}


def closer(presets):
    """A molecule whose atoms are near enough for their nuclei to repel each other."""
    inputs = presets.molecule(atoms=8, seed=2)
    inputs["positions"] = inputs["positions"] * 0.75
    return inputs


@pytest.mark.parametrize("name", OPTIONS)
def test_models_with_these_options_keep_what_they_claim(name, presets, monkeypatch):
    monkeypatch.setattr("equic.runtime.certify.measure.dynamics_items", lambda *_: [])
    model = presets.built(section(name))
    certificate = certify(model, dtypes=["float64"], group_elements=2)
    assert certificate.ok, certificate.failures
    assert certificate.item("SO(3) equivariance, forces", "float64").value < 1e-10
    assert model.plan.smoothness == {"energy": 2.0, "forces": 1.0, "node_energy": 2.0}
    assert model.plan.outputs["energy"].extensive


@pytest.mark.parametrize("name", OPTIONS)
def test_the_preset_and_its_blocks_are_one_graph(name, presets):
    first = presets.compiled(presets.spec_of(section(name)))
    report = Report()
    source = source_from_text("{}", report=report)
    filled = fill_preset(load_preset("mace"), SMALL | OPTIONS[name], frozenset({"joint"}), source, report)
    second = presets.compiled(presets.spec_of(plain(filled)))
    assert second.plan["graph_hash"] == first.plan["graph_hash"]


@pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")
@pytest.mark.parametrize("name", OPTIONS)
def test_messages_and_powers_run_on_generated_kernels_with_these_options_too(name, presets):
    plan = Plan.from_json(presets.compiled(presets.spec_of(section(name))).plan)
    inputs, found = closer(presets), []
    for kernels in ("c", "reference"):
        model = build_module(plan, seed=5, dtype=torch.float64, kernels=kernels)
        model.set_statistics({"average_neighbors": 2.7, "scale": 1.3, "shift": -0.4})
        outputs = model(inputs, create_graph=True)
        sum((outputs[key] * outputs[key].detach().cos()).sum() for key in ("energy", "forces")).backward()
        plainly = model(inputs)
        found.append(
            {key: plainly[key] for key in ("energy", "forces")}
            | {f"{key} with a graph": outputs[key].detach() for key in ("energy", "forces")}
            | {key: value.grad for key, value in model.named_parameters()}
        )
        if kernels == "c":
            steps = [f"layer{t}.{part}" for t in (1, 2) for part in ("pooled", "power")]
            served = [type(model.kernel(step)).__name__ for step in steps]
            assert served == ["Message", "PowerKernel"] * 2
    ours, reference = found
    largest = max(value.abs().max() for value in reference.values())
    for key, value in reference.items():
        scale = value.abs().max().clamp_min(1e-9 * largest)
        assert (ours[key] - value).abs().max() <= 1e-10 * scale, key


def test_a_repulsion_is_in_electronvolts_whatever_the_scale_of_the_network(presets):
    """Energies differ by the repulsion alone, and that by its strength."""
    inputs, energies = closer(presets), {}
    for strength in (0.0, 1.0, 2.0):
        choice = {"repulsion": "zbl", "repulsion_strength": strength}
        model = presets.built({"architecture": "mace", **SMALL, **choice}, seed=4)
        energies[strength] = float(model(inputs)["energy"].detach())
    plainly = presets.built({"architecture": "mace", **SMALL}, seed=4)
    assert energies[0.0] == pytest.approx(float(plainly(inputs)["energy"].detach()), abs=1e-12)
    one, two = (energies[strength] - energies[0.0] for strength in (1.0, 2.0))
    assert one > 0.01
    assert two == pytest.approx(2 * one, rel=1e-10)


def test_a_repulsion_alone_still_makes_the_target_an_energy(presets):
    spec = json.loads(presets.spec_of({"architecture": "mace", **SMALL, "repulsion": "zbl"}))
    del spec["targets"]["forces"]
    assert Plan.from_json(presets.compiled(json.dumps(spec)).plan).energy == "energy"
