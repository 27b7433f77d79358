"""Irreps in plain Python, against e3nn and brute force."""

import itertools

import numpy as np
import pytest
from e3nn import o3
from equic.compiler.symmetry.irreps import Irrep, Irreps, IrrepsError, harmonics, symmetric_power_paths
from hypothesis import given
from hypothesis import strategies as st

blocks = st.tuples(st.integers(1, 20), st.integers(0, 6), st.sampled_from("eo"))
texts = st.lists(blocks, min_size=1, max_size=6).map(
    lambda found: "+".join(f"{m}x{l}{p}" for m, l, p in found)
)


@given(texts)
def test_what_prints_is_what_parses_and_agrees_with_e3nn(text):
    ours, theirs = Irreps.parse(text), o3.Irreps(text)
    assert str(ours) == str(theirs)
    assert Irreps.parse(str(ours)) == ours
    assert (ours.dim, ours.count, ours.lmax) == (theirs.dim, theirs.num_irreps, theirs.lmax)
    merged = theirs.sort().irreps.simplify()  # sorted differently: e3nn puts odd before even
    assert sorted(map(str, ours.simplified())) == sorted(str(o3.Irreps([one])) for one in merged)


@given(
    st.tuples(st.integers(0, 5), st.sampled_from([1, -1])),
    st.tuples(st.integers(0, 5), st.sampled_from([1, -1])),
)
def test_products_agree_with_e3nn(a, b):
    ours = [str(one) for one in Irrep(*a) * Irrep(*b)]
    assert ours == [str(one) for one in o3.Irrep(*a) * o3.Irrep(*b)]


def test_shorthand_means_natural_parities():
    assert str(Irreps.parse("8x(0..3)")) == "8x0e+8x1o+8x2e+8x3o"
    assert str(Irreps.parse("8x(1..1)")) == "8x1o"


@pytest.mark.parametrize("text", ["", "16x", "0e+", "1x0", "x0e", "2x(2..1)", "0 e", "-1x0e"])
def test_wrong_texts_are_refused_with_advice(text):
    with pytest.raises(IrrepsError) as caught:
        Irreps.parse(text)
    assert caught.value.help


def test_so2_labels_have_no_parity():
    assert Irreps.parse("2x1+3x0", "SO(2)").dim == 7
    with pytest.raises(IrrepsError, match="SO\\(2\\)"):
        Irreps.parse("1o", "SO(2)")


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("lmax", [0, 1, 2])
def test_symmetric_powers_have_as_many_maps_as_characters_say(order, lmax):
    """<chi_L, chi_Sym> by quadrature over the class angle, with chi of Sym^n from power sums (Molien)."""
    angles, weights = np.polynomial.legendre.leggauss(200)
    omega = np.pi * (angles + 1) / 2
    measure = weights * np.pi / 2 * (1 - np.cos(omega)) / np.pi
    kinds = harmonics(lmax).kinds

    def chi(l, w):
        return 1 + 2 * sum(np.cos(m * w) for m in range(1, l + 1))

    def power_sum(k, sign):
        return sum((sign ** (one.l * k)) * chi(one.l, k * omega) for one in kinds)

    def symmetric(sign):
        p = [None] + [power_sum(k, sign) for k in range(1, order + 1)]
        h = [np.ones_like(omega)]
        for n in range(1, order + 1):
            h.append(sum(p[k] * h[n - k] for k in range(1, n + 1)) / n)
        return h[order]

    found = symmetric_power_paths(kinds, order)
    for l, p in itertools.product(range(order * lmax + 1), (1, -1)):
        proper, improper = symmetric(1), symmetric(-1)
        count = (measure * chi(l, omega) * (proper + p * improper) / 2).sum()
        assert found.get(Irrep(l, p), 0) == pytest.approx(count, abs=1e-6)
