"""The relaxed linear map: what it breaks, how much, and what it never touches."""

import itertools

import numpy as np
import pytest
import torch
from equic.runtime.errors import ArtifactError
from equic.runtime.irreps import Irreps
from equic.runtime.layers import LAYERS
from equic.runtime.testing.equivariance import assert_equivariant, equivariance_error
from equic.runtime.testing.inputs import random_rotation
from torch import nn

ELEMENTS = {
    "rotation": random_rotation(1),
    "improper": random_rotation(2, improper=True),
    "inversion": -torch.eye(3, dtype=torch.float64),
}
SPECIES = torch.tensor([0, 2, 1, 0])


def build(layer, params, seed=0):
    module = LAYERS[layer](params)
    module.initialise(torch.Generator().manual_seed(seed))
    return module


def draw(rows, rep, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, Irreps.parse(rep).dim, generator=generator, dtype=torch.float64)


def linear(source, out, **more):
    params = {"in": source, "out": out, "species": None, "bias": False, "relax": None, "hard": ["O(3)"]}
    return {**params, **more}


RELAXED = "4x0e+3x1o+2x1e+2x2e"


def relaxed(dials, hard=(), out=RELAXED, **more):
    relax = [{"group": group, "strength": strength} for group, strength in dials.items()]
    return build("linear", linear(RELAXED, out, relax=relax, hard=list(hard), **more), seed=3)


def matrix(module, size):
    return module(torch.eye(size, dtype=torch.float64)).T.detach()


@pytest.mark.parametrize(
    ("dials", "broken", "kept"),
    [
        ({"O(3)": 0.1}, ("rotation", "improper", "inversion"), ()),
        ({"SO(3)": 0.1, "inversion": 0.2}, ("rotation", "improper", "inversion"), ()),
        ({"SO(3)": 0.1}, ("rotation", "improper"), ("inversion",)),
        ({"inversion": 0.1}, ("improper", "inversion"), ("rotation",)),
    ],
)
@pytest.mark.parametrize("species", [None, 3])
def test_a_dial_breaks_its_factor_and_no_other(dials, broken, kept, species):
    hard = {"SO(3)", "inversion"} - set(dials) if "O(3)" not in dials else ()
    module = relaxed(dials, hard, species=species)
    inputs, reps = [draw(4, RELAXED)], [RELAXED]
    if species:
        inputs, reps = [*inputs, SPECIES], [*reps, None]
    for name in broken:
        assert equivariance_error(module, inputs, reps, RELAXED, ELEMENTS[name]) > 1e-3
    for name in kept:
        assert_equivariant(module, inputs, reps, RELAXED, ELEMENTS[name], 1e-12)


def test_the_breaking_is_linear_in_the_strength():
    x = draw(5, RELAXED)
    errors = [
        equivariance_error(relaxed({"O(3)": s}), [x], [RELAXED], RELAXED, ELEMENTS["improper"])
        for s in (1e-6, 1e-3)
    ]
    assert errors[1] / errors[0] == pytest.approx(1000.0, rel=1e-2)
    bias = [relaxed({"O(3)": s}, bias=True) for s in (1e-6, 1e-3)]
    for module in bias:
        nn.init.ones_(module.breaking_bias)
    errors = [equivariance_error(m, [x], [RELAXED], RELAXED, ELEMENTS["improper"]) for m in bias]
    assert errors[1] / errors[0] == pytest.approx(1000.0, rel=1e-2)


