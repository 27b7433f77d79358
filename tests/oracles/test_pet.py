"""PET models against metatrain: with the same weights, the same energies, forces, stress and gradients.

pet/golden.npz holds the peer's random models and its answers (pet/make_golden.py wrote it); `make oracles` makes it
again with the peer and compares.
"""

import json

import numpy as np
import pytest
import torch
import yaml
from equic.runtime.errors import EquicError
from equic.runtime.importing import import_pet, pet_spec, pet_weights

from equic.importing import TARGETS

from .peers import Golden, assert_same_answers, compiled_model, gradients

GOLDEN = Golden("pet")
NAMES, peer = GOLDEN.names, GOLDEN.peer
SPEC = {"equic": 1, "name": "peer", "symmetry": {"O(3)": "free"}, "targets": TARGETS}


def changed(name, **hypers):
    before = json.loads(str(peer(name)["config"]))["hypers"]
    return GOLDEN.changed(name, hypers=before | hypers)


def model_of(arrays, kernels="auto", species=None):
    spec = SPEC | pet_spec(arrays)
    spec["system"] |= {"species": species} if species else {}
    return compiled_model(yaml.safe_dump(spec, allow_unicode=True), kernels)


@pytest.mark.parametrize("name", NAMES)
def test_energies_forces_and_stress_are_those_of_the_peer(name):
    arrays = peer(name)
    # species in another order than the peer's, too
    backwards = json.loads(str(arrays["config"]))["species"][::-1]
    for kernels, species in (("auto", None), ("reference", backwards)):
        model = model_of(arrays, kernels, species)
        import_pet(arrays, model)
        assert_same_answers(model, arrays, "metatrain")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_the_weights_are_those_of_the_peer(name):
    """Of sum a E + sum b F: second derivatives too."""
    arrays = peer(name)
    model = model_of(arrays)
    import_pet(arrays, model)
    found = gradients(model, arrays, pet_weights)
    expected = torch.from_numpy(arrays["gradients"]).split([value.numel() for value in found.values()])
    for (weight, ours), theirs in zip(found.items(), expected, strict=True):
        assert theirs.any(), weight
        assert float((ours.flatten() - theirs).abs().max()) <= 1e-11 * float(theirs.abs().max()), weight


@pytest.mark.parametrize(
    ("hypers", "says"),
    [
        ({"num_neighbors_adaptive": 16}, "adaptive cutoffs"),
        ({"long_range": {"enable": True}}, "long-range features"),
        ({"system_conditioning": True}, "charges and spins"),
        ({"zbl": True}, "repulsion"),
        ({"activation": "GELU"}, "`activation: GELU`"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_preset_cannot_express_is_refused(hypers, says):
    with pytest.raises(EquicError, match="cannot express") as caught:
        pet_spec(changed("of 2026", **hypers))
    assert says in str(caught.value)


def test_a_second_target_is_refused():
    arrays = peer("of 2026")
    arrays["state/backend.node_heads.mtt::dipole.0.0.weight"] = np.zeros((2, 2))
    with pytest.raises(EquicError, match="targets beside the energy"):
        pet_spec(arrays)


def test_another_plan_is_refused():
    with pytest.raises(EquicError):
        import_pet(peer("of 2026"), model_of(changed("of 2026", num_gnn_layers=1)))
