"""DeepPot-SE models against deepmd-kit: with the same weights, the same energies, forces, stress and gradients.

deepmd/golden.npz holds the peer's random models and its answers (deepmd/make_golden.py wrote it); `make oracles`
makes it again with the peer and compares.
"""

import numpy as np
import pytest
import torch
from equic.runtime.certify import Subject, reproduction_item
from equic.runtime.errors import EquicError
from equic.runtime.importing import answer_probes, deepmd_spec, deepmd_weights, import_deepmd

from equic.importing import import_model, spec_text

from .peers import Golden, assert_same_answers, compiled_model, gradients

GOLDEN = Golden("deepmd")
NAMES, peer, changed = GOLDEN.names, GOLDEN.peer, GOLDEN.changed


def model_of(arrays, kernels="auto"):
    return compiled_model(spec_text("deepmd", arrays, "peer"), kernels)


@pytest.mark.parametrize("name", NAMES)
def test_energies_forces_and_stress_are_those_of_the_peer(name):
    arrays = peer(name)
    for kernels in ("auto", "reference"):
        model = model_of(arrays, kernels)
        import_deepmd(arrays, model)
        assert_same_answers(model, arrays, "deepmd-kit")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_the_weights_are_those_of_the_peer(name):
    """Of sum a E + sum b F: second derivatives too."""
    arrays = peer(name)
    model = model_of(arrays)
    import_deepmd(arrays, model)
    found = gradients(model, arrays, deepmd_weights)
    assert {f"gradients/{weight}" for weight in found} == {
        key for key in arrays if key.startswith("gradients")
    }
    scale = max(float(np.abs(arrays[f"gradients/{weight}"]).max()) for weight in found)
    for weight, ours in found.items():
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
