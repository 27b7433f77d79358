"""Physical units: parsing, dimension, conversion. Plain Python, no tables to load.

Internal units are eV, Å, fs, e and K; labels in others are multiplied by `conversion_factor(theirs, ours)`.
"""

import difflib
import math
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from .unit_table import ALIASES, NAMES, PREFIXES, UNITS, Dimension


class UnitError(ValueError):
    """A text that is not a unit.

    Example:
        >>> Unit.parse("eV/Angstrm")
        Traceback (most recent call last):
        ...
        equic.compiler.symmetry.units.UnitError: `Angstrm` is not a unit
    """

    def __init__(self, message: str, *, help: str | None = None, slip: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.slip = slip  # a misspelt name, and the one that was meant beyond doubt

    def mended(self, text: str) -> str | None:
        """The text with the misspelt name put right; None where that is a guess."""
        if self.slip is None or text.count(self.slip[0]) != 1:
            return None
        return text.replace(*self.slip)


class QuantityError(UnitError):
    """A text that is not a number with a unit."""


class DimensionError(UnitError):
    """Two units that measure different things."""


@dataclass(frozen=True)
class Unit:
    """A product of powers of named units, `eV/Å^3`.

    `terms` are (name, exponent) pairs, sorted, with canonical names and exponents that are not zero, so equal
    units compare equal however they were written: `Unit.parse("e*Å") == Unit.parse("Angstrom e")`. Units of
    the same dimension (`same_dimension`) convert into each other.

    Example:
        >>> unit = Unit.parse("kcal/mol/Å")
        >>> str(unit), unit.describe(), round(unit.factor, 9)
        ('kcal/mol/Å', 'a force', 0.043364104)
        >>> str(Unit.parse("Ha") / Unit.parse("bohr") ** 2)
        'Ha/bohr^2'
    """

    terms: tuple[tuple[str, Fraction], ...] = ()

    @staticmethod
    def parse(text: str) -> "Unit":
        """Read a unit. Raises `UnitError` with the nearest known name for one that does not exist.

        Names are those of the SI, of atomic physics and of chemistry, with prefixes; `*`, `·` or a blank
        multiply, `/` divides what follows it alone (`kcal/mol/Å`), `^`, `**` and superscripts are powers.
        """
        return _parse(text)

    @cached_property
    def dimension(self) -> Dimension:
        """Exponents over (length, energy, time, charge, temperature)."""
        powers = [(_lookup(name)[1], exponent) for name, exponent in self.terms]
        length, energy, time, charge, temperature = (
            sum((dimension[base] * exponent for dimension, exponent in powers), Fraction(0))
            for base in range(5)
        )
        return length, energy, time, charge, temperature

    @cached_property
    def factor(self) -> float:
        """The size of this unit in Å, eV, fs, e and K."""
        size = 1.0
        for name, exponent in self.terms:
            size *= _lookup(name)[2] ** (int(exponent) if exponent.denominator == 1 else float(exponent))
        return size

    def same_dimension(self, other: "Unit") -> bool:
        """Whether quantities in the two units can be added after conversion."""
        return self.dimension == other.dimension

    def describe(self) -> str:
        """The dimension in words, `a force`; for one without a name, its exponents."""
        if self.dimension in NAMES:
            return NAMES[self.dimension]
        words = zip(("length", "energy", "time", "charge", "temperature"), self.dimension, strict=True)
        return "a quantity in " + _write(tuple((word, exponent) for word, exponent in words if exponent))

    def __mul__(self, other: "Unit") -> "Unit":
        return _product((*self.terms, *other.terms))

    def __truediv__(self, other: "Unit") -> "Unit":
        return self * other**-1

    def __pow__(self, exponent: int | Fraction) -> "Unit":
        return _product(tuple((name, power * exponent) for name, power in self.terms))

    def __str__(self) -> str:
        return _write(self.terms)


ONE = Unit()


def conversion_factor(unit: Unit, to: Unit) -> float:
    """The number that turns a value in `unit` into a value in `to`.

        value[to] = factor · value[unit]

    Raises `DimensionError` when the two measure different things.

    Example:
        >>> conversion_factor(Unit.parse("GPa"), Unit.parse("eV/Å^3"))
        0.006241509074460762
    """
    if not unit.same_dimension(to):
        raise DimensionError(
            f"`{unit}` is {unit.describe()}, and `{to}` is {to.describe()}",
            help=f"name a unit of the same kind as `{to}`",
        )
    return 1.0 if unit == to else unit.factor / to.factor


def parse_quantity(text: str) -> tuple[float, Unit]:
    """A number with its unit; without a unit it is a pure number. Raises `QuantityError` or `UnitError`.

    Example:
        >>> value, unit = parse_quantity("5.0 Å")
        >>> value, str(unit)
        (5.0, 'Å')
    """
    match = _NUMBER.match(text.strip())
    if match is None:
        raise QuantityError(
            f"`{text}` is not a number with a unit", help="write a number, a blank and a unit: `5.0 Å`"
        )
    return float(match.group()), _parse(text.strip()[match.end() :].strip() or "1")


_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_TOKEN = re.compile(r"\s*(\*\*|[-+]?[0-9]+(?:\.[0-9]*)?|[^\W\d]\w*|\S)")
_SUPERSCRIPT = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_LONGEST, _HIGHEST = 100, 99  # characters of a unit, exponent of a factor
_FORM = "write names with `*`, `/` and `^`, such as `kcal/mol/Å` or `eV/Å^3`"
_POWERS = "write `Å^3`, `Å^-1` or `Å^(1/2)`"


@lru_cache(maxsize=256)
def _parse(text: str) -> Unit:
    if len(text) > _LONGEST:
        raise UnitError(f"a unit of {len(text)} characters is too long", help=_FORM)
    # NFC joins A and its ring, and turns the Ångström sign into the letter
    normal = unicodedata.normalize("NFC", text).replace("μ", "µ").replace("·", "*").replace("⋅", "*")
    normal = _SUPERSCRIPT.sub(lambda match: "^" + match.group().translate(_DIGITS), normal)
    tokens = ["^" if token == "**" else token for token in _TOKEN.findall(normal)]
    if not tokens:
        raise UnitError("the unit is empty", help="write `1` for a pure number")
    reader = _Reader(text, tokens)
    unit = reader.product()
    if reader.tokens:
        raise UnitError(f"`{text}` has a `)` too many", help=_FORM)
    try:
        usable = 0 < unit.factor < math.inf
    except OverflowError:
        usable = False
    if not usable:
        raise UnitError(f"`{text}` has an impossible power", help=_POWERS)
    return unit


class _Reader:
    """Recursive descent over the tokens of one unit."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text, self.tokens = text, tokens

    def take(self, *expected: str) -> str | None:
        """The next token if it is one of those expected, removed from the rest."""
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in expected else None

    def product(self) -> Unit:
        unit = self.power()
        while self.tokens and self.tokens[0] != ")":
            divide = self.take("*", "/") == "/"  # a blank multiplies
            factor = self.power()
            unit = unit / factor if divide else unit * factor
        return unit

    def power(self) -> Unit:
        base = self.base()
        return base ** self.exponent() if self.take("^") else base

    def base(self) -> Unit:
        token = self.tokens.pop(0) if self.tokens else None
        if token is None:
            raise UnitError(f"`{self.text}` breaks off: a unit is missing at its end", help=_FORM)
        if token == "(":
            unit = self.product()
            if not self.take(")"):
                raise UnitError(f"`{self.text}` lacks a closing bracket", help=_FORM)
            return unit
        if token == "1":
            return ONE
        if token[0].isalpha() or token[0] == "_":
            return _named(token)
        if token[-1].isdigit():
            raise UnitError(f"`{self.text}` has the number {token} in it", help=_FORM)
        raise UnitError(f"`{self.text}` is not a unit: `{token}` is not expected there", help=_FORM)

    def exponent(self) -> Fraction:
        bracket = self.take("(")
        top, bottom = self.integer(), 1
        if bracket:
            if self.take("/"):
                bottom = self.integer()
            if not self.take(")"):
                raise UnitError(f"`{self.text}` has a power that does not close", help=_POWERS)
        if not 0 < bottom <= _HIGHEST or abs(top) > _HIGHEST:
            raise UnitError(f"`{self.text}` has an impossible power", help=_POWERS)
        return Fraction(top, bottom)

    def integer(self) -> int:
        token = self.tokens.pop(0) if self.tokens else ""
        if not re.fullmatch(r"[-+]?[0-9]{1,9}", token):
            raise UnitError(f"`{self.text}` has a power that is not a whole number", help=_POWERS)
        return int(token)


def _named(name: str) -> Unit:
    try:
        return Unit(((_lookup(name)[0], Fraction(1)),))
    except KeyError:
        close = _nearest(name)
        help = f"did you mean `{close}`?" if close else "use eV, Å, Ha, bohr, kcal/mol, GPa, e, u, fs or K"
        sure = close is not None and len(name) > 1 and _alike(name, close) >= 0.85
        raise UnitError(
            f"`{name}` is not a unit", help=help, slip=(name, close) if close and sure else None
        ) from None


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _nearest(name: str) -> str | None:
    """The known name most like this one; of equally like ones, that of the nearest length."""
    common = ("meV", "kcal", "kJ", "GPa", "kbar", "fs", "ps", "nm", "mHa")
    # a single letter is near to nearly anything
    known = {word.lower(): word for word in (*UNITS, *ALIASES, *common) if len(word) > 1 or len(name) == 1}
    matcher = difflib.SequenceMatcher(b=name.lower())
    scores = []
    for word in known:
        matcher.set_seq1(word)
        scores.append((matcher.ratio(), -abs(len(word) - len(name)), word))
    best, _, word = max(scores)
    return known[word] if best >= 0.5 else None


@lru_cache(maxsize=256)
def _lookup(name: str) -> tuple[str, Dimension, float]:
    """Canonical name, dimension and size of one name; KeyError when there is none."""
    if name in UNITS:
        return (name, *UNITS[name][:2])
    alias = ALIASES.get(name) or ALIASES.get(name.lower())
    if alias is not None:
        return (alias, *UNITS[alias][:2])
    prefix, rest = name[:1], name[1:]
    rest = ALIASES.get(rest, rest) if len(rest) > 1 else rest
    if prefix in PREFIXES and rest in UNITS and UNITS[rest][2]:
        dimension, size, _ = UNITS[rest]
        return ("µ" if prefix == "u" else prefix) + rest, dimension, PREFIXES[prefix] * size
    raise KeyError(name)


def _product(terms: tuple[tuple[str, Fraction], ...]) -> Unit:
    powers: dict[str, Fraction] = {}
    for name, exponent in terms:
        powers[name] = powers.get(name, Fraction(0)) + exponent
    return Unit(tuple(sorted((name, Fraction(power)) for name, power in powers.items() if power)))


def _write(terms: tuple[tuple[str, Fraction], ...]) -> str:
    top = "*".join(name + _write_power(power) for name, power in terms if power > 0)
    below = "/".join(name + _write_power(-power) for name, power in terms if power < 0)
    return (top or "1") + (f"/{below}" if below else "")


def _write_power(power: Fraction) -> str:
    if power == 1:
        return ""
    return f"^{power}" if power.denominator == 1 else f"^({power})"
