"""The numbers of each layer, against e3nn, against brute force and against formulas written out."""

import itertools
import math

import numpy as np
import pytest
import torch
from e3nn import nn as enn
from e3nn import o3
from e3nn.math import normalize2mom
from equic.runtime.irreps import Irreps
from equic.runtime.layers import LAYERS
from equic.runtime.layers.activations import ACTIVATIONS, second_moment_factor
from equic.runtime.tables.symmetric import symmetric_basis


@pytest.fixture(autouse=True)
def _double_precision():
    """e3nn's modules take torch's default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(layer, params, seed=0):
    module = LAYERS[layer](params)
    module.initialise(torch.Generator().manual_seed(seed))
    return module


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def to_e3nn(x, rep):
    """From component-major blocks to e3nn's channel-major ones."""
    parts = [
        x[:, b.slice].unflatten(1, (b.size, b.mul)).transpose(1, 2).flatten(1) for b in Irreps.parse(rep)
    ]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize(
    ("source", "out"), [("4x0e+3x1o+2x2e", "2x2e+5x0e+1x1o"), ("2x1o+3x0e+4x1o+1x0o", "5x1o+2x0e+3x1o+1x2e")]
)
def test_linear_is_that_of_e3nn(source, out):
    ours = build(
        "linear", {"in": source, "out": out, "species": None, "bias": False, "relax": None, "hard": ["O(3)"]}
    )
    theirs = o3.Linear(source, out)
    irreps_in, irreps_out = Irreps.parse(source), Irreps.parse(out)
    at, matrices = 0, {}
    for kind in irreps_out.kinds:
        a, b = ([k for k, block in enumerate(r) if block.irrep == kind] for r in (irreps_in, irreps_out))
        fan_in, fan_out = sum(irreps_in[i].mul for i in a), sum(irreps_out[k].mul for k in b)
        if fan_in:
            matrix = ours.weight.detach()[at : at + fan_in * fan_out].view(fan_in, fan_out)
            at += fan_in * fan_out
            rows = matrix.split([irreps_in[i].mul for i in a])
            for i, row in zip(a, rows, strict=True):
                pieces = row.split([irreps_out[k].mul for k in b], dim=1)
                matrices |= {(i, k): piece for k, piece in zip(b, pieces, strict=True)}
    assert at == ours.weight.numel()
    flat = [matrices[ins.i_in, ins.i_out].flatten() for ins in theirs.instructions]
    x = draw(6, irreps_in.dim)
    expected = theirs(to_e3nn(x, source), torch.cat(flat))
    torch.testing.assert_close(to_e3nn(ours(x), out), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dials", [None, [{"group": "O(3)", "strength": 0.2}]], ids=["hard", "relaxed"])
def test_one_linear_per_species_is_many_linears(dials):
    params = {"in": "3x0e+2x1o", "out": "2x1o+4x0e", "bias": False, "relax": dials, "hard": []}
    x, species = draw(7, 9), torch.tensor([0, 1, 2, 1, 0, 11, 2])
    for count in (3, 12):
        all_of_them = build("linear", {**params, "species": count})
        one = build("linear", {**params, "species": None})
        z = species % count
        for i in range(7):
            with torch.no_grad():
                one.weight.copy_(all_of_them.weight[z[i]])
                if dials:
                    one.breaking.copy_(all_of_them.breaking[z[i]])
            torch.testing.assert_close(all_of_them(x, z)[i], one(x[i : i + 1])[0], atol=1e-12, rtol=0)


PATHS = {
    "one multiplicity": ("4x0e+4x1o", "1x0e+1x1o+1x2e", "4x0e+4x0e+4x1o+4x3o+4x1o",
                         [[0, 0, 0], [0, 1, 2], [1, 1, 1], [1, 2, 3], [1, 0, 4]]),
    "two multiplicities": ("2x0e+3x1o+3x2e", "1x1o+1x2e", "3x1o+2x1o+3x0e+2x2e+3x2e",
                           [[1, 1, 0], [0, 0, 1], [1, 0, 2], [0, 1, 3], [2, 1, 4]]),
    "first layer": ("5x0e", "1x0e+1x1o+1x2e+1x3o", "5x0e+5x1o+5x2e+5x3o", [[0, j, j] for j in range(4)]),
    "a multiplicity for each path": ("6x0e+4x1o+2x2e", "1x0e+1x1o+1x2e", "6x0e+4x0e+2x0e",
                                     [[k, k, k] for k in range(3)]),
    "parts of the left": ("2x0e+2x1o+2x2e", "1x1o", "2x1o+2x1o", [[2, 0, 0], [0, 0, 1]]),
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_product_is_that_of_e3nn(name):
    left, right, out, paths = PATHS[name]
    ours = build(
        "product",
        {"left": left, "right": right, "out": out, "mode": "uvu", "paths": [[*p, 1.0] for p in paths]},
    )
    theirs = o3.TensorProduct(
        left,
        right,
        out,
        [(i, j, k, "uvu", True) for i, j, k in paths],
        shared_weights=False,
        internal_weights=False,
    )
    edges, weights = 6, sum(Irreps.parse(left)[i].mul for i, _, _ in paths)
    x, y, w = (
        draw(edges, Irreps.parse(left).dim),
        draw(edges, Irreps.parse(right).dim, seed=1),
        draw(edges, weights, seed=2),
    )
    expected = theirs(to_e3nn(x, left), to_e3nn(y, right), w)
    torch.testing.assert_close(to_e3nn(ours(x, y, w), out), expected, atol=1e-12, rtol=0)


def test_harmonics_are_those_of_e3nn():
    v = draw(30, 3) * 3
    expected = o3.spherical_harmonics(list(range(7)), v, normalize=True, normalization="component")
    torch.testing.assert_close(build("sph", {"lmax": 6})(v), expected, atol=1e-12, rtol=0)


def test_gate_is_that_of_e3nn_with_exact_constants():
    source, out = "3x0e+5x0e+3x1o+2x2e", "3x0e+3x1o+2x2e"
    ours = build("act", {"form": "gate", "f": "silu", "in": source, "out": out})
    silu, sigmoid = torch.nn.functional.silu, torch.sigmoid
    theirs = enn.Gate("3x0e", [silu], "5x0e", [sigmoid], "3x1o+2x2e")
    x = draw(6, Irreps.parse(source).dim)
    expected = theirs(to_e3nn(x, source))
    # e3nn estimates its constants with random numbers: theirs out, ours in
    expected[:, :3] *= second_moment_factor("silu") / normalize2mom(silu).cst
    expected[:, 3:] *= second_moment_factor("sigmoid") / normalize2mom(sigmoid).cst
    torch.testing.assert_close(to_e3nn(ours(x), out), expected, atol=1e-12, rtol=0)


def test_norm_activation_is_that_of_e3nn():
    rep = "2x0e+3x1o+2x2e"
    ours = build("act", {"form": "norm", "f": "silu", "in": rep, "out": rep})
    # e3nn 0.6.0 fails with normalize=False: with it, x / |x| times |x| f(|x|) is the same
    theirs = enn.NormActivation(rep, lambda r: r * torch.nn.functional.silu(r), normalize=True, epsilon=1e-12)
    x = draw(6, Irreps.parse(rep).dim)
    torch.testing.assert_close(to_e3nn(ours(x), rep), theirs(to_e3nn(x, rep)), atol=1e-12, rtol=0)


def test_mlp_is_the_fully_connected_net_of_e3nn():
    params = {"in": 8, "widths": [16, 12], "out": 5, "act": "silu", "bias": False, "init": "normal"}
    ours = build("mlp", params)
    theirs = enn.FullyConnectedNet([8, 16, 12, 5], torch.nn.functional.silu)
    for layer, weight in zip(theirs, ours.weights, strict=True):
        layer.weight.data.copy_(weight.detach())
    ours.factor = theirs[0].act.cst
    x = draw(10, 8)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-12, rtol=0)


def test_orthogonal_mlp_is_plain_linears():
    params = {"in": 4, "widths": [6, 6], "out": 2, "act": "tanh", "bias": True, "init": "orthogonal"}
    module = build("mlp", params)
    a, b, c = (weight.detach() for weight in module.weights)
    torch.testing.assert_close(a @ a.T, torch.eye(4))
    torch.testing.assert_close(b @ b.T, torch.eye(6))
    for i, bias in enumerate(module.biases):
        assert not bias.any()
        torch.nn.init.constant_(bias, 0.1 * i)
    x = draw(5, 4)
    expected = torch.tanh(torch.tanh(x @ a) @ b + 0.1) @ c + 0.2
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_unit_second_moment(name):
    exact = {"relu": 2**0.5, "abs": 1.0, "identity": 1.0}
    factor = second_moment_factor(name)
    if name in exact:
        assert factor == pytest.approx(exact[name], rel=1e-14)
    x, w = np.polynomial.hermite_e.hermegauss(150)  # another rule, good to 1e-6 even at a kink
    f = ACTIVATIONS[name](torch.from_numpy(x)).numpy() * factor
    assert (w * f * f).sum() / math.sqrt(2 * math.pi) == pytest.approx(
        1.0, rel=1e-2 if name == "relu" else 1e-6
    )


# ----------------------------------------------------------------------------------------------------- power

POWER = {"in": "2x0e+2x1o+2x2e", "out": "2x0e+2x1o", "order": 3, "species": 2, "relax": None}
BLOCKS = ((0, 1), (1, -1), (2, 1))


def full_tensor(basis):
    """The symmetric tensor [path, m, i, j, ...] of a basis of polynomials."""
    tensor = np.zeros((*basis.coefficients.shape[1:], *[9] * basis.degree))
    for monomial, row in zip(basis.monomials, basis.coefficients, strict=True):
        orders = set(itertools.permutations(monomial))
        for order in orders:
            tensor[(..., *order)] += row / len(orders)
    return torch.from_numpy(tensor)


@pytest.mark.parametrize("relax", [None, 0.3])
def test_power_is_the_sum_over_all_tuples_of_neighbours(relax):
    dial = relax and [{"group": "inversion", "strength": relax}]
    module = build("power", {**POWER, "relax": dial})
    species, neighbours = torch.tensor([0, 1, 1]), 4
    phi = draw(3, neighbours, 9, 2)  # node, neighbour, component, channel
    result = module(phi.sum(1).flatten(1), species).unflatten(1, (4, 2))
    at, expected = 0, torch.zeros(3, 4, 2)
    for rows, (l, p) in ((slice(0, 1), (0, 1)), (slice(1, 4), (1, -1))):
        for parity in (p, -p) if relax else (p,):
            scale = 1.0 if parity == p else relax
            for degree, letters in ((1, "i"), (2, "ij"), (3, "ijk")):
                tensor = full_tensor(symmetric_basis(BLOCKS, (l, parity), degree))
                weight = module.weight.detach()[at : at + len(tensor), species]
                at += len(tensor)
                # a product of densities is a sum over tuples of neighbours, with repetition
                factors = ",".join(f"n{'abc'[d]}{letter}u" for d, letter in enumerate(letters))
                terms = torch.einsum(f"pm{letters},{factors},pnu->nmu", tensor, *[phi] * degree, weight)
                expected[:, rows] += scale * terms
    assert at == len(module.weight)
    torch.testing.assert_close(result, expected, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("target", [(0, 1), (1, -1), (2, 1)])
@pytest.mark.parametrize(("degree", "formula"), [(2, "ij=ji"), (3, "ijk=jik=jki")])
def test_power_spans_the_couplings_of_e3nn(target, degree, formula):
    theirs = o3.ReducedTensorProducts(formula, i="1x0e+1x1o+1x2e")
    at, copies = 0, []
    for mul, ir in theirs.irreps_out:
        for _ in range(mul):
            if (ir.l, ir.p) == target:
                copies.append(theirs.change_of_basis[at : at + ir.dim])
            at += ir.dim
    ours = full_tensor(symmetric_basis(BLOCKS, target, degree))
    theirs_all = torch.stack(copies)
    theirs_all = theirs_all / theirs_all[0, 0].norm()
    assert ours.shape == theirs_all.shape
    overlap = torch.einsum("pmx,qmx->mpq", ours.flatten(2), theirs_all.flatten(2))
    # one orthogonal matrix, the same for every component
    torch.testing.assert_close(overlap, overlap[:1].expand_as(overlap), atol=1e-7, rtol=0)
    torch.testing.assert_close(overlap[0] @ overlap[0].T, torch.eye(len(ours)), atol=1e-7, rtol=0)


def test_weights_of_a_power_shrink_with_the_number_of_paths():
    module = build("power", {**POWER, "in": "64x0e+64x1o+64x2e", "out": "64x0e+64x1o", "species": 50})
    at = 0
    for target in ((0, 1), (1, -1)):
        for degree in (1, 2, 3):
            paths = len(symmetric_basis(BLOCKS, target, degree).allowed)
            part = module.weight.detach()[at : at + paths]
            assert float(part.std()) == pytest.approx(1 / paths, rel=0.05)
            at += paths


# ------------------------------------------------------------------------------------ formulas written out


def test_sums_over_edges_in_each_norm():
    edges, species = torch.tensor([[0, 1, 2, 3, 1], [1, 1, 0, 2, 2]]), torch.zeros(5, dtype=torch.int64)
    x, average = draw(5, 7), torch.tensor(3.7)
    total = torch.zeros(5, 7)
    for e in range(5):
        total[edges[1, e]] += x[e]
    degree = torch.tensor([1.0, 2.0, 2.0, 1.0, 1.0])[:, None]  # a node without edges counts as one
    expected = {"sum": 1.0, "average": 3.7, "root_average": 3.7**0.5, "mean": degree}
    for norm, by in expected.items():
        found = build("reduce", {"from": "edge", "to": "node", "norm": norm})(x, edges, species, average)
        torch.testing.assert_close(found, total / by, atol=1e-14, rtol=0)


def test_a_gate_with_odd_scalars_is_that_of_e3nn():
    silu, tanh = torch.nn.functional.silu, torch.tanh
    theirs = enn.Gate("3x0e+2x0o", [silu, tanh], "7x0e", [silu], "4x1o+3x2e")
    source, out = "3x0e+7x0e+2x0o+4x1o+3x2e", "3x0e+2x0o+4x1o+3x2e"
    ours = build(
        "act", {"form": "gate", "f": "silu", "gate": "silu", "odd": "tanh", "in": source, "out": out}
    )
    x = draw(6, Irreps.parse(source).dim)
    # e3nn finds its constants by a million samples
    constants = normalize2mom(silu).cst, normalize2mom(tanh).cst
    exact = second_moment_factor("silu"), second_moment_factor("tanh")
    x_e3nn = to_e3nn(x, source)  # but e3nn sorts 2x0o to the front
    expected = theirs(torch.cat((x_e3nn[:, 10:12], x_e3nn[:, :10], x_e3nn[:, 12:]), dim=1))
    expected[:, :3] *= exact[0] / constants[0]
    expected[:, 3:5] *= exact[1] / constants[1]
    expected[:, 5:] *= exact[0] / constants[0]
    torch.testing.assert_close(to_e3nn(ours(x), out), expected, atol=1e-12, rtol=0)


def test_radial_basis_is_its_formula_and_ends_smoothly():
    params = {"basis": "bessel", "count": 8, "cutoff": 5.0, "envelope": {"polynomial": 5}}
    module = build("radial", params)
    r = torch.linspace(0.3, 4.9, 40)[:, None]
    x, n = r / 5.0, torch.arange(1, 9)
    envelope = 1 - 21 * x**5 + 35 * x**6 - 15 * x**7
    expected = (2 / 5.0) ** 0.5 * torch.sin(n * math.pi * x) / r * envelope
    torch.testing.assert_close(module(r), expected, atol=1e-14, rtol=1e-12)
    edge = torch.tensor([[5.0 - 1e-4]], requires_grad=True)
    value = module(edge)[0, 3]
    first = torch.autograd.grad(value, edge, create_graph=True)[0]
    second = torch.autograd.grad(first, edge)[0]
    assert abs(value) < 1e-12
    assert abs(first) < 1e-8
    assert abs(second) < 1e-2
    assert not module(torch.tensor([[5.0], [5.1], [70.0]])).any()


@pytest.mark.parametrize("layer", ["length", "radial", "sph"])
def test_a_vector_of_length_zero_has_finite_derivatives(layer):
    params = {
        "radial": {"basis": "bessel", "count": 4, "cutoff": 5.0, "envelope": {"polynomial": 5}},
        "sph": {"lmax": 3},
    }
    module = build(layer, params.get(layer, {}))
    x = torch.zeros(2, 1 if layer == "radial" else 3, requires_grad=True)
    y = module(x)
    first = torch.autograd.grad(y.sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), x)[0] if first.requires_grad else torch.zeros(1)
    assert y.isfinite().all()
    assert first.isfinite().all()
    assert second.isfinite().all()


def test_edge_vectors_go_from_source_to_target_through_the_lattice():
    module = build("relative", {})
    positions = torch.tensor([[0.1, 0, 0], [4.9, 0, 0], [1.0, 2.0, 3.0]])
    cell = torch.stack((torch.eye(3) * 5.0, torch.zeros(3, 3)))
    edges, shifts = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]])
    system = torch.tensor([0, 0, 1])
    # target - source - shift: 4.9 - 0.1 + 5, and 0.1 - 4.9 - 5
    expected = torch.tensor([[9.8, 0, 0], [-9.8, 0, 0]])
    torch.testing.assert_close(module(positions, edges, shifts, cell, system), expected)


