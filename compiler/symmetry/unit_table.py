"""Names of units, with their dimension and size. Constants: CODATA 2018 and the exact values of the SI.

A dimension is a vector of exponents over (length, energy, time, charge, temperature); mass is energy times
time squared over length squared. Sizes are in Å, eV, fs, e and K.
"""

from fractions import Fraction

Dimension = tuple[Fraction, Fraction, Fraction, Fraction, Fraction]


def _dimension(
    length: int = 0, energy: int = 0, time: int = 0, charge: int = 0, temperature: int = 0
) -> Dimension:
    return (Fraction(length), Fraction(energy), Fraction(time), Fraction(charge), Fraction(temperature))


NUMBER = _dimension()
LENGTH = _dimension(length=1)
ENERGY = _dimension(energy=1)
TIME = _dimension(time=1)
CHARGE = _dimension(charge=1)
TEMPERATURE = _dimension(temperature=1)
MASS = _dimension(energy=1, time=2, length=-2)
PRESSURE = _dimension(energy=1, length=-3)
POTENTIAL = _dimension(energy=1, charge=-1)

NAMES: dict[Dimension, str] = {
    NUMBER: "a pure number",
    LENGTH: "a length",
    _dimension(length=2): "an area",
    _dimension(length=3): "a volume",
    _dimension(length=-1): "an inverse length",
    ENERGY: "an energy",
    _dimension(energy=1, length=-1): "a force",
    _dimension(energy=1, length=-2): "a force constant",
    PRESSURE: "a stress",
    TIME: "a time",
    _dimension(time=-1): "a frequency",
    _dimension(length=1, time=-1): "a velocity",
    _dimension(length=1, time=-2): "an acceleration",
    _dimension(energy=1, time=1): "an action",
    _dimension(energy=1, time=1, length=-1): "a momentum",
    CHARGE: "a charge",
    _dimension(charge=1, length=1): "a dipole moment",
    _dimension(charge=1, length=2): "a quadrupole moment",
    _dimension(charge=2, length=2, energy=-1): "a polarisability",
    POTENTIAL: "an electric potential",
    _dimension(energy=1, charge=-1, length=-1): "an electric field",
    TEMPERATURE: "a temperature",
    MASS: "a mass",
    _dimension(energy=1, temperature=-1): "a heat capacity",
}

# exact by the definition of the SI
_JOULE = 1 / 1.602176634e-19  # eV
_COULOMB = 1 / 1.602176634e-19  # e
_METRE, _SECOND = 1e10, 1e15  # Å, fs
_KILOGRAM = _JOULE * _SECOND**2 / _METRE**2  # eV fs^2 / Å^2
_LIGHT = 299792458.0  # m/s
_AVOGADRO = 6.02214076e23
_PASCAL = _JOULE / _METRE**3
# CODATA 2018
_HARTREE, _RYDBERG = 27.211386245988, 13.605693122994  # eV
_BOHR = 0.529177210903  # Å
_DALTON, _ELECTRON_MASS = 1.66053906660e-27, 9.1093837015e-31  # kg

# canonical name: (dimension, size, whether prefixes such as k and m apply)
UNITS: dict[str, tuple[Dimension, float, bool]] = {
    "eV": (ENERGY, 1.0, True),
    "J": (ENERGY, _JOULE, True),
    "cal": (ENERGY, 4.184 * _JOULE, True),
    "Ha": (ENERGY, _HARTREE, True),
    "Ry": (ENERGY, _RYDBERG, True),
    "erg": (ENERGY, 1e-7 * _JOULE, False),
    "Å": (LENGTH, 1.0, False),
    "m": (LENGTH, _METRE, True),
    "bohr": (LENGTH, _BOHR, False),
    "s": (TIME, _SECOND, True),
    "Hz": (_dimension(time=-1), 1 / _SECOND, True),
    "e": (CHARGE, 1.0, True),
    "C": (CHARGE, _COULOMB, True),
    "D": (_dimension(charge=1, length=1), 1e-21 / _LIGHT * _COULOMB * _METRE, True),
    "V": (POTENTIAL, 1.0, True),
    "K": (TEMPERATURE, 1.0, True),
    "u": (MASS, _DALTON * _KILOGRAM, True),
    "g": (MASS, 1e-3 * _KILOGRAM, True),
    "m_e": (MASS, _ELECTRON_MASS * _KILOGRAM, False),
    "N": (_dimension(energy=1, length=-1), _JOULE / _METRE, True),
    "Pa": (PRESSURE, _PASCAL, True),
    "bar": (PRESSURE, 1e5 * _PASCAL, True),
    "atm": (PRESSURE, 101325.0 * _PASCAL, False),
    "mol": (NUMBER, _AVOGADRO, True),
    "rad": (NUMBER, 1.0, True),
}

# other spellings; those in lower case are found whatever their case
ALIASES: dict[str, str] = {
    "A": "Å",
    "ang": "Å",
    "angstrom": "Å",
    "angstroms": "Å",
    "ångström": "Å",
    "electronvolt": "eV",
    "joule": "J",
    "calorie": "cal",
    "hartree": "Ha",
    "eh": "Ha",
    "rydberg": "Ry",
    "bohr": "bohr",
    "a0": "bohr",
    "a_0": "bohr",
    "metre": "m",
    "meter": "m",
    "second": "s",
    "coulomb": "C",
    "debye": "D",
    "volt": "V",
    "kelvin": "K",
    "amu": "u",
    "dalton": "u",
    "Da": "u",
    "gram": "g",
    "newton": "N",
    "pascal": "Pa",
    "mole": "mol",
    "radian": "rad",
    "elementary_charge": "e",
}

PREFIXES: dict[str, float] = {
    "f": 1e-15,
    "p": 1e-12,
    "n": 1e-9,
    "µ": 1e-6,
    "u": 1e-6,
    "m": 1e-3,
    "c": 1e-2,
    "d": 1e-1,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
}
