"""Powers by repeated products: the many-body sums written out, and the span of the coupled basis."""

import pytest
import torch
from e3nn import o3
from equic.runtime.build import build_module
from equic.runtime.layers import LAYERS
from equic.runtime.layers.power import Power
from equic.runtime.layers.power_recursive import RecursivePower
from equic.runtime.plan import Plan
from equic.runtime.tables.chains import symmetric_chains
from equic.runtime.tables.symmetric import count_paths
from equic.runtime.testing.equivariance import assert_equivariant, equivariance_error
from equic.runtime.testing.inputs import random_rotation

from ..small_specs import compiled, inputs_for, with_statistics

POWER = {"in": "2x0e+2x1o+2x2e", "out": "2x0e+2x1o", "order": 3, "species": 2, "relax": None}
BLOCKS = ((0, 1), (1, -1), (2, 1))
SLICES = (slice(0, 1), slice(1, 4), slice(4, 9))
MIRROR = random_rotation(2, improper=True)
DOUBLE = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def built(basis="recursive", dtype=DOUBLE, **changes):
    layer = LAYERS["power"]({**POWER, "basis": basis, **changes})
    layer.initialise(torch.Generator().manual_seed(0))
    return layer.to(dtype)


def chain_of(levels, degree, n, factors):
    """One product of different features, one for every factor, coupled one after another by e3nn's symbols."""
    chain = levels[degree - 1][n]
    if degree == 1:
        return factors[0][..., SLICES[chain.block], :]
    before = chain_of(levels, degree - 1, chain.last, factors[:-1])
    l1, l2, l3 = levels[degree - 2][chain.last].irrep[0], BLOCKS[chain.block][0], chain.irrep[0]
    w = o3.wigner_3j(l1, l2, l3, dtype=DOUBLE) * (2 * l3 + 1) ** 0.5
    return torch.einsum("ijk,...iu,...ju->...ku", w, before, factors[-1][..., SLICES[chain.block], :])


@pytest.mark.parametrize("relax", [None, 0.3])
def test_it_is_the_sum_over_all_tuples_of_neighbours(relax):
    layer = built(relax=relax and [{"group": "inversion", "strength": relax}])
    levels = symmetric_chains(BLOCKS, 3, 1)
    species, neighbours = torch.tensor([0, 1, 1]), 3
    phi = draw(3, neighbours, 9, 2)  # node, neighbour, component, channel
    result = layer(phi.sum(1).flatten(1), species).unflatten(1, (4, 2))
    weight, at = layer.weight.detach()[:, species], 0  # [chain, node, channel]
    expected = torch.zeros(3, 4, 2, dtype=DOUBLE)
    for rows, (l, p) in ((slice(0, 1), (0, 1)), (slice(1, 4), (1, -1))):
        for parity in (p, -p) if relax else (p,):
            for degree in (1, 2, 3):
                mine = [n for n, chain in enumerate(levels[degree - 1]) if chain.irrep == (l, parity)]
                assert len(mine) == count_paths(BLOCKS, (l, parity), degree)
                for n in mine:
                    shapes = [[1 if k != d else neighbours for k in range(degree)] for d in range(degree)]
                    factors = [phi.view(3, *shape, 9, 2) for shape in shapes]
                    value = chain_of(levels, degree, n, factors)
                    value = value.sum(dim=tuple(range(1, degree + 1)))
                    scale = 1.0 if parity == p else relax
                    expected[:, rows] += scale * value * weight[at][:, None]
                    at += 1
    assert at == len(layer.weight)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=1e-12)


CASES = [
    ({"in": "1x0e+1x1o", "out": "1x0e+1x1o", "order": 4}, None),
    ({"in": "1x0e+1x1o+1x2e+1x3o", "out": "1x0e+1x1o", "order": 3}, None),
    ({"in": "1x1o+1x1e+1x0o", "out": "1x0e+1x1e+1x2o", "order": 3}, None),
    ({"in": "1x1o+1x1o+1x2e", "out": "1x1o", "order": 2}, None),
    (
        {"in": "1x0e+1x1o+1x2e", "out": "1x0e+1x1o+1x2e", "order": 3},
        [{"group": "inversion", "strength": 0.5}],
    ),
]