def test_the_relaxed_map_is_the_equivariant_one_plus_s_times_the_rest_of_a_free_one():
    size = Irreps.parse(RELAXED).dim
    hard = matrix(build("linear", linear(RELAXED, RELAXED), seed=3), size)
    dials = {"SO(3)": 0.3, "inversion": 0.5}
    module = relaxed(dials)
    free = module.breaking.detach() / size**0.5
    # the projections onto maps that a factor leaves alone, by averaging over the group instead of by blocks
    irreps = Irreps.parse(RELAXED)
    expected = hard.clone()
    for target, source in itertools.product(irreps, irreps):
        block = free[target.slice, source.slice]
        same = torch.zeros_like(block)
        if target.l == source.l:
            full = block.unflatten(0, (target.size, -1)).unflatten(-1, (source.size, -1))
            mean = torch.einsum("mvmu->vu", full) / target.size
            same = torch.einsum("ab,vu->avbu", torch.eye(target.size, dtype=torch.float64), mean)
            same = same.flatten(2).flatten(0, 1)
        flip = 0.5 if target.p != source.p else 1.0
        kept = (
            same * flip if target.p != source.p else 0.0
        )  # the part equivariant under both is projected out
        expected[target.slice, source.slice] += kept + 0.3 * flip * (block - same)
    torch.testing.assert_close(matrix(module, size), expected, atol=1e-13, rtol=0)


def test_the_breaking_part_is_orthogonal_to_all_equivariant_maps():
    size = Irreps.parse(RELAXED).dim
    hard = matrix(build("linear", linear(RELAXED, RELAXED), seed=3), size)
    rest = matrix(relaxed({"O(3)": 0.1}), size) - hard
    probe = matrix(build("linear", linear(RELAXED, RELAXED), seed=9), size)
    assert abs(float((rest * probe).sum())) < 1e-12
    # and its scale is s / sqrt(in.dim) for each entry
    assert float(rest.square().mean().sqrt()) == pytest.approx(0.1 / size**0.5, rel=0.15)


def test_a_relaxed_bias_moves_what_is_not_invariant():
    module = relaxed({"SO(3)": 0.1}, ["inversion"], out="2x0e+2x1e+2x1o", bias=True)
    assert module.bias.shape == (2,)
    assert module.breaking_bias.shape == (6,)  # 1e, but not 1o, which hard inversion forbids
    nn.init.ones_(module.bias)
    nn.init.ones_(module.breaking_bias)
    zero = torch.zeros(1, Irreps.parse(RELAXED).dim, dtype=torch.float64)
    expected = torch.tensor([1.0] * 2 + [0.1] * 6 + [0.0] * 6, dtype=torch.float64)
    torch.testing.assert_close(module(zero)[0], expected)


def test_an_unknown_dial_is_refused():
    with pytest.raises(ArtifactError, match="cannot relax `Lorentz`"):
        relaxed({"Lorentz": 0.1})


PLANE = "2x1+3x0+2x2"


def quarter(angle):
    c, s = np.cos(angle), np.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def test_linear_maps_between_plane_representations():
    module = build("linear", linear(PLANE, "3x2+1x0+4x1", bias=True))
    nn.init.ones_(module.bias)
    x, element = draw(5, PLANE), quarter(0.7)
    assert_equivariant(module, [x], [PLANE], "3x2+1x0+4x1", element, 1e-12)
    assert module.weight.numel() == 2 * 2 * 4 + 3 + 2 * 2 * 3  # a + bJ where m > 0
    # a reflection is no element of SO(2), and J does not commute with it
    mirror = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert equivariance_error(module, [x], [PLANE], "3x2+1x0+4x1", mirror) > 1e-3


def test_a_relaxed_plane_map_loses_exactly_what_commutes():
    size, element = Irreps.parse(PLANE).dim, quarter(0.7)
    hard = matrix(build("linear", linear(PLANE, PLANE), seed=3), size)
    relax = [{"group": "SO(2)", "strength": 0.1}]
    module = build("linear", linear(PLANE, PLANE, relax=relax), seed=3)
    rest = matrix(module, size) - hard
    probe = matrix(build("linear", linear(PLANE, PLANE), seed=9), size)
    assert abs(float((rest * probe).sum())) < 1e-12
    assert equivariance_error(module, [draw(5, PLANE)], [PLANE], PLANE, element) > 1e-3


def test_inner_products_in_the_plane_are_invariant():
    module, element = build("inner", {"in": PLANE}), quarter(1.3)
    assert_equivariant(module, [draw(5, PLANE), draw(5, PLANE, seed=1)], [PLANE] * 2, "7x0", element, 1e-12)
