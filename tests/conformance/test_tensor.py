"""Irreps as Cartesian matrices: against rotations of the matrix itself, and against e3nn."""

import numpy as np
import pytest
import torch
from e3nn.io import CartesianTensor
from equic.runtime.irreps import Irreps
from equic.runtime.layers.tensor import Tensor
from equic.runtime.tables.cartesian import matrix_basis, to_irreps
from equic.runtime.tables.wigner import wigner_D
from equic.runtime.testing.inputs import random_rotation

REPS = ("1x0e+1x2e", "1x2e", "1x0e+1x1e+1x2e", "1x2o+1x0o+1x1o")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def layer(rep, to, dtype=torch.float64):
    return Tensor({"to": to, "irreps": rep}).to(dtype)


def representation(rep, matrix):
    """How components of irreps turn under a matrix of O(3)."""
    proper = matrix * np.linalg.det(matrix)
    blocks = [
        wigner_D(block.l, proper) * (1.0 if np.linalg.det(matrix) > 0 else block.p)
        for block in Irreps.parse(rep)
    ]
    dim = sum(len(block) for block in blocks)
    found, at = np.zeros((dim, dim)), 0
    for block in blocks:
        found[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return torch.from_numpy(found)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("rep", REPS)
@pytest.mark.parametrize("improper", [False, True])
def test_a_matrix_turns_as_a_matrix_when_its_irreps_turn(rep, improper, dtype):
    x = torch.randn(4, Irreps.parse(rep).dim, dtype=dtype, generator=torch.Generator().manual_seed(0))
    R = random_rotation(3, improper=improper)
    sign = -1.0 if improper and rep.endswith("o") else 1.0
    turned = x @ representation(rep, R.numpy()).T.to(dtype)
    T, turned_T = layer(rep, "cartesian", dtype)(x), layer(rep, "cartesian", dtype)(turned)
    R = R.to(dtype)
    assert T.shape == (4, 3, 3)
    torch.testing.assert_close(turned_T, sign * R @ T @ R.T, atol=TOLERANCE[dtype], rtol=0)
    torch.testing.assert_close(layer(rep, "irreps", dtype)(T), x, atol=TOLERANCE[dtype], rtol=0)


def test_another_order_of_components_is_caught():
    rep, R = "1x0e+1x2e", random_rotation(3)
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    T = layer(rep, "cartesian")(x)
    wrong = x @ representation(rep, R.numpy()).T
    wrong[:, [1, 2]] = wrong[:, [2, 1]]
    assert (layer(rep, "cartesian")(wrong) - R @ T @ R.T).abs().max() > 0.1


@pytest.mark.parametrize(("rep", "formula"), [("1x0e+1x2e", "ij=ji"), ("1x0e+1x1e+1x2e", "ij")])
def test_components_are_those_of_e3nn(rep, formula):
    T = torch.randn(5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    if formula == "ij=ji":
        T = (T + T.transpose(1, 2)) / 2
    theirs = CartesianTensor(formula)
    expected = theirs.from_cartesian(T.float()).double()
    found = layer(rep, "irreps")(T)
    # e3nn's axial vector has the other sign
    signs = torch.cat([torch.full((2 * one.ir.l + 1,), -1.0 if one.ir.l == 1 else 1.0) for one in theirs])
    difference = min(float((found - expected * one).abs().max()) for one in (torch.ones_like(signs), signs))
    assert difference < 1e-6


@pytest.mark.parametrize("rep", REPS)
def test_the_basis_is_orthonormal(rep):
    basis = matrix_basis(rep).reshape(-1, 9)
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-14)


def test_known_matrices():
    trace = to_irreps(np.eye(3), "1x0e+1x1e+1x2e")
    np.testing.assert_allclose(trace, [np.sqrt(3.0), *[0.0] * 8], atol=1e-15)
    v, w = np.array([1.0, 2.0, -0.5]), np.array([0.3, -1.0, 2.0])
    axial = to_irreps(np.outer(v, w) - np.outer(w, v), "1x1e")
    np.testing.assert_allclose(axial, np.cross(v, w) * np.sqrt(2.0), atol=1e-15)


def test_a_matrix_can_be_differentiated_twice():
    x = torch.randn(2, 9, dtype=torch.float64, requires_grad=True)
    module = layer("1x0e+1x1e+1x2e", "cartesian")
    assert torch.autograd.gradcheck(lambda x: module(x).square(), [x], fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: module(x).pow(3), [x], fast_mode=True)
