"""Functions of a length and two elements, and of a learned number of neighbours: their values and their ends."""

import math

import pytest
import torch
from ase.data import atomic_numbers, covalent_radii
from equic.compiler.ir.ops import Dilute, PairKind, Radial, Saturate, Transform, Weigh, Zbl
from equic.compiler.ir.ops import Envelope as EnvelopeOp
from equic.compiler.ir.ops.base import Scope, Site
from equic.compiler.ir.ops.radial import SCALAR
from equic.compiler.ir.types import DIMENSIONLESS, Categories, Index, Type
from equic.compiler.language.diagnostics import Report
from equic.compiler.language.elements import COVALENT_RADII, SYMBOLS
from equic.compiler.symmetry.irreps import Irreps
from equic.compiler.symmetry.units import Unit
from equic.runtime.errors import ArtifactError
from equic.runtime.layers import LAYERS

DOUBLE = torch.float64
SPECIES = ("H", "Si", "Au")
SCOPE = Scope("atoms", ("SO(3)", "inversion"), species=SPECIES, cutoff=5.0)
LENGTH = Type(Index.EDGE, SCALAR, Unit.parse("Å"))
PAIRS = Type(Index.EDGE, Categories(("H-H",)))
NUMBER = Type(Index.EDGE, SCALAR, DIMENSIONLESS)


def infer(op, types, scope=SCOPE):
    report = Report()
    return op.infer(types, Site("here", None, scope, report)), [str(one.code) for one in report.diagnostics]


def layer(op, types=(LENGTH, PAIRS), scope=SCOPE):
    result, codes = infer(op, list(types), scope)
    assert not codes
    return LAYERS[op.kind](op.lower(list(types), result, scope)).to(DOUBLE)


def every_pair(r):
    """r at each ordered pair of the species, with (source, target)."""
    pairs = [(a, b) for a in range(3) for b in range(3)]
    lengths = torch.tensor(r, dtype=DOUBLE).repeat(9)[:, None]
    index = torch.tensor([3 * a + b for a, b in pairs]).repeat_interleave(len(r))
    return lengths, index, [(SPECIES[a], SPECIES[b], x) for a, b in pairs for x in r]


def test_radii_are_those_of_cordero_as_ase_has_them():
    assert {
        symbol: covalent_radii[atomic_numbers[symbol]] for symbol in SYMBOLS[: SYMBOLS.index("Cm") + 1]
    } == COVALENT_RADII


def agnesi(r, a, b):
    x = r / (0.5 * (COVALENT_RADII[a] + COVALENT_RADII[b]))
    return 1 / (1 + 1.0805 * x**0.9183 / (1 + x ** (0.9183 - 4.5791)))


def soft(r, a, b):
    total = COVALENT_RADII[a] + COVALENT_RADII[b]
    low, high = 3 / 4 * total, 4 / 3 * total
    return low + (r - low) * 0.5 * (1 + math.tanh(4.0 / (high - low) * (r - (low + high) / 2)))


def screened(r, a, b, strength=1.0):
    """In atomic numbers, without a table of ours."""
    za, zb = atomic_numbers[a], atomic_numbers[b]
    end = float(covalent_radii[za] + covalent_radii[zb])
    if r >= end:
        return 0.0
    x = r / (0.4543 * 0.529 / (za**0.3 + zb**0.3))
    phi = sum(c * math.exp(-d * x) for c, d in
              ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016)))  # fmt: skip
    u = r / end
    return strength * 0.5 * 14.3996 * za * zb / r * phi * (1 - 28 * u**6 + 48 * u**7 - 21 * u**8)


@pytest.mark.parametrize(
    ("op", "formula"),
    [
        (Transform(of="r", pairs="p", form="agnesi"), agnesi),
        (Transform(of="r", pairs="p", form="soft"), soft),
        (Zbl(of="r", pairs="p", unit="eV", strength=0.7), lambda r, a, b: screened(r, a, b, 0.7)),
    ],
    ids=["agnesi", "soft", "zbl"],
)
def test_values_are_those_of_the_formula_and_can_be_differentiated_twice(op, formula):
    module = layer(op)
    lengths, index, cases = every_pair([0.31, 0.7, 1.3, 2.2, 3.9])
    expected = torch.tensor([formula(r, a, b) for a, b, r in cases], dtype=DOUBLE)
    torch.testing.assert_close(module(lengths, index).reshape(-1), expected, rtol=1e-13, atol=1e-14)
    inputs = (lengths.clone().requires_grad_(True),)
    assert torch.autograd.gradcheck(lambda r: module(r, index), inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda r: module(r, index), inputs, fast_mode=True)
    swapped = index % 3 * 3 + index // 3  # either direction of an edge gives the same
    torch.testing.assert_close(module(lengths, swapped), module(lengths, index), rtol=0, atol=0)


@pytest.mark.parametrize("form", ["agnesi", "soft", None])
def test_at_no_distance_numbers_and_gradients_are_finite(form):
    op = Zbl(of="r", pairs="p", unit="eV") if form is None else Transform(of="r", pairs="p", form=form)
    r = torch.zeros(1, 1, dtype=DOUBLE, requires_grad=True)
    y = layer(op)(r, torch.tensor([4]))
    assert float(y.detach()) == pytest.approx({"agnesi": 1.0, "soft": soft(0.0, "Si", "Si"), None: 0.0}[form])
    (slope,) = torch.autograd.grad(y.sum(), r)
    assert torch.isfinite(slope).all()


