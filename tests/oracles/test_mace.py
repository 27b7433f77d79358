"""The `mace` preset against mace-torch: with the same weights, the same energies, forces, stress and gradients.

mace/golden.npz holds the peer's random models and its answers (mace/make_golden.py wrote it); `make oracles`
makes it again with the peer and compares.
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.source import source_from_text
from equic.compiler.pipeline import compile_spec
from equic.runtime.build import build_module
from equic.runtime.errors import EquicError
from equic.runtime.importing import import_mace, mace_spec, mace_weights
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from torch.func import functional_call

GOLDEN = dict(np.load(Path(__file__).parent / "mace/golden.npz", allow_pickle=False))
NAMES = sorted({key.split("/")[1] for key in GOLDEN if key.startswith("models/")})
TARGETS = {
    "energy": {"per": "system", "rep": "0e", "unit": "eV"},
    "forces": {"gradient_of": "energy", "wrt": "positions", "scale": -1},
    "stress": {"gradient_of": "energy", "wrt": "strain", "unit": "eV/Å^3"},
}
# DESIGN's bar is 1e-8; what rounding leaves of sums in another order is far below
TOLERANCE = 1e-11


def below(prefix):
    """The arrays whose key begins so, under the rest of their key."""
    return {key.removeprefix(prefix): value for key, value in GOLDEN.items() if key.startswith(prefix)}


def config_of(arrays):
    return json.loads(str(arrays["config"]))


def peer(name):
    """The arrays of one model, as its exporter gives them, with the answers beside."""
    arrays = below(f"models/{name}/")
    lmax = max(int(c) for c in config_of(arrays)["harmonics"] if c.isdigit())
    return arrays | {f"symmetric/{key}": value for key, value in below(f"symmetric/{lmax}/").items()}


def structures(arrays):
    found, group = [], f"structures/{arrays['structures']}"
    while f"{group}/{len(found)}/numbers" in GOLDEN:
        one = below(f"{group}/{len(found)}/")
        found.append(Atoms(one["numbers"], one["positions"], cell=one["cell"], pbc=one["pbc"]))
    return found


def plan_of(arrays, **changes):
    spec = {"equic": 1, "name": "peer", "symmetry": {"O(3)": "hard"}, "targets": TARGETS}
    spec |= mace_spec(arrays)
    spec["model"] |= {key: value for key, value in changes.items() if key in spec["model"]}
    spec["system"] |= {key: value for key, value in changes.items() if key in spec["system"]}
    report = Report()
    done = compile_spec(source_from_text(yaml.safe_dump(spec), report=report), report)
    report.raise_if_errors()
    return Plan.from_json(done.plan)


def imported(arrays, **changes):
    model = build_module(plan_of(arrays, **changes), seed=0, dtype=torch.float64)
    import_mace(arrays, model)
    return model


@pytest.fixture(scope="module", params=NAMES)
def case(request):
    """One model of the peer, ours with its weights, and the inputs."""
    arrays = peer(request.param)
    model = imported(arrays)
    return arrays, model, model_inputs(structures(arrays), model.plan)


def interaction(model, inputs, energy):
    """E minus the isolated-atom energies, of each system."""
    atoms = model.statistics.atomic_energies[inputs["species"]]
    return energy - torch.zeros(len(energy), dtype=torch.float64).index_add(0, inputs["system"], atoms)


def test_energies_forces_and_stress_are_those_of_the_peer(case):
    arrays, model, inputs = case
    answers = {key: torch.from_numpy(arrays[f"answers/{key}"]) for key in TARGETS}
    outputs = model(inputs)
    scales = {
        "energy": interaction(model, inputs, answers["energy"]).std(),
        "forces": answers["forces"].square().mean().sqrt(),
        "stress": answers["stress"].square().mean().sqrt(),
    }
    periodic = torch.tensor([bool(atoms.pbc.all()) for atoms in structures(arrays)])
    outputs["stress"] = outputs["stress"] * periodic[:, None, None]  # the peer's golden has no other
    for target, scale in scales.items():
        assert scale > 1e-4
        error = float((outputs[target] - answers[target]).abs().max() / scale)
        assert error < TOLERANCE, f"{target}: {error:.1e}"


def test_gradients_by_the_weights_are_those_of_the_peer(case):
    """Of sum a E + sum b F: second derivatives too. Each weight, or path of a power, on its own scale."""
    arrays, model, inputs = case
    state = {
        key.removeprefix("state/"): torch.from_numpy(value).requires_grad_()
        for key, value in arrays.items()
        if key.startswith("state/")
    }
    weights = mace_weights(arrays, model, state)
    outputs = functional_call(model, weights, (inputs,), {"create_graph": True})
    loss = sum((outputs[key] * torch.from_numpy(arrays[f"loss/{key}"])).sum() for key in ("energy", "forces"))
    found = torch.autograd.grad(loss, list(state.values()), allow_unused=True)
    compared = 0
    for (name, weight), ours in zip(state.items(), found, strict=True):
        if f"gradients/{name}" not in arrays:
            assert ours is None or not weight.any()  # what the peer keeps at zero
            continue
        theirs = torch.from_numpy(arrays[f"gradients/{name}"])
        if ours is None:  # the rows of a linear map that nothing reads
            assert not theirs.any(), name
            continue
        rows = (0, 2) if "symmetric_contractions" in name else tuple(range(theirs.ndim))
        scale = theirs.abs().amax(rows, keepdim=True)
        scale = scale.clamp_min(1e-6 * float(scale.max()))  # some paths of the peer are zero as polynomials
        assert float(((ours - theirs).abs() / scale).max()) < 1e-9, name
        compared += 1
    assert compared >= 10


def test_species_may_come_in_another_order(case):
    arrays, model, _ = case
    species = list(reversed(model.plan.system["species"]))
    other = imported(arrays, species=species)
    frames = structures(arrays)
    expected, found = (one(model_inputs(frames, one.plan)) for one in (model, other))
    for target in TARGETS:
        torch.testing.assert_close(found[target], expected[target], rtol=1e-10, atol=1e-12)


def test_a_float32_model_takes_the_same_weights():
    arrays = peer("vector features")
    model = build_module(plan_of(arrays), dtype=torch.float32)
    import_mace(arrays, model)
    outputs = model(model_inputs(structures(arrays), model.plan))
    forces = torch.from_numpy(arrays["answers/forces"])
    assert model.dtype == torch.float32
    assert float((outputs["forces"] - forces).abs().max() / forces.square().mean().sqrt()) < 1e-5


def test_fewer_species_are_enough():
    arrays = peer("scalar features")
    model = imported(arrays, species=["O"])
    (energy,) = model(model_inputs([Atoms("O")], model.plan))["energy"].tolist()
    full = imported(arrays)
    assert energy == pytest.approx(float(full(model_inputs([Atoms("O")], full.plan))["energy"]), abs=1e-12)


def test_a_sign_of_the_peers_couplings_moves_into_the_weights():
    """A flipped coupling with flipped weights is the same function, and gives the same weights of ours."""
    arrays = peer("tensor features")
    expected = mace_weights(arrays, imported(arrays))
    paths = json.loads(str(arrays["config"]))["paths"]
    changed = copy.deepcopy(arrays)
    changed["coupling/1_2_3"] *= -1.0
    for t, layer in enumerate(paths):
        last = changed[f"state/interactions.{t}.conv_tp_weights.layer2.weight"]
        by_path = last.reshape(len(last), len(layer), -1)
        by_path[:, [path == [1, 2, 3] for path in layer]] *= -1.0
    found = mace_weights(changed, imported(changed))
    assert any([1, 2, 3] in layer for layer in paths)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def refusal(arrays, **changes):
    with pytest.raises(EquicError) as caught:
        imported(arrays, **changes)
    return str(caught.value)


def configured(name, **changes):
    arrays = peer(name)
    arrays["config"] = np.array(json.dumps(config_of(arrays) | changes))
    return arrays


ATTENTION = "RealAgnosticAttResidualInteractionBlock"
AGNESI = {"a": 1.0805, "q": 0.9183, "p": 4.6}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"interactions": [ATTENTION, ATTENTION]}, f"layers of class {ATTENTION}"),
        ({"interactions": ["RealAgnosticInteractionBlock"] * 2}, "after the first layer"),
        ({"class": "AtomicDipolesMACE"}, "models of class AtomicDipolesMACE"),
        ({"radial_basis": "ChebychevBasis"}, "ChebychevBasis"),
        ({"distance": "Other"}, "the distance transform Other"),
        ({"constants": {"AgnesiTransform": AGNESI}}, "AgnesiTransform with p = 4.6"),
        ({"constants": {"SoftTransform": {"alpha": 5.0}}}, "SoftTransform with alpha = 5.0"),
        (
            {"constants": {"ZBLBasis": {"a_exp": 0.25, "a_prefactor": 0.4543, "c": [1, 2, 3, 4]}}},
            "a_exp = 0.25",
        ),
        ({"envelope_of_repulsion": 6}, "two envelopes"),
        ({"extras": ["trainable repulsion"]}, "trainable repulsion"),
        ({"activation": "tanh"}, "tanh"),
        ({"activation_factor": [1.0, 1.1]}, "different activations"),
        ({"neighbors": [1.0, 2.0]}, "neighbours"),
        ({"readouts": ["NonLinearReadoutBlock"] * 2}, "readouts"),
        ({"harmonics": "1x0e+1x1e"}, "harmonics"),
        ({"features": ["8x0e+8x1e", "8x0e"]}, "features"),
        ({"features": ["8x0e", "8x0e+8x1o", "8x0e"]}, "change as"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_preset_cannot_express_is_refused(changes, says):
    message = refusal(configured("scalar features", **changes))
    assert "the `mace` preset and its blocks cannot express" in message
    assert says in message


def test_a_head_that_is_not_there_and_settings_of_older_dumps_are_named():
    assert "has no head `three`" in refusal(configured("agnesi, two heads", head="three"))
    arrays = peer("one layer")
    settings = config_of(arrays)
    del settings["radii"]
    arrays["config"] = np.array(json.dumps(settings))
    assert "lack `radii`" in refusal(arrays)


def test_radii_other_than_ours_are_refused():
    radii = config_of(peer("density, agnesi, zbl"))["radii"]
    changed = configured("density, agnesi, zbl", radii=[radii[0], radii[1] + 0.01, radii[2]])
    assert "the covalent radius of C is 0.76 in the plan, but 0.77" in refusal(changed)


def test_weights_without_a_place_are_named():
    arrays = peer("one layer")
    arrays["state/interactions.0.alpha"] = np.array(20.0)
    assert "no place for the peer's weights `interactions.0.alpha`" in refusal(arrays)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"species": ["H", "N"]}, "no weights for N"),
        ({"cutoff": "5.0 Å"}, "the cutoff is 5.0 in the plan, but 4.0"),
        ({"envelope": 6}, "the order of the envelope"),
        ({"bessel": 7}, "radial functions"),
        ({"channels": 4}, "takes shape"),
        ({"correlation": 2}, "the order of layer 1"),
        ({"radial": [8, 8]}, "the radial network"),
        ({"layers": 1}, "the number of layers is 1"),
        ({"layers": 3}, "the number of layers is 3"),
        ({"hidden_lmax": 1}, "the features of layer 1 is 1 in the plan, but 0"),
        ({"lmax": 3}, "the degree of the harmonics"),
        ({"readout": [5, 5]}, "no counterpart"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_plan_is_refused(changes, says):
    arrays = peer("scalar features")
    model = build_module(plan_of(arrays, **changes), dtype=torch.float64)
    with pytest.raises(EquicError) as caught:
        import_mace(arrays, model)
    assert says in str(caught.value)


def test_tables_that_are_not_equivariant_are_refused():
    arrays = peer("scalar features")
    arrays["coupling/0_1_1"] = arrays["coupling/0_1_1"] + 1e-9 * np.eye(3)[::-1]
    assert "not in the span" in refusal(arrays)
    arrays = peer("scalar features")
    arrays["symmetric/0_2/value"] = arrays["symmetric/0_2/value"] * (
        1.0 + 1e-9 * np.arange(len(arrays["symmetric/0_2/value"]))
    )
    assert "not in the span" in refusal(arrays)
    del arrays["symmetric/0_2/value"]
    assert "no table" in refusal(arrays)


def test_missing_weights_are_named():
    arrays = peer("one layer")
    del arrays["state/products.0.linear.weight"]
    assert "no weights `state/products.0.linear.weight`" in refusal(arrays)
