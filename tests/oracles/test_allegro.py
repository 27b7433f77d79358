"""Allegro models against nequip-allegro: with the same weights, the same energies, forces, stress and gradients.

allegro/golden.npz holds the peer's random models and its answers (allegro/make_golden.py wrote it); `make oracles`
makes it again with the peer and compares.
"""

import numpy as np
import pytest
from equic.runtime.errors import EquicError
from equic.runtime.importing import allegro_spec, allegro_weights, import_allegro

from equic.importing import import_model, spec_text

from .peers import Golden, assert_same_answers, assert_same_gradients, compiled_model, gradients

GOLDEN = Golden("allegro")
NAMES, peer, changed = GOLDEN.names, GOLDEN.peer, GOLDEN.changed


def model_of(arrays, kernels="auto"):
    return compiled_model(spec_text("nequip", arrays, "peer"), kernels)


@pytest.mark.parametrize("name", NAMES)
def test_energies_forces_and_stress_are_those_of_the_peer(name):
    arrays = peer(name)
    for kernels in ("auto", "reference"):
        model = model_of(arrays, kernels)
        import_allegro(arrays, model)
        assert_same_answers(model, arrays, "nequip-allegro")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_the_weights_are_those_of_the_peer(name):
    """Of sum a E + sum b F: second derivatives too."""
    arrays = peer(name)
    model = model_of(arrays)
    import_allegro(arrays, model)
    assert_same_gradients(gradients(model, arrays, allegro_weights), arrays)


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