def test_sums_over_edges_and_systems():
    edges, species, x = (
        torch.tensor([[1, 2, 0], [0, 0, 2]]),
        torch.zeros(3, dtype=torch.int64),
        torch.tensor([[1.0], [2], [4]]),
    )
    average = build("reduce", {"from": "edge", "to": "node", "norm": "average"})
    torch.testing.assert_close(
        average(x, edges, species, torch.tensor(4.0)), torch.tensor([[0.75], [0], [1.0]])
    )
    plain = build("reduce", {"from": "edge", "to": "node", "norm": "sum"})
    torch.testing.assert_close(plain(x, edges, species, torch.tensor(4.0)), torch.tensor([[3.0], [0], [4.0]]))
    total = build("reduce", {"from": "node", "to": "system", "norm": "sum"})
    big = torch.tensor([1e9, 1.0, 1.0], dtype=torch.float32)
    result = total(big, torch.tensor([0, 0, 1]), torch.zeros(2, 3, 3))
    assert result.tolist() == [1e9 + 1, 1.0]  # float32 would lose the 1


def test_atomic_energies_are_added_in_double_precision():
    module = build("shift_scale", {"species": 2})
    x = torch.tensor([[0.5], [0.25]], dtype=torch.float32)
    energies = torch.tensor([-1e6, -10.0])
    result = module(x, torch.tensor([0, 1]), energies, torch.tensor(1e-3), torch.tensor(2.0))
    assert result.tolist() == [-1e6 + 0.0005 + 2.0, -10.0 + 0.00025 + 2.0]


def test_small_layers_are_what_they_say():
    z = torch.arange(8.0).view(2, 4)
    assert build("slice", {"start": 1, "stop": 3})(z).tolist() == [[1, 2], [5, 6]]
    assert build("poisson", {"dim": 4})(z).tolist() == [[2, 3, 0, -1], [6, 7, -4, -5]]
    assert build("scale", {"by": 0.5})(z).tolist() == (z / 2).tolist()
    assert build("difference", {})(z, z[:1])[1].tolist() == [4, 4, 4, 4]
    assert build("concat", {})(z, z).shape == (2, 8)
    assert build("add", {})(z, z, z).tolist() == (3 * z).tolist()
    # two plane vectors side by side per component: x1 x2 y1 y2
    assert build("inner", {"in": "2x1"})(z, z)[0].tolist() == [0 + 4, 1 + 9]
    weight = build("embed", {"count": 3, "out": 2})
    assert torch.equal(weight(torch.tensor([2, 0])), weight.weight.detach()[[2, 0]])
    stress = build("grad", {"wrt": "strain", "scale": 2.0, "per_volume": True})
    assert stress(torch.ones(2, 3, 3), torch.tensor([4.0, 0.0]))[:, 0, 0].tolist() == [0.5, 0.0]
