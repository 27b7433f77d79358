"""Every preset for atoms on kernels and on the layers as they are written: the same numbers, whatever its parts."""

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

SPEC = """\
equic: 1
name: kernels
system: {kind: atoms, species: [H, C, O], cutoff: 4.0 Å}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
"""
SMALL = {"channels": 4, "heads": 2, "layers": 2, "lmax": 2, "radial": [8]}


def atoms_presets():
    return [name for name in preset_names() if load_preset(name).kind == "atoms"]


def plan_of(name):
    known = load_preset(name).parameters
    small = {
        key: value
        for key, value in SMALL.items()
        if key in known and isinstance(value, list) == (known[key].type == "ints")
    }
    report = Report()
    text = SPEC + yaml.safe_dump({"model": {"architecture": name, **small}})
    source = source_from_text(text, report=report)
    done = compile_spec(source, report)
    report.raise_if_errors()
    return Plan.from_json(done.plan)


def test_there_are_presets():
    assert {"mace", "nequip"} <= set(atoms_presets())


NEEDS_COMPILER = pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")


@pytest.mark.parametrize("kernels", [pytest.param("c", marks=NEEDS_COMPILER), "torch"])
@pytest.mark.parametrize("name", atoms_presets())
def test_a_preset_gives_the_same_on_kernels(name, kernels):
    """Energies, forces, and gradients of a loss on both; the statistics are not those of an untrained model."""
    plan = plan_of(name)
    frames = [molecule("CH3CH2OH"), Atoms("OH", positions=[[0, 0, 0], [0.9, 0.3, 0.1]]), Atoms("C")]
    frames[0].rattle(0.05, seed=1)
    inputs = model_inputs(frames, plan)
    found = []
    for form in (kernels, "reference"):
        model = build_module(plan, seed=3, dtype=torch.float64, kernels=form)
        statistics = {"average_neighbors": 3.7, "scale": 1.4, "shift": -0.3}
        model.set_statistics({key: value for key, value in statistics.items() if key in plan.statistics})
        outputs = model(inputs, create_graph=True)
        loss = sum((outputs[key] * outputs[key].detach().cos()).sum() for key in ("energy", "forces"))
        loss.backward()
        plain = model(inputs)
        found.append(
            {f"{key} with a graph": outputs[key].detach() for key in ("energy", "forces")}
            | {key: plain[key] for key in ("energy", "forces")}
            | {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
        )
    ours, reference = found
    assert ours.keys() == reference.keys()
    largest = max(value.abs().max() for value in reference.values())
    for key, value in reference.items():
        scale = value.abs().max().clamp_min(1e-9 * largest)
        assert (ours[key] - value).abs().max() <= 1e-10 * scale, key
