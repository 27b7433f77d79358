"""Scalars of the YAML 1.2 core schema: what a plain word means, and how to write a value as one."""

import math
import re

from .nodes import Scalar

_NULL = re.compile(r"(?:null|Null|NULL|~|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")
_WORD = r"[\w.+*/^()²³⁻·\-]"
_SAFE = re.compile(rf"(?!---|\.\.\.)(?:[\w(/]|[.+\-](?=[\w./])){_WORD}*(?: {_WORD}+)*")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LONGEST_INT = 300  # digits; a double ends at 309


def read_scalar(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar. Raises `OverflowError` for a number no double can hold.

    Example:
        >>> [read_scalar(text) for text in ("1e-4", "0o17", "no", "~", "True", "1_000", "12:30", "0e")]
        [0.0001, 15, 'no', None, True, '1_000', '12:30', '0e']
    """
    if not text or text[0] in "nN~tTfF":
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text[0] in "tT"
        return text
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        if len(text) > _LONGEST_INT:
            raise OverflowError(text)
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text, 8)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise OverflowError(text)
        return value
    if _INF.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    if _NAN.fullmatch(text):
        return math.nan
    return text


def write_scalar(value: Scalar) -> str:
    """A scalar as YAML text that reads back as the same value, in block and in flow style.

    Example:
        >>> [write_scalar(value) for value in (None, True, 1e-4, 3.0, "5.0 Å", "no", "3", "a: b", "O(3)")]
        ['null', 'true', '0.0001', '3.0', '5.0 Å', 'no', '"3"', '"a: b"', 'O(3)']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return ".nan"
        if math.isinf(value):
            return ".inf" if value > 0 else "-.inf"
        return repr(value)
    if _SAFE.fullmatch(value) and isinstance(_try_read(value), str):
        return value
    return '"' + "".join(_escaped(character) for character in value) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _try_read(text: str) -> Scalar:
    try:
        return read_scalar(text)
    except OverflowError:
        return None
