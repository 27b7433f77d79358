"""Units: names, dimensions, and constants against scipy."""

import math
from fractions import Fraction

import pytest
from equic.compiler.symmetry.unit_table import ALIASES, UNITS
from equic.compiler.symmetry.units import (
    ONE,
    DimensionError,
    QuantityError,
    Unit,
    UnitError,
    conversion_factor,
    parse_quantity,
)
from scipy import constants


def factor(unit: str, to: str) -> float:
    return conversion_factor(Unit.parse(unit), Unit.parse(to))


EV = constants.physical_constants["electron volt-joule relationship"][0]
BOHR = constants.physical_constants["Bohr radius"][0]
HARTREE = constants.physical_constants["Hartree energy"][0]
DALTON = constants.physical_constants["atomic mass constant"][0]
# scipy's constants are of CODATA 2022, ours of 2018: they agree to about 1e-9
EXACT, MEASURED = 1e-14, 2e-9


@pytest.mark.parametrize(
    ("unit", "to", "value", "tolerance"),
    [
        ("J", "eV", 1 / EV, EXACT),
        ("kcal/mol", "eV", constants.calorie * 1000 / constants.N_A / EV, EXACT),
        ("kJ/mol/nm", "eV/Å", 1000 / constants.N_A / EV / 10, EXACT),
        ("GPa", "eV/Å^3", 1e9 * 1e-30 / EV, EXACT),
        ("kbar", "GPa", 0.1, EXACT),
        ("atm", "Pa", constants.atm, EXACT),
        ("bar", "Pa", constants.bar, EXACT),
        ("Ha", "eV", HARTREE / EV, MEASURED),
        ("Ry", "Ha", 0.5, MEASURED),
        ("bohr", "Å", BOHR * 1e10, MEASURED),
        ("Ha/bohr", "eV/Å", HARTREE / EV / (BOHR * 1e10), MEASURED),
        ("u", "kg", DALTON, MEASURED),
        ("m_e", "kg", constants.m_e, MEASURED),
        ("Debye", "e*Å", 1e-21 / constants.c / constants.e * 1e10, EXACT),
        ("C", "e", 1 / constants.e, EXACT),
        ("V/m", "V/Å", 1e-10, EXACT),
        ("erg", "J", constants.erg, EXACT),
        ("N/m", "eV/Å^2", 1e-20 / EV, EXACT),
        ("J s", "eV fs", 1e15 / EV, EXACT),
        ("u Å^2/fs^2", "eV", DALTON * 1e10 / EV, MEASURED),
        ("THz", "1/fs", 1e-3, EXACT),
        ("kg m^2/s^2", "J", 1.0, EXACT),
        ("meV/Å^3", "eV/Å**3", 1e-3, EXACT),
        ("µeV", "eV", 1e-6, EXACT),
        ("cm", "Å", 1e8, EXACT),
    ],
)
def test_conversions_against_scipy(unit, to, value, tolerance):
    assert factor(unit, to) == pytest.approx(value, rel=tolerance)
    assert factor(to, unit) == pytest.approx(1 / value, rel=tolerance)


