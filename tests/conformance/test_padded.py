"""Messages on tables of neighbours against gather, product and sum: values and three orders of derivatives."""

import pytest
import torch
from equic.runtime.build import build_module
from equic.runtime.errors import DataError
from equic.runtime.irreps import Irreps
from equic.runtime.kernels.padded import PaddedDensity, PaddedMessage
from equic.runtime.kernels.slots import edge_slots
from equic.runtime.layers import LAYERS
from equic.runtime.neighbors import model_inputs
from equic.runtime.testing.plans import mace_plan

from .messages import MACE, UNEQUAL, assert_same, derivatives, draw, message_case

DENSITY = {
    "left": "5x0e",
    "right": "1x0e+1x1o",
    "out": "5x0e+5x1o",
    "paths": [[0, 0, 0, 1.0], [0, 1, 1, 1.0]],
    "species": 3,
    "norm": "average",
    "mlp": "radial",
}
SIZES = pytest.mark.parametrize(("nodes", "edges"), [(7, 60), (1, 3), (4, 0), (0, 0), (40, 11)])


@SIZES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("norm", ["sum", "average", "root_average"])
def test_a_padded_message_is_gather_product_reduce(norm, dtype, nodes, edges):
    layers, padded, arguments = message_case(
        PaddedMessage, edge_slots, UNEQUAL, nodes, edges, dtype, norm=norm
    )
    assert_same(derivatives(padded, arguments), derivatives(layers, arguments), dtype)


@SIZES
def test_a_padded_density_is_its_layer(nodes, edges):
    """With a species that does not occur."""
    generator = torch.Generator().manual_seed(1)
    layer = LAYERS["density"](DENSITY)
    index = torch.randint(0, max(nodes, 1), (2, edges), generator=generator)
    species = torch.randint(0, 2, (nodes,), generator=generator)
    average = torch.tensor(2.5, dtype=torch.float64)
    shapes = ((3, 5), (edges, 4), (edges, 6), (6, 10))
    arguments = [draw(generator, *shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    padded = PaddedDensity(layer)

    def layers(table, y, h, matrix):
        return layer(table, y, h, species, index, average, matrix)

    def ours(table, y, h, matrix):
        return padded(table, y, h, species, edge_slots(index, nodes), index, average, matrix)

    assert_same(derivatives(ours, arguments), derivatives(layers, arguments), torch.float64)


def test_every_edge_has_a_slot_at_each_end():
    edges = torch.tensor([[2, 0, 1, 0], [0, 2, 0, 2]])
    by_target, by_source = edge_slots(edges, 3)
    assert by_target.tolist() == [0, 2, -1, -1, 1, 3, 0, 4, 1, 5]
    assert by_source.tolist() == [1, 3, 2, -1, 0, -1, 4, 0, 2, 1]
    with pytest.raises(DataError, match="an edge names node 3, and there are 3"):
        edge_slots(torch.tensor([[0, 3], [0, 0]]), 3)


def test_a_model_without_a_compiler_runs_on_tables(monkeypatch):
    monkeypatch.setattr("equic.runtime.build._compiler_found", lambda: False)
    model = build_module(mace_plan(channels=2, lmax=1))
    assert model.form == "torch"
    layers = {type(layer).__name__ for layer in model.kernels["torch"].values()}
    assert layers == {"EdgeSlots", "PaddedMessage"}


def test_nothing_of_the_size_edge_by_output_is_made():
    """The largest tensor of a message forward and backward is its input or a path's part of it."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for value in out if isinstance(out, (tuple, list)) else [out]:
                self.size = max(self.size, value.numel() if isinstance(value, torch.Tensor) else 0)
            return out

    message, left = PaddedMessage(MACE, "sum"), Irreps.parse(MACE["left"])
    nodes = 12
    index = torch.cartesian_prod(torch.arange(nodes), torch.arange(nodes)).T.contiguous()
    weights = sum(left[path[0]].mul for path in MACE["paths"])
    generator = torch.Generator().manual_seed(0)
    shapes = ((nodes, left.dim), (nodes**2, 16), (nodes**2, weights))
    arguments = [draw(generator, *shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    with Largest() as largest:
        torch.autograd.grad(message(*arguments, edge_slots(index, nodes), index).sum(), arguments)
    assert largest.size <= nodes**2 * max(weights, left.dim) < nodes**2 * Irreps.parse(MACE["out"]).dim


def test_inputs_reach_the_tables_of_every_batch():
    """Two models of one weight on frames of unequal sizes, one without any edge."""
    from ase import Atoms
    from ase.build import molecule

    plan = mace_plan(channels=4, lmax=2)
    frames = [molecule("CH3CH2OH"), Atoms("H"), molecule("H2O")]
    for batch in (frames, frames[1:2]):
        inputs = model_inputs(batch, plan)
        ours, reference = (
            build_module(plan, seed=3, dtype=torch.float64, kernels=kernels)(inputs)
            for kernels in ("torch", "reference")
        )
        torch.testing.assert_close(ours, reference, rtol=1e-11, atol=1e-11)
