"""The tables of the language's pages (`PAGES` in specs/), generated from the schema between markers.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, NAME being a definition of the schema; several names
make one table. `presets` lists the presets as they are written with their
defaults, `parameters` what the keys of all presets mean, `ops` the operations of level 3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, get_args

from ..ir.ops import OPS
from ..ir.ops.activations import Activation
from .json_schema import Schema, spec_schema
from .nodes import node_from
from .spans import Position, Span
from .yaml_writer import write_flow

PAGES = ("README.md", "BLOCKS.md", "OPS.md")
_TABLE = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PRESET = "Preset_"  # how definitions of presets begin
_NOWHERE = Span("", Position(1, 1), Position(1, 1))
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
        names = match[2].split()
        if names[0] in _GENERATED:
            rows = _GENERATED[names[0]](definitions)
        elif len(names) > 1:
            rows = _together([definitions[name] for name in names], definitions)
        else:
            rows = _keys(definitions[names[0]], definitions)
        return f"{match[1]}{rows}\n{match[3]}"

    return _TABLE.sub(write, page)


def table_names(page: str) -> tuple[str, ...]:
    """The definitions that have a table on the page, alone or with others."""
    return tuple(name for match in _TABLE.finditer(page) for name in match[2].split())


def _keys(definition: Schema, definitions: dict[str, Schema]) -> str:
    """Key, type, default, meaning."""
    return _table(("key", "type", "default", "meaning"), _rows(definition, definitions))


def _rows(definition: Schema, definitions: dict[str, Schema]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, schema in definition["properties"].items():
        required = key in definition.get("required", ())
        default = "required" if required else _default(schema)
        meaning = schema.get("description", "")
        rows.append((f"`{key}`", type_words(schema, definitions), default, meaning))
    return rows


def _together(found: Sequence[Schema], definitions: dict[str, Schema]) -> str:
    """The keys of several mappings; a row between says whose they are."""
    rows: list[tuple[str, ...]] = []
    for definition in found:
        tag = definition["properties"].get("kind")
        if tag is not None:
            rows.append((f"**`{{kind: {_constant(tag)}}}`**", "", "", tag["description"]))
        elif rows:
            rows.append((f"**{definition['description'].split('.')[0].split(':')[0]}**", "", "", ""))
        rows += [row for row in _rows(definition, definitions) if row[0] != "`kind`"]
    return _table(("key", "type", "default", "meaning"), rows)


def preset_examples(definitions: dict[str, Schema]) -> dict[str, dict[str, Any]]:
    """Every preset as a `model:` with its defaults; keys that have none are left out."""
    found = {}
    for name in _preset_definitions(definitions):
        properties = definitions[name]["properties"]
        defaults = {
            key: schema["default"] for key, schema in properties.items() if schema.get("default") is not None
        }
        architecture = name.removeprefix(_PRESET)
        found[architecture] = {"architecture": architecture, **defaults}
    return found


def _presets(definitions: dict[str, Schema]) -> str:
    """What it is, and how it is written with its defaults."""
    rows = []
    for name, example in preset_examples(definitions).items():
        properties = definitions[f"{_PRESET}{name}"]["properties"]
        optional = [f"`{key}`" for key in properties if key not in example]
        written = f"`{write_flow(node_from(example, _NOWHERE))}`" + "".join(f", {key}" for key in optional)
        rows.append((f"`{name}`", properties["architecture"]["description"], written))
    return _table(("architecture", "what it is", "with its defaults"), rows)


def _parameters(definitions: dict[str, Schema]) -> str:
    """The keys of presets: what most mean by it, and where others mean something else."""
    found: dict[str, dict[tuple[str, str], list[str]]] = {}
    for name in _preset_definitions(definitions):
        for key, schema in definitions[name]["properties"].items():
            if key != "architecture":
                words = type_words(schema, definitions), schema["description"]
                found.setdefault(key, {}).setdefault(words, []).append(f"`{name.removeprefix(_PRESET)}`")
    rows = []
    for key, uses in sorted(found.items(), key=lambda item: (-sum(map(len, item[1].values())), item[0])):
        several = sorted(uses.items(), key=lambda item: -len(item[1]))
        kinds = list(dict.fromkeys(kind for (kind, _), _ in several))
        text = []
        for (kind, meaning), names in several:
            of = f" ({', '.join(names)})" if len(several) > 1 else ""
            text.append(f"{f'{kind}: ' if len(kinds) > 1 else ''}{meaning}{of}")
        rows.append((f"`{key}`", kinds[0] if len(kinds) == 1 else "", "; ".join(text)))
    return _table(("key", "type", "meaning"), rows)


def _preset_definitions(definitions: dict[str, Schema]) -> list[str]:
    return [name for name in definitions if name.startswith(_PRESET) and not name.endswith("Partial")]


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
    if schema.get("enum") == list(get_args(Activation)):
        return "function"
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
    if name.startswith(_PRESET):
        return "preset"
    if name.endswith("Block"):
        return "block"
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


_GENERATED = {"ops": _ops, "presets": _presets, "parameters": _parameters}
