"""Tables of species and densities: equal to the ops that they replace, to loops, and equivariant."""

import pytest
import torch
from equic.compiler.ir.ops import AllSpecies, Density, Lookup, Product
from equic.compiler.ir.ops.base import Dial
from equic.compiler.ir.types import Categories, Index, Type, Verdict
from equic.compiler.symmetry.irreps import Irreps as Reps
from equic.runtime.errors import ArtifactError
from equic.runtime.irreps import Irreps
from equic.runtime.layers import LAYERS
from equic.runtime.layers.density import Density as DensityLayer
from equic.runtime.tables.wigner import wigner_3j
from equic.runtime.testing.equivariance import equivariance_error
from equic.runtime.testing.inputs import random_rotation

from .checking import infer, rebuilt

EDGES = torch.tensor([[0, 1, 2, 3, 1, 0, 2], [1, 1, 0, 2, 3, 3, 3]])
SPECIES = torch.tensor([0, 1, 1, 0])
HARMONICS = "1x0e+1x1o+1x2e+1x3o"
LABELS = Type(Index.NODE, Categories(("H", "O")))
CASES = {
    "scalars": ("4x0e", "1x0e+1x1o+1x2e+1x3o", ()),
    "two blocks, some of the harmonics": ("3x0e+2x0e", "1x1o+1x3o", ()),
    "pseudoscalars": ("3x0e+2x0o", "1x0e+1x0o+1x2o+1x1o", ()),
    "relaxed parity": ("3x0e", "1x0e+1x1o+1x1e", (Dial("inversion", 0.3),)),
}


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(True)


def density(table, wanted, relax=(), norm="average", hidden=5):
    """The layer, its number of path weights and its result, from the op."""
    types = [Type(Index.SPECIES, Reps.parse(table)), Type(Index.EDGE, Reps.parse(HARMONICS))]
    types += [Type(Index.EDGE, Reps.parse(f"{hidden}x0e")), LABELS]
    op = Density(of=("t", "y"), weights="w", species="z", irreps=Reps.parse(wanted), norm=norm, relax=relax)
    result, site = infer(op, types)
    assert not site.report.has_errors
    return rebuilt(op, types, result), sum(path.out.mul for path in op.paths(types)), result


def inputs(table, count):
    return (
        draw(2, Irreps.parse(table).dim),
        draw(7, Irreps.parse(HARMONICS).dim, seed=1),
        draw(7, 5, seed=2),
        draw(5, count, seed=3),
    )


def called(layer, t, y, h, w, species=SPECIES, edges=EDGES):
    return layer(t, y, h, species, edges, torch.tensor(2.5, dtype=torch.float64), w)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("norm", ["average", "sum"])
