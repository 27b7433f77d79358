"""Packages that hold their kernels: the model's numbers where there is neither equic nor a compiler."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from equic.runtime.build import Model, build_module
from equic.runtime.certify import parity_item, probes
from equic.runtime.export import Exported, export_pt2, load_pt2, operators, package
from equic.runtime.export.operators import can_link
from equic.runtime.export.samples import sample_inputs
from equic.runtime.tabulate import build_tables
from equic.runtime.testing.plans import mace_plan
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..small_specs import compiled

needs_linker = pytest.mark.skipif(not can_link(), reason="no C compiler, or another linker")

PLAN = mace_plan(channels=6, lmax=1, correlation=2, layers=1, widths=(8,))
TABULATED = """
equic: 1
name: tabulated
system: {kind: atoms, species: [H, C, O], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1}
  stress: {gradient_of: energy, wrt: strain}
model: {architecture: ace, channels: 3, lmax: 1}
deploy: {tabulate: {radial: 1e-4}}
"""
STATISTICS = {"atomic_energies": [-13.6, -1029.2, -2042.0], "scale": 1.7, "average_neighbors": 12.5}

# torch alone, and an equic that cannot be imported
BARE = """
import os, sys
os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"
sys.modules["equic"] = None
import torch
from safetensors.torch import load_file, save_file
inputs, outputs, *packages = sys.argv[1:]
given = load_file(inputs)
loaders = [torch._C._aoti.AOTIModelPackageLoader(path, "model", False, 1, -1) for path in packages]
found = {}
for _ in range(2):  # one after the other and again
    for number, loader in enumerate(loaders):
        values = loader.run([given[str(place)] for place in range(6)])
        found |= {f"{number}/{place}": value.clone() for place, value in enumerate(values)}
given["4"][0, 0] = 10**6
try:
    loaders[0].run([given[str(place)] for place in range(6)])
except Exception:
    save_file(found, outputs)
"""


def with_statistics(model: Model) -> Model:
    model.set_statistics({k: v for k, v in STATISTICS.items() if k in model.plan.statistics})
    return model


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Model, Exported]]:
    """A MACE and an ACE with splines in the place of its networks, and their packages."""
    from equic.runtime.plan import Plan

    folder = tmp_path_factory.mktemp("kernels")
    plain = with_statistics(build_module(PLAN, seed=3, dtype=torch.float64))
    plan = Plan.from_json(compiled(TABULATED).plan)
    exact = with_statistics(build_module(plan, seed=3, dtype=torch.float64))
    made = []
    for name, model in (("plain", plain), ("tabulated", build_tables(exact, 1e-4))):
        made.append(
            (model, load_pt2(export_pt2(model, folder / f"{name}.pt2", probes=probes(model, seed=1))))
        )
    return made


@needs_linker
def test_packages_hold_their_kernels_and_say_so(pairs: list[tuple[Model, Exported]]) -> None:
    for model, exported in pairs:
        assert exported.metadata["kernels"] == "c"
        item = parity_item(exported, exported.metadata["probes"])
        assert item.status == "holds", item
        reference = build_module(model.plan, dtype=torch.float64, kernels="reference")
        reference.load_state_dict(model.state_dict())
        inputs = sample_inputs(model.plan, [11, 2, 20], seed=7)
        expected, found = reference(inputs), exported(inputs)
        for name, value in expected.items():
            assert (found[name] - value).abs().max() <= 1e-12 * value.abs().max(), name


@needs_linker
def test_two_packages_in_a_bare_process(pairs: list[tuple[Model, Exported]], tmp_path: Path) -> None:
    """Periodic energies, forces and stress, and an edge to an atom that is not there."""
    model = pairs[0][0]
    inputs = sample_inputs(model.plan, [9, 30], seed=2)
    given, got = tmp_path / "given", tmp_path / "got"
    ports = pairs[0][1].inputs
    assert [port.name for port in pairs[1][1].inputs] == [port.name for port in ports]
    save_file({str(place): inputs[port.name].contiguous() for place, port in enumerate(ports)}, given)
    command = [sys.executable, "-P", "-c", BARE, given, got, *(exported.path for _, exported in pairs)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert got.exists(), "an edge to an atom that is not there was taken"
    results = load_file(got)
    for number, (own, exported) in enumerate(pairs):
        expected = own(inputs)
        assert {"energy", "forces", "stress"} <= expected.keys()
        for place, port in enumerate(exported.outputs):
            value: Tensor = expected[port.name]
            assert (results[f"{number}/{place}"] - value).abs().max() <= 1e-12 * value.abs().max(), port.name


@pytest.mark.parametrize("reason", ["no compiler", "chosen"])
def test_without_a_compiler_the_layers_go_into_the_package(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its metadata says so. What would be compiled is looked at instead."""
    seen = []

    def note(traced, draft, metadata, linked, **_):
        targets = [str(node.target) for node in traced.program.graph.nodes]
        seen.append((json.loads(metadata)["kernels"], linked.sources, targets))
        draft.touch()

    model = build_module(PLAN, kernels="reference" if reason == "chosen" else "auto")
    if reason == "no compiler":
        monkeypatch.setattr(operators, "find_toolchain", lambda: None)
    monkeypatch.setattr(package, "_compile", note)
    monkeypatch.setattr(package, "self_check", lambda *_: None)
    export_pt2(model, tmp_path / "a.pt2")
    [(kernels, sources, targets)] = seen
    assert kernels == "reference"
    assert sources == {}
    assert not any("equic" in target for target in targets)
