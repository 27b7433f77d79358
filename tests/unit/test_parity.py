"""Parity: generated kernels against the layers as written, exported files against what they were made from."""

import json
from functools import lru_cache

import pytest
import torch
from equic.runtime.build import Model, build_module
from equic.runtime.certify import atoms_dynamics, certify, parity_item, phase_conserved, phase_flow, probes
from equic.runtime.errors import EquicError, ExportError
from equic.runtime.kernels import find_toolchain
from equic.runtime.kernels.padded import PaddedMessage
from equic.runtime.kernels.power import PowerKernel
from equic.runtime.testing.plans import mace_plan, pairwise_plan

PARITY = "parity with the reference"


@pytest.fixture
def short_runs(monkeypatch) -> None:
    """A tenth of the steps: this is not about dynamics."""
    monkeypatch.setattr(atoms_dynamics, "STEPS", 100)
    monkeypatch.setattr(phase_flow, "ROLLOUT", 100)
    monkeypatch.setattr(phase_conserved, "ROLLOUT", 100)


@lru_cache
def small_model(dtype: torch.dtype = torch.float32) -> Model:
    plan = mace_plan(channels=4, lmax=1, correlation=2, layers=1, widths=(8,), hidden_lmax=0)
    model = build_module(plan, seed=1, dtype=dtype)
    model.set_statistics({"average_neighbors": 6.0, "atomic_energies": [-13.6, -1030.0, -2040.0]})
    return model


class Deployed:
    """A model with the face of an exported file, and a fault to plant."""

    def __init__(self, model: Model, fault: float = 0.0) -> None:
        self.plan, self.dtype, self.model, self.fault = model.plan, model.dtype, model, fault

    def __call__(self, inputs):
        return {name: value * (1.0 + self.fault) for name, value in self.model(inputs).items()}


@pytest.mark.parametrize("plan", [mace_plan(channels=4, lmax=1, layers=1), pairwise_plan(hidden=(8,))])
def test_parity_with_stored_probes(plan) -> None:
    model = build_module(plan, seed=4)
    stored = json.loads(json.dumps(probes(model, seed=1), allow_nan=False))
    assert len(json.dumps(stored)) < 20_000
    entry = parity_item(Deployed(model), stored)
    assert (entry.status, entry.dtype) == ("holds", "float32")
    assert 0.0 < entry.value < 1e-5
    assert parity_item(Deployed(model, fault=1e-3), stored).value == pytest.approx(1e-3, rel=0.3)
    assert parity_item(Deployed(model, fault=1e-3), stored).status == "fails"
    assert parity_item(Deployed(model), None).status == "not applicable"
    with pytest.raises(ExportError, match="version"):
        parity_item(Deployed(model), {**stored, "version": 7})


@pytest.mark.skipif(find_toolchain() is None, reason="no C compiler: models run on the reference layers")
def test_a_kernel_with_one_wrong_coefficient_shows_in_parity(short_runs) -> None:
    """One coefficient; then all of them alike, which no symmetry and no derivative can see."""
    plan = small_model().plan
    for change in (lambda table: table.view(-1)[table.abs().argmax()].mul_(1.0 + 1e-6), one_millionth):
        sound, model = (build_module(plan, seed=1, dtype=torch.float64, kernels="c") for _ in range(2))
        assert certify(sound, group_elements=2).item(PARITY, "float64").value < 1e-13
        (kernel,) = [layer for layer in model.kernels["c"].values() if isinstance(layer, PowerKernel)]
        # before its first step: the code of a compiled one holds the table
        for table in (kernel.table.exact, kernel.table.value):
            change(table)
        assert PARITY in {entry.name for entry in certify(model, group_elements=2).failures}
        written = build_module(plan, seed=1, dtype=torch.float64, kernels="reference")
        assert probes(model) == probes(written), "the numbers to compare with come from the layers as written"
    assert {entry.name for entry in certify(model, group_elements=2).failures} == {PARITY}


def test_a_table_of_the_torch_form_with_one_wrong_number_shows_in_parity(short_runs) -> None:
    model = build_module(small_model().plan, seed=1, dtype=torch.float64, kernels="torch")
    assert certify(model, group_elements=2).item(PARITY, "float64").value < 1e-13
    message = next(layer for layer in model.kernels["torch"].values() if isinstance(layer, PaddedMessage))
    table = message.coupling.value
    table.view(-1)[table.abs().argmax()] *= 1.0 + 1e-6
    assert PARITY in {entry.name for entry in certify(model, group_elements=2).failures}


def one_millionth(table: torch.Tensor) -> None:
    table *= 1.0 + 1e-6


def test_a_stale_weight_shows_in_parity_and_nowhere_else(short_runs) -> None:
    """A file whose code was made before the last change of one weight: sound physics of another model."""
    model = small_model(torch.float64)
    stale = build_module(model.plan, seed=1, dtype=torch.float64)
    stale.load_state_dict(model.state_dict())
    name, weight = max(stale.named_parameters(), key=lambda pair: float(pair[1].detach().abs().max()))
    with torch.no_grad():
        weight.view(-1)[int(weight.abs().argmax())] *= 1.0 + 1e-6
    certificate = certify(Deployed(stale), probes=probes(model), group_elements=2)
    assert {entry.name for entry in certificate.failures} == {"parity with the reference"}, name
    assert certify(Deployed(model), probes=probes(model), group_elements=2).ok


def test_an_exported_model_has_one_dtype_and_its_probes(short_runs) -> None:
    model = build_module(pairwise_plan(hidden=(8,)), seed=4)
    certificate = certify(Deployed(model), probes=probes(model))
    assert certificate.dtypes == ("float32",)
    assert certificate.item("parity with the reference", "float32").status == "holds"
    with pytest.raises(EquicError, match="export it again"):
        certify(Deployed(model), dtypes=["float64"])