@pytest.mark.parametrize(
    ("texts", "canonical"),
    [
        (
            (
                "eV/Å",
                "eV/Angstrom",
                "eV/Ang",
                "eV/A",
                "eV Å^-1",
                "eV·Å⁻¹",
                "eV*Å**-1",
                "(eV)/(Å)",
                " eV / Å ",
            ),
            "eV/Å",
        ),
        (("eV/Å^3", "eV/Å**3", "eV/Å³", "eV/(Å*Å*Å)", "eV/Å/Å/Å", "eV/Å^(3)"), "eV/Å^3"),
        (("kcal/mol/Å", "kcal mol^-1 Å^-1", "kcal/(mol Å)"), "kcal/mol/Å"),
        (("e*Å", "Å e", "Å*e"), "e*Å"),
        (("Ha/bohr", "Hartree/Bohr", "hartree/a0", "Eh/a_0"), "Ha/bohr"),
        (("1", "eV/eV", "Å^0"), "1"),
        (("1/Å", "Å^-1"), "1/Å"),
        (("Å^(1/2)", "Å^(2/4)"), "Å^(1/2)"),
        (("A\u030a", "\u212b", "Å"), "Å"),  # A with a combining ring, the Ångström sign, the letter
        (("\u00b5s", "\u03bcs", "us"), "µs"),  # micro sign, Greek mu, u
    ],
)
def test_spellings_of_one_unit(texts, canonical):
    assert {str(Unit.parse(text)) for text in texts} == {canonical}
    assert len({Unit.parse(text) for text in texts}) == 1


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("kcal/mol/Å", "a force"),
        ("GPa", "a stress"),
        ("Debye", "a dipole moment"),
        ("mol", "a pure number"),
        ("Å/fs", "a velocity"),
        ("u Å/fs", "a momentum"),
        ("C m^2/V", "a polarisability"),
        ("eV^2", "a quantity in energy^2"),
    ],
)
def test_dimensions_have_names(unit, words):
    assert Unit.parse(unit).describe() == words


def test_algebra():
    force, length = Unit.parse("eV/Å"), Unit.parse("Å")
    assert force * length == Unit.parse("eV")
    assert force / length**2 == Unit.parse("eV/Å^3")
    assert length ** Fraction(1, 2) * length ** Fraction(1, 2) == length
    assert force / force == ONE
    assert not force.same_dimension(length)


def test_conversion_between_dimensions_is_refused():
    with pytest.raises(DimensionError, match=r"`eV` is an energy, and `eV/Å` is a force"):
        factor("eV", "eV/Å")


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("eV/Angstrm", "did you mean `angstrom`?"),
        ("ev", "did you mean `eV`?"),
        ("KCAL/mol", "did you mean `kcal`?"),
        ("gpa", "did you mean `GPa`?"),
        ("mev", "did you mean `meV`?"),
        ("parsec", None),
        ("", "write `1` for a pure number"),
    ],
)
def test_unknown_units_suggest_known_ones(text, help):
    with pytest.raises(UnitError) as caught:
        Unit.parse(text)
    assert caught.value.help == help or (help is None and caught.value.help)


@pytest.mark.parametrize(
    "text",
    [
        "eV/",
        "/Å",
        "eV//Å",
        "(eV",
        "eV)",
        "()",
        "2 eV",
        "eV 2",
        "1.0",
        "eV^",
        "eV^x",
        "eV^1.5",
        "eV^(1/0)",
        "eV^(1",
        "m^99",
        "eV^2^3",
        "$",
        "kÅ",
        "x" * 1000,
        "(" * 500,
    ],
)
def test_what_is_not_a_unit(text):
    with pytest.raises(UnitError) as caught:
        Unit.parse(text)
    assert caught.value.message
    assert caught.value.help


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("5.0 Å", 5.0, "Å"),
        ("5Å", 5.0, "Å"),
        (" -1.5e-3 kcal/mol ", -1.5e-3, "kcal/mol"),
        (".5 nm", 0.5, "nm"),
        ("3", 3.0, "1"),
        ("1e3 e", 1000.0, "e"),
        ("2 eV", 2.0, "eV"),
    ],
)
def test_quantities(text, value, unit):
    assert parse_quantity(text) == (value, Unit.parse(unit))


@pytest.mark.parametrize("text", ["", "Å", "five Å", "--5 Å", "nan Å"])
def test_what_is_not_a_quantity(text):
    with pytest.raises(QuantityError):
        parse_quantity(text)


def test_the_table_is_consistent():
    assert set(ALIASES.values()) <= set(UNITS)
    assert not set(ALIASES) & (set(UNITS) - {"bohr"})
    assert all(math.isfinite(size) and size > 0 for _, size, _ in UNITS.values())
