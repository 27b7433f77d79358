"""The gradient of a loss by the weights from C is that of autograd through the layers as they are written."""

import ctypes
from functools import partial

import pytest
import torch
from equic.runtime.errors import EquicError
from equic.runtime.kernels import find_toolchain
from equic.runtime.kernels.geometry import harmonics_source
from equic.runtime.kernels.ops import pointer, toolchain
from equic.runtime.kernels.runner import runner_for
from equic.runtime.layers.geometry import SphericalHarmonics
from equic.runtime.neighbors import model_inputs

from .test_compiled import frames
from .test_compiled import made as compiled_model

pytestmark = pytest.mark.skipif(find_toolchain() is None, reason="no C compiler")

MODELS = {
    "mace": {"architecture": "mace", "channels": 5, "hidden_lmax": 1, "lmax": 2, "layers": 2},
    "mace, one layer": {"architecture": "mace", "channels": 18, "hidden_lmax": 0, "lmax": 3, "layers": 1},
    "nequip": {"architecture": "nequip", "channels": 4, "lmax": 2, "layers": 3, "parity": "natural"},
    # many channels for few hidden numbers: the sums of the first layer become densities
    "densities": {"architecture": "mace", "channels": 24, "hidden_lmax": 0, "lmax": 2, "radial": [4]},
    # layers with biases, activations of numbers alone, sums of edges without products
    "schnet": {"architecture": "schnet", "channels": 8},
}
IN_C = ("mace", "mace, one layer", "nequip", "densities")
TARGETS = ("energy", "forces", "stress")


made = partial(compiled_model, models=MODELS)


def gradients(model, outputs, targets):
    """By all weights, of a loss that is no linear function of the outputs."""
    model.zero_grad(set_to_none=True)
    loss = sum(
        ((outputs[name] - 0.3).square() * (outputs[name].detach() + 1).cos()).sum() for name in targets
    )
    loss.backward()
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def assert_same(found, expected, tolerance=1e-11):
    assert found.keys() == expected.keys()
    largest = max(value.abs().max() for value in expected.values())
    for name, value in expected.items():
        scale = value.abs().max().clamp_min(1e-9 * largest)
        assert (found[name] - value).abs().max() <= tolerance * scale, name


def in_c(model):
    return runner_for(model).gradients.get(model.dtype) is not None


@pytest.mark.parametrize("targets", [TARGETS, ("energy",), ("forces",), ("stress",)], ids="+".join)
@pytest.mark.parametrize("name", MODELS)
def test_gradients_by_weights_are_those_of_the_layers(name, targets):
    model, reference = made(name), made(name, "reference")
    inputs = model_inputs(frames(), model.plan)
    found = gradients(model, model.trainable(inputs, targets), targets)
    assert in_c(model) == (name in IN_C)
    expected = gradients(reference, reference(inputs, create_graph=True), targets)
    # what has no say in these targets has a gradient of zero, or none
    found = {key: value for key, value in found.items() if key in expected or value.any()}
    assert_same(found, expected)


def test_outputs_and_gradient_take_turns_in_one_workspace():
    """It is made for the larger of both before the first of them runs: nothing is left behind by a smaller one."""
    model = made("mace")
    inputs = model_inputs(frames(), model.plan)
    outputs = model.trainable(inputs, TARGETS)
    runner = runner_for(model)
    (workspace,) = runner.idle
    sizes = len(inputs["positions"]), inputs["edges"].shape[1], len(inputs["cell"])
    assert workspace.numel() >= runner.gradients[model.dtype].binding.bytes(*sizes)
    gradients(model, outputs, TARGETS)
    assert [other.data_ptr() for other in runner.idle] == [workspace.data_ptr()]


def test_gradients_are_slopes_of_the_loss():
    """Finite differences along a random direction of all weights: no other code is asked."""
    model = made("mace")
    inputs = model_inputs(frames(), model.plan)
    generator = torch.Generator().manual_seed(0)
    weights = list(model.parameters())
    along = [torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in weights]

    def loss():
        outputs = model.trainable(inputs, TARGETS)
        return sum(outputs[name].square().sum() for name in TARGETS)

    loss().backward()
    slope = sum((value.grad * move).sum() for value, move in zip(weights, along, strict=True))
    ends, step = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for value, move in zip(weights, along, strict=True):
                value += sign * step * move
            ends.append(loss().detach())
            for value, move in zip(weights, along, strict=True):
                value -= sign * step * move
    assert abs((ends[0] - ends[1]) / (2 * step) / slope - 1) < 1e-6


def test_float32_and_batches_of_other_sizes():
    model, reference = made("nequip", dtype=torch.float32), made("nequip", "reference")
    for batch in (frames(), frames()[1:2], frames() * 2, frames()[2:]):
        inputs = model_inputs(batch, model.plan)
        found = gradients(model, model.trainable(inputs, TARGETS), TARGETS)
        expected = gradients(reference, reference(inputs, create_graph=True), TARGETS)
        assert_same({key: value.to(torch.float64) for key, value in found.items()}, expected, 2e-3)


def test_weights_that_stay_have_no_gradient():
    model = made("mace")
    kept = next(iter(model.parameters())).requires_grad_(False)
    gradients(model, model.trainable(model_inputs(frames(), model.plan), TARGETS), TARGETS)
    assert kept.grad is None
    assert sum(value.grad is not None for value in model.parameters()) > 5


def test_weights_changed_in_between_and_second_derivatives_are_refused():
    model = made("mace")
    inputs = model_inputs(frames(), model.plan)
    outputs = model.trainable(inputs, TARGETS)
    with torch.no_grad():
        next(iter(model.parameters())).mul_(1.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs["energy"].sum().backward()
    weights = list(model.parameters())
    outputs = model.trainable(inputs, TARGETS)
    with pytest.raises(EquicError, match="no second derivatives"):
        torch.autograd.grad(outputs["energy"].sum(), weights, create_graph=True)


def test_what_else_is_asked_for_goes_through_the_layers():
    """Energies of atoms in a loss, shifts as whole numbers, positions that want a gradient."""
    model, reference = made("mace"), made("mace", "reference")
    inputs = model_inputs(frames(), model.plan)
    targets = ("energy", "node_energy")
    assert_same(
        gradients(model, model.trainable(inputs, targets), targets),
        gradients(reference, reference(inputs, create_graph=True), targets),
    )
    whole = {"shifts": inputs["shifts"].to(torch.int64)}
    assert_same(
        gradients(model, model.trainable(inputs | whole, TARGETS), TARGETS),
        gradients(reference, reference(inputs, create_graph=True), TARGETS),
    )
    inputs["positions"].requires_grad_()
    outputs = model.trainable(inputs, ("energy",))
    (slope,) = torch.autograd.grad(outputs["energy"].sum(), inputs["positions"])
    torch.testing.assert_close(slope, -outputs["forces"].detach())


def test_harmonics_move_as_their_derivative_says():
    layer = SphericalHarmonics({"lmax": 3}).to(torch.float64)
    v = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v[0] = 0.0
    d = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, expected = torch.func.jvp(layer, (v[1:],), (d[1:],))
    found = torch.empty(40, 16, dtype=torch.float64)
    library = toolchain().load(harmonics_source(3, torch.float64))
    library.tangent(ctypes.c_int64(40), ctypes.c_int64(1), pointer(v), pointer(d), pointer(found))
    torch.testing.assert_close(found[1:], expected, rtol=1e-12, atol=1e-12)
    assert found[0].isfinite().all()
