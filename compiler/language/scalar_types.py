"""Texts that stand for something: a length with its unit, a unit, a representation of a coordinate."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from ..symmetry.irreps import Irreps, IrrepsError
from ..symmetry.units import DimensionError, QuantityError, Unit, UnitError, conversion_factor, parse_quantity
from .codes import Code
from .diagnostics import SpecValueError
from .wording import clip

MOST_COMPONENTS = 1000


def _unit_code(error: UnitError) -> Code:
    """A text that is no quantity at all, a unit that does not exist, or one that measures something else."""
    if isinstance(error, QuantityError):
        return Code.BAD_QUANTITY
    return Code.WRONG_DIMENSION if isinstance(error, DimensionError) else Code.UNKNOWN_UNIT


def _length(value: object) -> float:
    """A length in Å, from `5.0 Å` or `0.5 nm`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise SpecValueError(
            f"`{clip(str(value))}` has no unit", help=f"write `{clip(str(value))} Å`", code=Code.MISSING_UNIT
        )
    try:
        number, unit = parse_quantity(str(value))
        return number * conversion_factor(unit, Unit.parse("Å"))
    except UnitError as error:
        raise SpecValueError(
            str(error),
            help=error.help or "a length is written as `5.0 Å`",
            code=_unit_code(error),
            instead=error.mended(str(value)),
        ) from None


def _unit(value: object) -> str:
    try:
        return str(Unit.parse(str(value)))
    except UnitError as error:
        raise SpecValueError(
            str(error),
            help=error.help or "units are written as `eV`, `eV/Å`, `kcal/mol`",
            code=_unit_code(error),
            instead=error.mended(str(value)),
        ) from None


Length = Annotated[float, BeforeValidator(_length), WithJsonSchema({"type": "string", "examples": ["5.0 Å"]})]
UnitText = Annotated[str, BeforeValidator(_unit), WithJsonSchema({"type": "string", "examples": ["eV/Å"]})]


def _rep(value: object) -> str:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[1-9]\d*|(\d+x)?\d+(\+(\d+x)?\d+)*", text):
        raise SpecValueError(
            f"`{clip(text)}` is not a representation",
            help="write a number of dimensions (`1`), or irreps of SO(2) (`1x1`)",
            code=Code.BAD_IRREPS,
        )
    try:
        size = min(int(text[:9]), MOST_COMPONENTS + 1) if text.isdigit() else Irreps.parse(text, "SO(2)").dim
    except IrrepsError as error:
        code = Code.IRREPS_TOO_LARGE if error.too_large else Code.BAD_IRREPS
        raise SpecValueError(error.message, help=error.help, code=code) from None
    if not 0 < size <= MOST_COMPONENTS:
        raise SpecValueError(
            f"`{clip(text)}` has {'more than ' if size else 'no components, and not up to '}{MOST_COMPONENTS:,}"
            + (" components" if size else ""),
            help="write a smaller representation, such as `2` or `1x1`",
            code=Code.IRREPS_TOO_LARGE,
        )
    return text


RepText = Annotated[
    str, BeforeValidator(_rep), WithJsonSchema({"type": ["integer", "string"], "examples": [1, "1x1"]})
]
