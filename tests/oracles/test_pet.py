"""PET models against metatrain: with the same weights, the same energies, forces, stress and gradients.

pet/golden.npz holds the peer's random models and its answers (pet/make_golden.py wrote it); `make oracles` makes it
again with the peer and compares.
"""

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
from equic.runtime.certify import Subject, reproduction_item
from equic.runtime.errors import EquicError
from equic.runtime.importing import answer_probes, import_pet, pet_spec, pet_weights
from equic.runtime.neighbors import model_inputs
from equic.runtime.plan import Plan
from torch.func import functional_call

from equic.importing import TARGETS

GOLDEN = dict(np.load(Path(__file__).parent / "pet/golden.npz", allow_pickle=False))
NAMES = sorted({key.split("/")[1] for key in GOLDEN})
SPEC = {"equic": 1, "name": "peer", "symmetry": {"O(3)": "free"}, "targets": TARGETS}


def peer(name):
    """One model as the file holds it: weights, structures, answers."""
    prefix = f"models/{name}/"
    return {key.removeprefix(prefix): value for key, value in GOLDEN.items() if key.startswith(prefix)}


def changed(name, **hypers):
    arrays = peer(name)
    config = json.loads(str(arrays["config"]))
    config["hypers"] |= hypers
    arrays["config"] = np.array(json.dumps(config))
    return arrays


def model_of(arrays, kernels="auto", species=None):
    spec = SPEC | pet_spec(arrays)
    spec["system"] |= {"species": species} if species else {}
    report = Report()
    done = compile_spec(source_from_text(yaml.safe_dump(spec, allow_unicode=True), report=report), report)
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
    # species in another order than the peer's, too
    backwards = json.loads(str(arrays["config"]))["species"][::-1]
    for kernels, species in (("auto", None), ("reference", backwards)):
        model = model_of(arrays, kernels, species)
        import_pet(arrays, model)
        item = reproduction_item(
            Subject(model, "float64"), answer_probes(arrays, model.plan, source="metatrain")
        )
        assert "energy, forces, stress" in item.measure
        assert item.value < 1e-11, item


@pytest.mark.parametrize("name", NAMES)
def test_gradients_by_the_weights_are_those_of_the_peer(name):
    """Of sum a E + sum b F: second derivatives too."""
    arrays = peer(name)
    model = model_of(arrays)
    import_pet(arrays, model)
    state = {
        key.removeprefix("state/"): torch.from_numpy(value).requires_grad_()
        for key, value in arrays.items()
        if key.startswith("state/")
    }
    inputs = model_inputs(structures(arrays), model.plan)
    outputs = functional_call(model, pet_weights(arrays, model, state), (inputs,), {"create_graph": True})
    loss = sum((outputs[key] * torch.from_numpy(arrays[f"loss/{key}"])).sum() for key in ("energy", "forces"))
    found = torch.autograd.grad(loss, list(state.values()))
    expected = torch.from_numpy(arrays["gradients"]).split([value.numel() for value in found])
    for weight, ours, theirs in zip(state, found, expected, strict=True):
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