def test_a_density_is_gather_product_and_reduce(case, norm):
    table, wanted, relax = CASES[case]
    layer, count, result = density(table, wanted, relax, norm)
    t, y, h, w = inputs(table, count)
    product = Product(of=("x", "y"), weights="w", irreps=Reps.parse(wanted), relax=relax)
    types = [Type(Index.EDGE, Reps.parse(rep)) for rep in (table, HARMONICS, f"{count}x0e")]
    same, _ = infer(product, types)
    assert same.rep == result.rep
    assert same.holds == result.holds
    messages = rebuilt(product, types, same)(t[SPECIES][EDGES[0]], y, h @ w)
    reduce = LAYERS["reduce"]({"from": "edge", "to": "node", "norm": norm})
    expected = reduce(messages, EDGES, SPECIES, torch.tensor(2.5, dtype=torch.float64))
    values = called(layer, t, y, h, w)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)
    probe = draw(*expected.shape, seed=4)
    for ours, theirs in zip(
        torch.autograd.grad((values * probe).sum(), (t, y, h, w)),
        torch.autograd.grad((expected * probe).sum(), (t, y, h, w)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_density_is_its_formula():
    layer, count, _ = density("4x0e", "1x0e+1x1o+1x2e", norm="sum")
    t, y, h, w = (one.detach() for one in inputs("4x0e", count))
    expected = torch.zeros(4, 4 * 9, dtype=torch.float64)
    for source, target in EDGES.T.tolist():
        e = next(k for k in range(7) if EDGES[:, k].tolist() == [source, target])
        for l in range(3):
            factor = (2 * l + 1) ** 0.5 * wigner_3j(0, l, l)[0]
            for u in range(4):
                weight = (h[e] @ w[:, 4 * l + u]) * t[SPECIES[source], u]
                part = torch.from_numpy(factor.T.copy()) @ y[e, l * l : (l + 1) ** 2] * weight
                at = 4 * l * l + torch.arange(2 * l + 1) * 4 + u
                expected[target, at] += part
    torch.testing.assert_close(called(layer, t, y, h, w), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("improper", [False, True])
def test_a_density_is_equivariant(dtype, improper):
    layer, count, result = density("3x0e+2x0o", "1x0e+1x0o+1x2o+1x1o")
    layer = layer.to(dtype)
    t, y, h, w = (one.detach().to(dtype) for one in inputs("3x0e+2x0o", count))
    error = equivariance_error(
        lambda t, y: called(layer, t, y, h, w),
        (t, y),
        ("3x0e+2x0o", HARMONICS),
        str(result.rep),
        random_rotation(3, improper=improper),
    )
    assert error < (1e-10 if dtype is torch.float64 else 2e-5)


def test_a_relaxed_density_breaks_parity():
    layer, count, result = density("3x0e", "1x0e+1x1o+1x1e", (Dial("inversion", 0.3),))
    t, y, h, w = (one.detach() for one in inputs("3x0e", count))
    reps = ("3x0e", HARMONICS)
    element = random_rotation(3, improper=True)
    error = equivariance_error(lambda t, y: called(layer, t, y, h, w), (t, y), reps, str(result.rep), element)
    assert result.hold("inversion").verdict is Verdict.BROKEN
    assert error > 1e-2


def test_a_table_holds_a_row_a_species():
    op = AllSpecies(of="species")
    every, _ = infer(op, [LABELS])
    assert every.index is Index.SPECIES
    numbers = rebuilt(op, [LABELS], every)(SPECIES)
    assert numbers.tolist() == [0, 1]
    lookup, table = Lookup(of="t", species="species"), Type(Index.SPECIES, Reps.parse("3x0e+1x1o"))
    result, _ = infer(lookup, [table, LABELS])
    assert str(result) == "node: 3x0e+1x1o"
    rows = draw(2, 6)
    torch.testing.assert_close(rebuilt(lookup, [table, LABELS], result)(rows, SPECIES), rows[SPECIES])


@pytest.mark.parametrize(
    ("op", "types", "words"),
    [
        (AllSpecies(of="x"), [Type(Index.NODE, Reps.parse("1x0e"))], "needs species"),
        (Lookup(of="x", species="z"), [Type(Index.NODE, Reps.parse("1x0e")), LABELS], "one row a species"),
        (
            Lookup(of="x", species="z"),
            [Type(Index.SPECIES, Reps.parse("1x0e")), Type(Index.NODE, Reps.parse("1x0e"))],
            "needs species",
        ),
    ],
)
def test_wrong_tables_are_refused(op, types, words):
    result, site = infer(op, types)
    assert result is None
    assert words in site.report.diagnostics[0].message


@pytest.mark.parametrize(
    ("table", "wanted", "words"),
    [("2x1o", "1x1o", "scalars of their species"), ("2x0e", "1x1e", "make no"), ("2x0e", "1x4e", "make no")],
)
def test_wrong_densities_are_refused(table, wanted, words):
    types = [Type(Index.SPECIES, Reps.parse(table)), Type(Index.EDGE, Reps.parse(HARMONICS))]
    types += [Type(Index.EDGE, Reps.parse("5x0e")), LABELS]
    result, site = infer(Density(of=("t", "y"), weights="w", species="z", irreps=wanted), types)
    assert result is None
    assert words in site.report.diagnostics[0].message


def test_a_density_of_vectors_is_refused_by_the_layer():
    params = {"left": "2x1o", "right": "1x1o", "out": "2x0e", "paths": [[0, 0, 0, 1.0]]}
    with pytest.raises(ArtifactError, match="no density leads"):
        DensityLayer({**params, "species": 2, "norm": "sum", "mlp": "w"})