def test_an_energy_comes_in_the_unit_of_the_target_and_in_float64():
    r, index, _ = every_pair([0.9])
    plain = layer(Zbl(of="r", pairs="p", unit="eV"))
    other = layer(Zbl(of="r", pairs="p", unit="kJ/mol"))
    torch.testing.assert_close(other(r, index), plain(r, index) * 96.48533212331, rtol=1e-8, atol=0)
    single = LAYERS["zbl"](Zbl(of="r", pairs="p", unit="eV").lower([LENGTH, PAIRS], LENGTH, SCOPE)).float()
    assert single(r.float(), index).dtype == DOUBLE


def zeros(f, start=2e-3):
    """n of h^n, the way f(h) goes to 0."""
    small, large = (abs(float(f(h))) for h in (start, 2 * start))
    return math.log2(large / small)


def test_a_repulsion_is_twice_differentiable_where_it_ends_and_no_more():
    op = Zbl(of="r", pairs="p", unit="eV")
    module, found = layer(op), infer(op, [LENGTH, PAIRS])[0]
    assert (found.smooth, found.fades) == (2.0, 2.0)
    for kind, (a, b) in ((0, ("H", "H")), (5, ("Si", "Au"))):
        end = COVALENT_RADII[a] + COVALENT_RADII[b]

        def near(h, end=end, kind=kind):
            return module(torch.tensor([[end * (1 - h)]], dtype=DOUBLE), torch.tensor([kind]))

        assert zeros(near) == pytest.approx(3.0, abs=0.1)


def test_a_repulsion_beyond_the_cutoff_jumps_and_its_type_says_so():
    short = Scope("atoms", ("SO(3)",), species=SPECIES, cutoff=2.5)
    assert infer(Zbl(of="r", pairs="p", unit="eV"), [LENGTH, PAIRS], short)[0].fades == -1.0


def test_functions_of_a_transformed_length_end_by_the_envelope_that_they_are_given_alone():
    """Bessel functions have no zero where the length of the cutoff is mapped to."""
    moved = infer(Transform(of="r", pairs="p", form="agnesi"), [LENGTH, PAIRS])[0]
    radial, envelope = Radial(of="t", count=4), EnvelopeOp(of="r", shape=5)
    bare, end = infer(radial, [moved])[0], infer(envelope, [LENGTH])[0]
    assert bare.fades == -1.0
    result = infer(Weigh(of="b", by="e"), [bare, end])[0]
    assert result.fades == 2.0
    first = layer(Transform(of="r", pairs="p", form="agnesi"))
    basis = LAYERS["radial"](radial.lower([moved], bare, SCOPE)).to(DOUBLE)
    shape = LAYERS["envelope"](envelope.lower([LENGTH], end, SCOPE)).to(DOUBLE)

    def near(h):
        r = torch.tensor([[5.0 * (1 - h)]], dtype=DOUBLE)
        return (basis(first(r, torch.tensor([1]))) * shape(r)).norm()

    assert zeros(near) == pytest.approx(3.0, abs=0.1)
    assert infer(Radial(of="t", count=4, envelope=5), [moved]) == (None, ["U301"])


def test_a_saturated_number_ends_with_twice_the_zeros():
    x = NUMBER.with_(fades=2.0)
    assert infer(Saturate(of="x"), [x])[0].fades == 5.0
    assert infer(Saturate(of="x"), [NUMBER])[0].fades == -1.0
    module = LAYERS["saturate"]({})
    assert zeros(lambda h: module(torch.tensor([h**3], dtype=DOUBLE)), 1e-2) == pytest.approx(6.0, abs=1e-3)


VECTOR = Type(Index.EDGE, Irreps.parse("1x1o"), DIMENSIONLESS)


@pytest.mark.parametrize(
    ("op", "types", "code"),
    [
        (Transform(of="r", pairs="p", form="soft"), [NUMBER, PAIRS], "U301"),
        (Transform(of="r", pairs="p", form="soft"), [LENGTH, NUMBER], "T202"),
        (Zbl(of="r", pairs="p", unit="Å"), [LENGTH, PAIRS], "U301"),
        (Saturate(of="x"), [VECTOR], "T216"),
        (Dilute(of="x", by="n"), [VECTOR, VECTOR], "T216"),
        (Dilute(of="x", by="n"), [VECTOR, NUMBER.with_(rep=Irreps.parse("2x0e"))], "T202"),
        (Dilute(of="x", by="n"), [VECTOR, NUMBER.with_(index=Index.NODE)], "T208"),
        (Dilute(of="x", by="n"), [VECTOR.with_(affine=True), NUMBER], "T219"),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "",
)
def test_what_does_not_fit_is_refused(op, types, code):
    assert infer(op, types) == (None, [code])


def test_elements_without_a_radius_are_named():
    particles = Scope("particles", ("SO(3)",), species=("A", "H"), cutoff=5.0)
    for op in (Transform(of="r", pairs="p", form="soft"), Zbl(of="r", pairs="p", unit="eV")):
        assert infer(op, [LENGTH, PAIRS], particles) == (None, ["L123"])
    assert infer(PairKind(of="z"), [Type(Index.NODE, Categories(SPECIES))])[1] == []


def test_an_unknown_transform_is_refused():
    with pytest.raises(ArtifactError, match="transform `log` is not known"):
        LAYERS["transform"]({"form": "log", "radii": [1.0]})
