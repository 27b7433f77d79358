"""DeepPot-SE models against deepmd-kit: with the same weights, the same energies, forces, stress and gradients.

deepmd/golden.npz holds the peer's random models and its answers (deepmd/make_golden.py wrote it); `make oracles`
makes it again with the peer and compares.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.certify import Subject, reproduction_item
from equic.runtime.errors import EquicError
from equic.runtime.importing import answer_probes, deepmd_spec, deepmd_weights, import_deepmd
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from torch.func import functional_call

from equic.importing import import_model, spec_text

GOLDEN = dict(np.load(Path(__file__).parent / "deepmd/golden.npz", allow_pickle=False))
NAMES = sorted({key.split("/")[1] for key in GOLDEN})


def peer(name):
    """One model as its dump holds it: weights, structures, answers."""
    prefix = f"models/{name}/"
    return {key.removeprefix(prefix): value for key, value in GOLDEN.items() if key.startswith(prefix)}


def changed(name, **changes):
    arrays = peer(name)
    arrays["config"] = np.array(json.dumps(json.loads(str(arrays["config"])) | changes))
    return arrays


def model_of(arrays, kernels="auto"):
    report = Report()
    done = compile_spec(source_from_text(spec_text("deepmd", arrays, "peer"), report=report), report)
    report.raise_if_errors()
    return build_module(Plan.from_json(done.plan), dtype=torch.float64, kernels=kernels)


def structures(arrays):
    return [
        Atoms(*(arrays[f"structures/{i}/{key}"] for key in ("numbers", "positions")),
              cell=arrays[f"structures/{i}/cell"], pbc=arrays[f"structures/{i}/pbc"])
        for i in range(sum(key.endswith("/numbers") for key in arrays))
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_energies_forces_and_stress_are_those_of_the_peer(name):
    arrays = peer(name)
    for kernels in ("auto", "reference"):
        model = model_of(arrays, kernels)
        import_deepmd(arrays, model)
        item = reproduction_item(
            Subject(model, "float64"), answer_probes(arrays, model.plan, source="deepmd-kit")
        )
        assert "energy, forces, stress" in item.measure
        assert item.value < 1e-11, item


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_the_weights_are_those_of_the_peer(name):
    """Of sum a E + sum b F: second derivatives too."""
    arrays = peer(name)
    model = model_of(arrays)
    import_deepmd(arrays, model)
    state = {
        key.removeprefix("state/"): torch.from_numpy(value).requires_grad_()
        for key, value in arrays.items()
        if key.startswith("state/")
    }
    inputs = model_inputs(structures(arrays), model.plan)
    outputs = functional_call(model, deepmd_weights(arrays, model, state), (inputs,), {"create_graph": True})
    loss = sum((outputs[key] * torch.from_numpy(arrays[f"loss/{key}"])).sum() for key in ("energy", "forces"))
    found = torch.autograd.grad(loss, list(state.values()))
    assert {f"gradients/{weight}" for weight in state} == {
        key for key in arrays if key.startswith("gradients")
    }
    scale = max(float(np.abs(arrays[f"gradients/{weight}"]).max()) for weight in state)
    for weight, ours in zip(state, found, strict=True):
        theirs = torch.from_numpy(arrays[f"gradients/{weight}"])
        own = max(float(theirs.abs().max()), 1e-3 * scale)
        assert float((ours - theirs.view_as(ours)).abs().max()) <= 1e-10 * own, weight


def test_free_places_have_a_say_only_where_something_is_subtracted():
    assert any("unfilled" in step.name for step in model_of(peer("statistics")).plan.steps)
    assert not any("unfilled" in step.name for step in model_of(peer("no mean")).plan.steps)
    more = changed("statistics", sel=[90, 70, 80])
    model = model_of(more)
    import_deepmd(more, model)
    probes = answer_probes(more, model.plan, source="deepmd-kit")
    assert reproduction_item(Subject(model, "float64"), probes).status == "fails"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extras": ["spins"]}, "spins"),
        ({"descriptor": "dpa1"}, "the descriptor `dpa1` with the fitting `ener`"),
        ({"fitting": "dipole"}, "the fitting `dipole`"),
        ({"activations": ["gelu", "gelu"]}, "the activation `gelu`"),
        ({"activations": ["tanh", "silu"]}, "activations that differ"),
        ({"species": ["H", "C", "water"]}, "the type `water`"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_preset_cannot_express_is_refused(changes, says):
    with pytest.raises(EquicError, match="cannot express") as caught:
        deepmd_spec(changed("statistics", **changes))
    assert says in str(caught.value)


def test_species_in_another_order_are_refused():
    arrays = peer("one side")
    with pytest.raises(EquicError, match="in this order"):
        import_deepmd(changed("one side", species=["H", "O"]), model_of(arrays))


def test_a_dump_becomes_an_artifact_that_says_what_it_reproduces(tmp_path):
    np.savez(tmp_path / "dump.npz", **peer("statistics"))
    done = import_model("deepmd", tmp_path / "dump.npz", tmp_path / "peer.equic")
    item = done.certificate.item("reproduces deepmd-kit", "float64")
    assert done.certificate.ok, done.certificate.failures
    assert item.value < 1e-11
    assert "architecture: deepmd_se_e2_a" in done.spec_text