@pytest.mark.parametrize(
    ("changes", "relax"), CASES, ids=["order 4", "degree 3", "parities", "twice", "relaxed"]
)
def test_it_spans_what_the_coupled_basis_spans(changes, relax):
    """As many functions, and those of either basis make those of the other."""
    layers = [built(basis, species=1, relax=relax, **changes) for basis in ("coupled", "recursive")]
    coupled, recursive = layers
    assert isinstance(coupled, Power)
    assert isinstance(recursive, RecursivePower)
    assert coupled.weight.shape == recursive.weight.shape
    size = sum(block.size for block in coupled.source)
    x, species = (
        draw(len(coupled.weight) + 40, size),
        torch.zeros(len(coupled.weight) + 40, dtype=torch.int64),
    )
    bases = []
    for layer in layers:
        layer.requires_grad_(False)
        columns = []
        for k in range(len(layer.weight)):
            layer.weight.zero_()
            layer.weight[k] = 1.0
            column = layer(x, species).flatten()
            columns.append(column / column.norm())
        bases.append(torch.stack(columns, dim=1))
    count = bases[0].shape[1]
    for basis in (*bases, torch.cat(bases, dim=1)):
        singular = torch.linalg.svdvals(basis)
        assert float(singular[count - 1]) > 1e-4
        assert len(singular) == count or float(singular[count]) < 1e-11
    found = torch.linalg.lstsq(bases[1], bases[0]).solution
    torch.testing.assert_close(bases[1] @ found, bases[0], atol=1e-11, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-12), (torch.float32, 2e-5)], ids=str)
def test_it_is_equivariant_and_a_relaxed_inversion_breaks_that_alone(dtype, tolerance):
    species, rep, out = torch.tensor([0, 1, 1, 0]), POWER["in"], POWER["out"]
    x = [draw(4, 18).to(dtype)]
    hard = built(dtype=dtype)
    assert_equivariant(lambda a: hard(a, species), x, [rep], out, MIRROR, tolerance)
    soft = built(dtype=dtype, relax=[{"group": "O(3)", "strength": 0.5}])
    rotation = random_rotation(1)
    assert_equivariant(lambda a: soft(a, species), x, [rep], out, rotation, tolerance)
    assert equivariance_error(lambda a: soft(a, species), x, [rep], out, MIRROR) > 1e-2


SPEC = """
equic: 1
name: recursive
system: {kind: atoms, species: [H, O], cutoff: 4.0 Å}
symmetry: {O(3): hard}
targets:
  energy: {per: system, rep: 0e, unit: eV}
  forces: {gradient_of: energy, wrt: positions, scale: -1, unit: eV/Å}
model:
  features: {node: 4x0e, harmonics: 2}
  blocks:
    - {kind: mp, carry: 4x0e+4x1o, message: {irreps: "4x(0..2)", radial: [8]}, power: {order: 3, BASIS}, skip: none}
    - {kind: mp, carry: 4x0e, message: {irreps: "4x(0..2)", radial: [8]}, power: {order: 2, BASIS}}
  heads: {default: {read: linear, last: [4]}}
"""


def test_a_model_of_either_basis_has_the_same_weights_in_number_and_type():
    coupled = compiled(SPEC.replace("BASIS", "basis: coupled"))
    recursive = compiled(SPEC.replace("BASIS", "basis: recursive"))
    assert compiled(SPEC.replace(", BASIS", "")).plan["graph_hash"] == coupled.plan["graph_hash"]
    assert "dusson2022atomic" in recursive.plan["citations"]
    models = []
    for done in (coupled, recursive):
        plan = Plan.from_json(done.plan)
        model = with_statistics(build_module(plan, seed=3, dtype=DOUBLE))
        models.append(model)
        assert model(inputs_for(plan))["forces"].abs().max() > 0
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in models]
    assert shapes[0] == shapes[1]
    assert coupled.graph.types() == recursive.graph.types()
