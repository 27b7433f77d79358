"""Linear maps as products in place against the layers that they stand for."""

import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.kernels import find_toolchain
from equic.runtime.kernels.gemm import has_blas
from equic.runtime.kernels.linear import LinearKernel, has_kernel
from equic.runtime.layers import LAYERS
from equic.runtime.testing.plans import mace_plan

from .messages import assert_same, derivatives, draw

pytestmark = pytest.mark.skipif(
    find_toolchain() is None or not has_blas(), reason="no C compiler, or a BLAS that is hidden"
)

MAPS = {
    "three degrees": {"in": "5x0e+4x1o+3x2e", "out": "6x0e+2x1o+3x2e", "species": None},
    "several blocks": {"in": "2x0e+3x1o+4x0e", "out": "3x1o+1x0e+2x1o+5x0e", "species": None},
    "not all is read, not all is written": {"in": "4x0e+2x1o", "out": "3x0e+2x1e+1x2e", "species": None},
    "one for each species": {"in": "3x0e+4x1o", "out": "3x0e+2x1o", "species": 3},
}


def of(name, dtype):
    layer = LAYERS["linear"]({"relax": None, "bias": False, **MAPS[name]})
    layer.initialise(torch.Generator().manual_seed(1))
    assert has_kernel(layer)
    return layer.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("rows", [9, 1, 0])
@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_its_layer_and_so_are_its_derivatives(name, rows, dtype):
    layer = of(name, dtype)
    kernel = LinearKernel(layer)
    generator = torch.Generator().manual_seed(2)
    species = None
    if layer.species is not None:
        species = torch.randint(0, layer.species, (rows,), generator=generator)
    x = draw(generator, rows, layer.source.dim, dtype=dtype).requires_grad_()
    arguments = [x, layer.weight]

    def values(function):
        return lambda x, _: function(x, species)

    orders = 3 if dtype == torch.float64 else 2
    ours = derivatives(values(kernel), arguments, orders)
    assert_same(ours, derivatives(values(layer), arguments, orders), dtype)


def test_rows_may_have_more_than_one_axis():
    layer = of("three degrees", torch.float64)
    x = draw(torch.Generator().manual_seed(3), 4, 6, layer.source.dim, dtype=torch.float64)
    torch.testing.assert_close(LinearKernel(layer)(x), layer(x), rtol=1e-13, atol=1e-13)


def test_a_species_without_weights_is_refused():
    layer = of("one for each species", torch.float64)
    x = torch.zeros(2, layer.source.dim, dtype=torch.float64)
    with pytest.raises(IndexError, match="row 1 is of a species"):
        LinearKernel(layer)(x, torch.tensor([0, 3]))


def test_forces_do_not_ask_for_the_gradients_of_weights(monkeypatch):
    """Of a step's two passes the first goes to positions alone."""
    layer = of("three degrees", torch.float64)
    kernel = LinearKernel(layer)
    asked = []
    outer = kernel.products.outer
    monkeypatch.setattr(kernel.products, "outer", lambda *a, **k: asked.append(1) or outer(*a, **k))
    x = draw(torch.Generator().manual_seed(4), 3, layer.source.dim, dtype=torch.float64).requires_grad_()
    (g,) = torch.autograd.grad((kernel(x) ** 3).sum(), x, create_graph=True)
    assert not asked
    (g * g).sum().backward()
    assert asked
    assert layer.weight.grad is not None


@pytest.mark.parametrize(
    "changed",
    [{"bias": True}, {"relax": [{"group": "O(3)", "strength": 0.1}]}, {"in": "2x0e", "out": "2x1o"}],
    ids=["bias", "relaxed", "nothing in common"],
)
def test_maps_that_are_more_than_products_stay_layers(changed):
    given = {"in": "2x0e+1x1o", "out": "2x0e+1x1o", "species": None, "relax": None, "bias": False}
    assert not has_kernel(LAYERS["linear"](given | changed))


def test_linear_maps_of_a_model_on_kernels_are_products():
    plan = mace_plan(channels=4, lmax=1, correlation=2, layers=2)
    model = build_module(plan, seed=1, kernels="c")
    steps = [step.name for step in plan.steps if step.layer == "linear"]
    assert steps
    assert all(isinstance(model.kernel(step), LinearKernel) for step in steps)
    reference = build_module(plan, seed=1, kernels="reference")
    assert not any(isinstance(reference.kernel(step), LinearKernel) for step in steps)
