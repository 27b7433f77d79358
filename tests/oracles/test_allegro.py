"""Allegro models against nequip-allegro: with the same weights, the same energies, forces, stress and gradients.

allegro/golden.npz holds the peer's random models and its answers (allegro/make_golden.py wrote it); `make oracles`
makes it again with the peer and compares.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.certify import Subject, reproduction_item
from equic.runtime.errors import EquicError
from equic.runtime.importing import allegro_spec, allegro_weights, answer_probes, import_allegro
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from torch.func import functional_call

from equic.importing import import_model, spec_text

GOLDEN = dict(np.load(Path(__file__).parent / "allegro/golden.npz", allow_pickle=False))
NAMES = sorted({key.split("/")[1] for key in GOLDEN if key.startswith("models/")})


def peer(name):
    """One model as its dump holds it: weights, structures, answers."""
    prefix = f"models/{name}/"
    found = {key.removeprefix(prefix): value for key, value in GOLDEN.items() if key.startswith(prefix)}
    return found | {key: value for key, value in GOLDEN.items() if key.startswith("structures/")}


def model_of(arrays, kernels="auto"):
    report = Report()
    done = compile_spec(source_from_text(spec_text("nequip", arrays, "peer"), report=report), report)
    report.raise_if_errors()
    return build_module(Plan.from_json(done.plan), dtype=torch.float64, kernels=kernels)


def structures(arrays):
    from ase import Atoms

    count = sum(key.endswith("/numbers") for key in arrays)
    return [
        Atoms(*(arrays[f"structures/{i}/{key}"] for key in ("numbers", "positions")),
              cell=arrays[f"structures/{i}/cell"], pbc=arrays[f"structures/{i}/pbc"])
        for i in range(count)
    ]  # fmt: skip


def changed(name, **changes):
    arrays = peer(name)
    arrays["config"] = np.array(json.dumps(json.loads(str(arrays["config"])) | changes))
    return arrays


@pytest.mark.parametrize("name", NAMES)
def test_energies_forces_and_stress_are_those_of_the_peer(name):
    arrays = peer(name)
    for kernels in ("auto", "reference"):
        model = model_of(arrays, kernels)
        import_allegro(arrays, model)
        item = reproduction_item(
            Subject(model, "float64"), answer_probes(arrays, model.plan, source="nequip-allegro")
        )
        assert "energy, forces, stress" in item.measure
        assert item.value < 1e-11, item


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_the_weights_are_those_of_the_peer(name):
    """Of sum a E + sum b F: second derivatives too."""
    arrays = peer(name)
    model = model_of(arrays)
    import_allegro(arrays, model)
    state = {
        key.removeprefix("state/"): torch.from_numpy(value).requires_grad_()
        for key, value in arrays.items()
        if key.startswith("state/")
    }
    inputs = model_inputs(structures(arrays), model.plan)
    outputs = functional_call(model, allegro_weights(arrays, model, state), (inputs,), {"create_graph": True})
    loss = sum((outputs[key] * torch.from_numpy(arrays[f"loss/{key}"])).sum() for key in ("energy", "forces"))
    found = torch.autograd.grad(loss, list(state.values()), allow_unused=True)
    compared = 0
    for weight, ours in zip(state, found, strict=True):
        theirs = torch.from_numpy(arrays[f"gradients/{weight}"])
        if ours is None:
            assert not theirs.any(), weight
            continue
        scale = float(theirs.abs().max())
        assert float((ours - theirs).abs().max()) <= 1e-10 * scale, weight
        compared += 1
    assert compared >= 6


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extras": ["pair_potential"]}, "pair_potential"),
        ({"neighbors": [4.0, 5.0]}, "numbers of neighbours that differ by type"),
        ({"envelope": 6.5}, "an envelope of order 6.5"),
        ({"latent": {"hidden": [], "alphas": [1.0]}}, "without hidden layers"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_preset_cannot_express_is_refused(changes, says):
    with pytest.raises(EquicError, match="cannot express") as caught:
        allegro_spec(changed("natural parity", **changes))
    assert says in str(caught.value)


def test_another_plan_is_refused():
    with pytest.raises(EquicError):
        import_allegro(peer("natural parity"), model_of(peer("both parities")))


def test_a_dump_of_nequip_that_holds_an_allegro_model_becomes_an_artifact(tmp_path):
    np.savez(tmp_path / "dump.npz", **peer("both parities"))
    done = import_model("nequip", tmp_path / "dump.npz", tmp_path / "peer.equic")
    item = done.certificate.item("reproduces nequip", "float64")
    assert done.certificate.ok, done.certificate.failures
    assert item.value < 1e-11
    assert "architecture: nequip_allegro" in done.spec_text
