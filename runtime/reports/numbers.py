"""Numbers and units as people read them."""

from __future__ import annotations

import math

# Units whose thousandth part is what the field quotes.
_MILLI = ("eV", "eV/Å", "eV/Å^3", "eV/atom", "eV/atom/ps")


def show(value: float | None, digits: int = 3) -> str:
    """A number to `digits` significant figures, without needless exponents.

    Example:
        >>> [show(v) for v in (0.0, 1234.5678, 0.03214, 2.2e-16, -1.0, None, float("nan"))]
        ['0', '1235', '0.0321', '2.2e-16', '-1', '–', 'not a number']
    """
    if value is None:
        return "–"
    value = float(value)
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if power < -4 or power > 6:
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    text = f"{value:.{max(digits - 1 - power, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def show_error(value: float) -> str:
    """An error of rounding size: two figures and an exponent, as in 3.1e-12."""
    value = float(value)
    if value == 0 or not math.isfinite(value):
        return show(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def milli(unit: str) -> tuple[float, str]:
    """The factor and the unit in which an error of this unit is quoted: meV/Å for eV/Å.

    Example:
        >>> milli("eV/Å"), milli("1")
        ((1000.0, 'meV/Å'), (1.0, ''))
    """
    if unit in _MILLI:
        return 1e3, f"m{pretty_unit(unit)}"
    return 1.0, pretty_unit(unit)


def pretty_unit(unit: str) -> str:
    """`eV/Å³` for `eV/Å^3`; nothing for `1` and `relative`."""
    return {"1": "", "relative": ""}.get(unit, unit.replace("^2", "²").replace("^3", "³"))


def duration(seconds: float) -> str:
    """Seconds as 42 s, 12 min, 3 h 20 min.

    Example:
        >>> [duration(t) for t in (4.21, 42, 754, 12000)]
        ['4.2 s', '42 s', '12 min 34 s', '3 h 20 min']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: float) -> str:
    """Bytes as 1.8 MB."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
