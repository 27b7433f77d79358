"""The tables of the language's page (`specs/README.md`), generated from the schema between markers.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, NAME being a definition of the schema, or `ops`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ..ir.ops import OPS
from .json_schema import Schema, spec_schema

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
_NO_LIMIT = 1e6  # bounds beyond say what fits into memory, not what makes sense
_PLURAL = re.compile(r"\b(?:number|value|text|symbol)\b")
REFERENCE = "the name of a value"  # the description of a port of an op
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}


def with_tables(page: str) -> str:
    """The page with every table written anew.

    Raises:
        KeyError: a marker names no definition.
    """
    definitions = spec_schema()["$defs"]

    def write(match: re.Match[str]) -> str:
        name = match[2]
        rows = _ops(definitions) if name == "ops" else _keys(definitions[name], definitions)
        return f"{match[1]}{rows}\n{match[3]}"

    return _TABLE.sub(write, page)


def table_names(page: str) -> tuple[str, ...]:
    """The definitions that have a table on the page."""
    return tuple(match[2] for match in _TABLE.finditer(page))


def _keys(definition: Schema, definitions: dict[str, Schema]) -> str:
    """Key, type, default, meaning."""
    rows = []
    for key, schema in definition["properties"].items():
        required = key in definition.get("required", ())
        default = "required" if required else _default(schema)
        meaning = schema.get("description", "")
        rows.append((f"`{key}`", type_words(schema, definitions), default, meaning))
    return _table(("key", "type", "default", "meaning"), rows)


def _ops(definitions: dict[str, Schema]) -> str:
    """Kind, keys with their types, and what the op does."""
    rows = []
    for op in OPS:
        definition = definitions[op.__name__]
        keys = []
        for key, schema in definition["properties"].items():
            if key != "kind":
                end = "" if key in definition["required"] else f" ({_default(schema)})"
                keys.append(f"`{key}`: {type_words(schema, definitions)}{end}")
        meaning = definition["description"].split("\n\n")[0].split(". ")[0].replace("\n", " ").rstrip(".")
        kind = definition["properties"]["kind"]["const"]
        rows.append((f"`{kind}`", "; ".join(keys) or "–", meaning))
    return _table(("kind", "keys", "what it is"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return "–" if value in (None, {}, []) else f"`{_flow(value)}`"


def _flow(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def type_words(schema: Schema, definitions: dict[str, Schema]) -> str:
    """What fits, in words; searches, which fit nearly everywhere, are left out.

    Example:
        >>> type_words({"anyOf": [{"type": "integer", "minimum": 1}, {"$ref": "#/$defs/Search"}]}, {})
        'whole number ≥ 1'
    """
    if schema.get("description") == REFERENCE:
        return "value"
    if "$ref" in schema:
        return _reference(schema["$ref"].removeprefix("#/$defs/"), definitions)
    for key in ("anyOf", "allOf"):
        if key in schema:
            words = [type_words(one, definitions) for one in schema[key]]
            return _with_example(" or ".join(dict.fromkeys(word for word in words if word)), schema)
    if "const" in schema:
        return f"`{_flow(schema['const'])}`"
    if "enum" in schema:
        choices = [f"`{_flow(one)}`" for one in schema["enum"]]
        return " or ".join(choices) if len(choices) < 20 else "chemical symbol"
    kind = schema.get("type")
    if kind == "array":
        return _list(schema, definitions)
    if kind == "object":
        values = schema.get("additionalProperties")
        inner = type_words(values, definitions) if isinstance(values, dict) else ""
        return f"mapping to {inner}" if inner else "mapping"
    if kind == "null":
        return ""
    kinds = kind if isinstance(kind, list) else [kind]
    words = [_TYPES[one] for one in kinds if one is not None]
    limits = {key: schema[key] for key, _ in _BOUNDS if abs(schema.get(key, 1e300)) < _NO_LIMIT}
    if limits.keys() == {"minimum", "maximum"}:
        bounds = f" from {limits['minimum']:g} to {limits['maximum']:g}"
    else:
        bounds = " and".join(f" {sign} {limits[key]:g}" for key, sign in _BOUNDS if key in limits)
    return _with_example(" or ".join(words) + bounds, schema)


def _with_example(words: str, schema: Schema) -> str:
    return f"{words} such as `{schema['examples'][0]}`" if schema.get("examples") else words


def _list(schema: Schema, definitions: dict[str, Schema]) -> str:
    items = schema.get("items", {})
    if isinstance(items, list):
        return f"[{', '.join(type_words(one, definitions) for one in items)}]"
    one = type_words(items, definitions)
    return f"list of {_PLURAL.sub(lambda match: match[0] + 's', one, count=1)}"


def _reference(name: str, definitions: dict[str, Schema]) -> str:
    """A mapping, shown by its keys; one of the closed kinds by its kind."""
    if name == "Search":
        return ""
    properties = definitions[name]["properties"]
    for tag in ("kind", "architecture"):
        if tag in properties:
            return f"`{{{tag}: {_constant(properties[tag])}}}`"
    return f"`{{{', '.join(properties)}}}`"


def _constant(schema: Schema) -> str:
    for one in (schema, *schema.get("anyOf", ())):
        if "const" in one:
            return str(one["const"])
    raise AssertionError(f"a tag has no constant: {schema}")
