"""Wigner symbols, harmonics and symmetric bases: against e3nn, and against their definitions."""

import itertools
import time

import numpy as np
import pytest
import torch
from e3nn import o3
from equic.runtime.tables.spherical import harmonic_polynomials, monomials
from equic.runtime.tables.symmetric import count_paths, symmetric_basis
from equic.runtime.tables.wigner import wigner_3j, wigner_D
from equic.runtime.testing.inputs import random_rotation
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

NATURAL = tuple((l, (-1) ** l) for l in range(4))
TRIPLES = [t for t in itertools.product(range(5), repeat=3) if abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]]


def harmonics(l, directions):
    powers = [directions[..., list(m)].prod(-1) for m in monomials(3, l)]
    return np.stack(powers, axis=-1) @ harmonic_polynomials(l)


def evaluate(basis, x):
    """B[x] for one vector x: [path, m]."""
    values = np.array([x[list(m)].prod() for m in basis.monomials])
    return np.einsum("t,tpm->pm", values, basis.coefficients)


def representation(blocks, rotation, inverted):
    size = sum(2 * l + 1 for l, _ in blocks)
    matrix, at = np.zeros((size, size)), 0
    for l, p in blocks:
        part = slice(at, at + 2 * l + 1)
        matrix[part, part] = wigner_D(l, rotation) * (p if inverted else 1)
        at += 2 * l + 1
    return matrix


def test_3j_symbols_are_those_of_e3nn():
    for l1, l2, l3 in TRIPLES:
        expected = o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
        np.testing.assert_allclose(wigner_3j(l1, l2, l3), expected, atol=1e-14)


def test_3j_symbols_are_invariant_and_have_norm_one():
    rotation = random_rotation(0).numpy()
    for l1, l2, l3 in [*TRIPLES, (6, 5, 8), (8, 8, 8)]:
        w = wigner_3j(l1, l2, l3)
        matrices = [wigner_D(l, rotation) for l in (l1, l2, l3)]
        np.testing.assert_allclose(np.einsum("ijk,il,jm,kn->lmn", w, *matrices, optimize=True), w, atol=1e-13)
        assert np.linalg.norm(w) == pytest.approx(1.0, abs=1e-14)


def test_3j_symbols_vanish_where_the_triangle_rule_fails():
    assert not wigner_3j(1, 1, 3).any()
    assert wigner_3j(1, 1, 1)[0, 1, 2] == pytest.approx(6**-0.5)


