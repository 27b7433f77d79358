"""NequIP models against nequip: with the same weights, the same energies, forces, stress and gradients.

nequip/golden.npz holds the peer's random models and its answers (nequip/make_golden.py wrote it); `make oracles`
makes it again with the peer and compares.
"""

import json

import pytest
import torch
from equic.runtime.certify import certify
from equic.runtime.errors import EquicError
from equic.runtime.importing import import_nequip, nequip_spec, nequip_weights
from equic.runtime.neighbors import model_inputs

from equic.importing import spec_text

from .peers import Golden, assert_same_answers, assert_same_gradients, compiled_model, gradients, structures

GOLDEN = Golden("nequip")
NAMES, peer, changed = GOLDEN.names, GOLDEN.peer, GOLDEN.changed


def model_of(arrays, kernels="auto"):
    return compiled_model(spec_text("nequip", arrays, "peer"), kernels)


@pytest.mark.parametrize("name", NAMES)
def test_energies_forces_and_stress_are_those_of_the_peer(name):
    arrays = peer(name)
    for kernels in ("auto", "reference"):
        model = model_of(arrays, kernels)
        import_nequip(arrays, model)
        assert_same_answers(model, arrays, "nequip")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_the_weights_are_those_of_the_peer(name):
    """Of sum a E + sum b F: second derivatives too."""
    arrays = peer(name)
    model = model_of(arrays)
    import_nequip(arrays, model)
    assert_same_gradients(gradients(model, arrays, nequip_weights), arrays)


def test_energies_with_a_scale_for_each_species():
    """The energy is that of the sum over atoms of the scaled numbers of the network, in every form of the model."""
    arrays = peer("natural parity")
    known = json.loads(str(arrays["config"]))["species"]
    other = changed("natural parity", scales=[0.7 + 0.4 * i for i in range(len(known))])
    assert nequip_spec(other)["model"]["scale"] == "species"
    plain = model_of(arrays)
    import_nequip(arrays, plain)
    inputs = model_inputs(structures(arrays), plain.plan)
    one = plain(inputs)
    isolated = plain.statistics.get_buffer("atomic_energies")[inputs["species"]]
    symbols = [plain.plan.system["species"][z] for z in inputs["species"]]
    ratio = torch.tensor([(0.7 + 0.4 * known.index(symbol)) / 1.3 for symbol in symbols], dtype=torch.float64)
    for kernels in ("auto", "torch", "reference"):
        model = model_of(other, kernels)
        import_nequip(other, model)
        found = model(inputs)
        expected = isolated + ratio * (one["node_energy"] - isolated)
        torch.testing.assert_close(found["node_energy"], expected, rtol=1e-12, atol=1e-12)
        report = certify(model, group_elements=2)
        assert report.item("forces against differences", "float64").status == "holds", kernels


def test_models_of_one_width_are_presets_and_others_blocks():
    assert nequip_spec(peer("both parities"))["model"]["architecture"] == "nequip"
    assert nequip_spec(peer("both parities"))["model"]["parity"] == "both"
    widths = nequip_spec(peer("widths by degree"))["model"]
    assert widths["features"]["node"] == "5x0e"
    assert [block["carry"] for block in widths["blocks"]] == ["6x0e+4x1o+2x2e", "6x0e+4x1o+2x2e", "6x0e"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extras": ["pair_potential"]}, "pair_potential"),
        ({"trainable": True}, "trainable radial functions"),
        ({"envelope": 6.5}, "an envelope of order 6.5"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_blocks_cannot_express_is_refused(changes, says):
    with pytest.raises(EquicError, match="our blocks cannot express") as caught:
        nequip_spec(changed("natural parity", **changes))
    assert says in str(caught.value)


def test_another_plan_or_radial_functions_of_another_shape_are_refused():
    arrays = peer("natural parity")
    model = model_of(peer("both parities"))
    with pytest.raises(EquicError):
        import_nequip(arrays, model)
    bent = arrays | {
        "radial/values": arrays["radial/values"] * (1 + 1e-6 * arrays["radial/lengths"][:, None])
    }
    with pytest.raises(EquicError, match="no multiples of ours"):
        import_nequip(bent, model_of(arrays))