@pytest.fixture
def double_precision():
    """e3nn computes its matrices in torch's default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("l", range(5))
def test_rotation_matrices_are_those_of_e3nn(l):
    rotations = torch.stack([random_rotation(seed) for seed in range(6)])
    expected = o3.Irrep(l, 1).D_from_matrix(rotations).numpy()
    # e3nn goes through Euler angles, which cost it two digits
    np.testing.assert_allclose(wigner_D(l, rotations.numpy()), expected, atol=1e-13)


def real_exponential(l, axis, angle):
    """exp(-i angle n.J) on |l, m>, with the textbook's ladder operators, brought to real harmonics.

    The polar axis of ours is y: (z, x, y) of an axis stand for the textbook's (x, y, z).
    """
    m = np.arange(-l, l + 1)
    up = np.diag(np.sqrt(l * (l + 1) - m[:-1] * (m[:-1] + 1)), -1).astype(complex)
    momenta = (up + up.T) / 2, (up - up.T) / 2j, np.diag(m).astype(complex)
    x, y, z = axis[2], axis[0], axis[1]
    turned = expm(-1j * angle * (x * momenta[0] + y * momenta[1] + z * momenta[2]))
    real = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    real[l, l] = 1.0
    for k in range(1, l + 1):
        real[l + k, l + k], real[l + k, l - k] = (-1) ** k / np.sqrt(2), 1 / np.sqrt(2)
        real[l - k, l - k], real[l - k, l + k] = 1j / np.sqrt(2), -1j * (-1) ** k / np.sqrt(2)
    return real @ turned.conj() @ real.conj().T


@pytest.mark.parametrize("l", range(7))
def test_rotation_matrices_are_exponentials_of_angular_momenta(l):
    rng = np.random.default_rng(l)
    for _ in range(3):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        angle = rng.uniform(0, np.pi)
        expected = real_exponential(l, axis, angle)
        assert np.abs(expected.imag).max() < 1e-12
        found = wigner_D(l, Rotation.from_rotvec(angle * axis).as_matrix())
        np.testing.assert_allclose(found, expected.real, atol=1e-12)


def test_rotation_matrices_are_an_orthogonal_representation():
    a, b = random_rotation(1).numpy(), random_rotation(2).numpy()
    for l in range(9):
        product = wigner_D(l, a) @ wigner_D(l, b)
        np.testing.assert_allclose(wigner_D(l, a @ b), product, atol=1e-13)
        np.testing.assert_allclose(product @ product.T, np.eye(2 * l + 1), atol=1e-13)


@pytest.mark.parametrize("l", range(9))
def test_harmonics_are_those_of_e3nn(l):
    directions = np.random.default_rng(l).normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    expected = o3.spherical_harmonics(l, torch.from_numpy(directions), False, "component").numpy()
    np.testing.assert_allclose(harmonics(l, directions), expected, atol=1e-13)
    # and without e3nn: they turn with D, and have the norm of the component normalisation
    rotation = random_rotation(l).numpy()
    turned = harmonics(l, directions) @ wigner_D(l, rotation).T
    np.testing.assert_allclose(harmonics(l, directions @ rotation.T), turned, atol=1e-12)
    np.testing.assert_allclose((harmonics(l, directions) ** 2).sum(-1), 2 * l + 1, rtol=1e-13)


CASES = [
    (NATURAL, target, degree) for degree in (1, 2, 3) for target in ((0, 1), (1, -1), (2, 1), (0, -1), (1, 1))
]
CASES += [(NATURAL[:3], (1, -1), 4), (NATURAL[:3], (2, 1), 4), (((1, -1), (1, 1), (2, -1)), (1, -1), 3)]


@pytest.mark.parametrize(("blocks", "target", "degree"), CASES)
def test_symmetric_bases_are_equivariant(blocks, target, degree):
    basis = symmetric_basis(blocks, target, degree)
    x = np.random.default_rng(0).normal(size=sum(2 * l + 1 for l, _ in blocks))
    rotation = random_rotation(3).numpy()
    for inverted in (False, True):
        turned = evaluate(basis, representation(blocks, rotation, inverted) @ x)
        expected = evaluate(basis, x) @ representation((target,), rotation, inverted).T
        np.testing.assert_allclose(turned, expected, atol=1e-11 * max(1.0, np.abs(expected).max(initial=0.0)))


@pytest.mark.parametrize(("blocks", "target", "degree"), CASES)
def test_symmetric_bases_are_orthonormal_as_tensors(blocks, target, degree):
    basis = symmetric_basis(blocks, target, degree)
    paths, size = basis.coefficients.shape[1:]
    # the full tensor has coefficient / orderings at each of the orderings of a monomial
    orderings = np.array([len(set(itertools.permutations(m))) for m in basis.monomials])
    tensors = basis.coefficients / np.sqrt(orderings)[:, None, None] if paths else basis.coefficients
    gram = np.einsum("tpm,tqn->pmqn", tensors, tensors)
    np.testing.assert_allclose(gram, np.einsum("pq,mn->pmqn", np.eye(paths), np.eye(size)), atol=1e-12)


def character_count(blocks, target, degree):
    """Multiplicity of `target` in Sym^degree: the average over O(3) of the product of characters."""

    def chi(l, angle):
        return 1 + 2 * sum(np.cos(m * angle) for m in range(1, l + 1))

    # the class measure (1 - cos w) / pi and all characters are polynomials in cos w: this grid is exact
    n = 4 * (degree * max(l for l, _ in blocks) + target[0]) + 8
    angles = 2 * np.pi * np.arange(n) / n
    total = 0.0
    for inverted in (False, True):

        def power_sum(k, inverted=inverted):
            odd = inverted and k % 2
            return sum(chi(l, k * angles) * (p if odd else 1) for l, p in blocks)

        # Newton's identities give the character of the symmetric power
        h = [np.ones(n)]
        for d in range(1, degree + 1):
            h.append(sum(power_sum(k) * h[d - k] for k in range(1, d + 1)) / d)
        sign = target[1] if inverted else 1
        total += (h[degree] * chi(target[0], angles) * sign * (1 - np.cos(angles))).mean() / 2
    return round(total)


@pytest.mark.parametrize(("blocks", "target", "degree"), CASES)
def test_as_many_paths_as_characters_say(blocks, target, degree):
    basis = symmetric_basis(blocks, target, degree)
    assert (
        len(basis.allowed) == character_count(blocks, target, degree) == count_paths(blocks, target, degree)
    )


def test_paths_that_parity_forbids_are_listed_beside_the_others():
    both = symmetric_basis(NATURAL, (1, -1), 3, allow_parity=True)
    assert sum(both.allowed) == count_paths(NATURAL, (1, -1), 3)
    assert len(both.allowed) - sum(both.allowed) == count_paths(NATURAL, (1, 1), 3)
    allowed = symmetric_basis(NATURAL, (1, -1), 3)
    kept = both.coefficients[:, list(both.allowed)]
    rows = [both.monomials.index(m) for m in allowed.monomials]
    np.testing.assert_array_equal(kept[rows], allowed.coefficients)


def test_the_paths_of_mace_are_built_in_well_under_a_second():
    symmetric_basis.cache_clear()
    start = time.perf_counter()
    for degree, target in itertools.product((1, 2, 3), ((0, 1), (1, -1))):
        symmetric_basis(NATURAL, target, degree)
    assert time.perf_counter() - start < 1.0
