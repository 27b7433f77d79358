"""The language as a JSON Schema, for editors: `specs/schema.json` is generated here, from the models.

Two things that pydantic does not know are added: the levels of `model:` (with every preset's parameters), and
`{search: ...}` in place of any scalar, list or mode. A spec that `extends` another may leave keys out; it is
held against a twin of every definition in which nothing is required.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from .blocks import LAYER_BLOCKS, RepeatBlock
from .elements import SYMBOLS
from .presets import load_preset, preset_names
from .schema import GROUPS, Spec
from .schema_model import AtomsModel, GraphModel, Parameter, Preset, StateModel

Schema = dict[str, Any]

_SEARCH = {"$ref": "#/$defs/Search"}
_ATOMS_BLOCKS = (*(block.__name__ for block in LAYER_BLOCKS), "ActBlock", "LinearBlock")
_STATE_BLOCKS = ("MlpBlock", "KineticBlock", "PairsBlock")
_TAGS = frozenset({"equic", "name", "kind", "extends"})  # these say what is searched, and are not searched
_NOTES = ("description", "default", "examples")
_PARTIAL = "Partial"


def spec_schema() -> Schema:
    """The JSON Schema (draft 7, which every editor reads) of a spec file."""
    definitions = _definitions()
    spec = definitions["Spec"]
    spec["properties"] = {
        **spec["properties"],
        "extends": {"type": "string", "description": "another spec file, whose keys this one changes"},
        "symmetry": _symmetry(spec["properties"]["symmetry"]),
        "model": _model(definitions, spec["properties"]["model"]["description"]),
    }
    definitions["AtomsSystem"]["properties"]["species"]["items"] = {"enum": list(SYMBOLS)}
    _add_repeats(definitions)
    for name, definition in definitions.items():
        definitions[name] = _rewritten(definition, _searchable if name != "Spec" else lambda schema: schema)
    definitions["Search"] = _search()
    twins = _strict(definitions)
    definitions |= {name + _PARTIAL: _partial(definitions[name], twins) for name in twins}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A spec of equic, version 1",
        "description": "From a YAML spec to a symmetry- and physics-constrained torch model.",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": _ref("Spec" + _PARTIAL),
        "else": _ref("Spec"),
        "$defs": {name: definitions[name] for name in sorted(definitions) if _used(name, definitions)},
    }


def schema_text() -> str:
    """`spec_schema` as the text of `specs/schema.json`."""
    return json.dumps(spec_schema(), ensure_ascii=False, indent=1) + "\n"


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _definitions() -> dict[str, Schema]:
    """Every model of the language by name."""
    found: dict[str, Schema] = {}
    models: tuple[type[BaseModel], ...] = (Spec, AtomsModel, StateModel, GraphModel, RepeatBlock)
    for model in models:
        schema = model.model_json_schema()
        for name, one in {**schema.pop("$defs", {}), model.__name__: schema}.items():
            assert found.get(name, one) == one, f"two definitions are called {name}"
            found[name] = one
    for one in found.values():
        # ops know their kind by default, but a spec has to say it
        if "kind" in one["properties"] and "kind" not in one.get("required", ()):
            one["required"] = ["kind", *one.get("required", ())]
    atoms = found["AtomsSystem"]
    atoms["required"] = [key for key in atoms["required"] if key != "cutoff"]
    everyone = {"required": ["interactions"], "properties": {"interactions": {"const": "all"}}}
    atoms["anyOf"] = [{"required": ["cutoff"]}, everyone]
    return found


def _symmetry(schema: Schema) -> Schema:
    """Groups by name, so that editors offer them."""
    mode = _draft7(schema["additionalProperties"])
    kinds: dict[str, list[str]] = {}
    for kind, groups in GROUPS.items():
        for group in groups:
            kinds.setdefault(group, []).append(kind)
    properties = {
        group: {**mode, "description": f"for {' and '.join(where)}"} for group, where in kinds.items()
    }
    properties = {group: _searchable(one) for group, one in properties.items()}
    return {**schema, "properties": properties, "additionalProperties": False}


def _model(definitions: dict[str, Schema], description: str) -> Schema:
    """The three levels: a preset, blocks, a graph."""
    presets = [load_preset(name) for name in preset_names()]
    for preset in presets:
        definitions[f"Preset_{preset.preset}"] = _preset(preset)
    levels = [f"Preset_{preset.preset}" for preset in presets] + ["AtomsModel", "StateModel", "GraphModel"]
    return {"description": description, "anyOf": [_ref(name) for name in levels]}


def _preset(preset: Preset) -> Schema:
    parameters = {name: _parameter(one) for name, one in preset.parameters.items()}
    return {
        "type": "object",
        "title": preset.preset,
        "description": f"{preset.help} ({preset.kind})",
        "properties": {"architecture": {"const": preset.preset, "description": preset.help}, **parameters},
        "required": ["architecture"],
        "additionalProperties": False,
    }


def _parameter(parameter: Parameter) -> Schema:
    shapes: dict[str, Schema] = {
        "int": {"type": "integer"},
        "float": {"type": "number"},
        "bool": {"type": "boolean"},
        "choice": {"enum": list(parameter.choices or ())},
        "ints": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "floats": {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]},
    }
    bounds = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    default = parameter.default
    return {
        **shapes[parameter.type],
        **{name: bound for name, bound in bounds.items() if bound is not None},
        "default": list(default) if isinstance(default, tuple) else default,
        "description": parameter.help,
    }


def _add_repeats(definitions: dict[str, Schema]) -> None:
    """`repeat` holds one of the blocks around it, and stands among them."""
    repeat = definitions.pop("RepeatBlock")
    for model, kinds in (("AtomsModel", _ATOMS_BLOCKS), ("StateModel", _STATE_BLOCKS)):
        blocks = [_ref(name) for name in kinds]
        properties = {
            **repeat["properties"],
            "block": {**repeat["properties"]["block"], "anyOf": blocks},
            **{
                key: {**repeat["properties"][key], "anyOf": [_ref(name + _PARTIAL) for name in kinds]}
                for key in ("first", "last")
            },
        }
        for key in ("block", "first", "last"):
            properties[key].pop("additionalProperties", None)
        definitions[f"Repeat{model}"] = {**repeat, "properties": properties}
        listed = definitions[model]["properties"]["blocks"]
        listed["items"] = {"anyOf": [*blocks, _ref(f"Repeat{model}")]}


def _rewritten(schema: Schema, value: Callable[[Schema], Schema]) -> Schema:
    """A definition in the words of draft 7; `value` turns the schema of each key that is no tag."""
    schema = _draft7(schema)
    properties = {
        key: one if key in _TAGS else value(one) for key, one in schema.get("properties", {}).items()
    }
    return {**schema, **({"properties": properties} if properties else {})}


def _draft7(schema: Any) -> Any:
    """Without what editors trip over: tuples of draft 2020, keys beside `$ref`, `discriminator`, field titles."""
    if isinstance(schema, list):
        return [_draft7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _draft7(one) for key, one in schema.items() if key != "discriminator"}
    if "additionalProperties" not in found and not isinstance(found.get("title"), dict):
        found.pop("title", None)
    if isinstance(found.get("default"), dict):
        found.pop("default")
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
    if "oneOf" in found:
        found["anyOf"] = found.pop("oneOf")
    if "$ref" in found and len(found) > 1:
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    if "description" in found and isinstance(found["description"], str):
        found["description"] = "\n".join(line.strip() for line in found["description"].splitlines())
    return found


def _searchable(schema: Schema) -> Schema:
    """The same, or a search; mappings with keys of their own are searched inside, and stay as they are."""
    schema = _searchable_parts(schema)
    if not _holds_scalars(schema):
        return schema
    outside: Schema = {key: one for key, one in schema.items() if key in _NOTES}
    inside = {key: one for key, one in schema.items() if key not in outside}
    members = inside["anyOf"] if set(inside) == {"anyOf"} else [inside]
    return {**outside, "anyOf": [*members, _SEARCH]}


def _searchable_parts(schema: Schema) -> Schema:
    """Searches in place of the items of a list, or the values of a mapping."""
    found = dict(schema)
    if isinstance(schema.get("items"), dict):
        found["items"] = _searchable(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _searchable(schema["additionalProperties"])
    if "anyOf" in schema:
        found["anyOf"] = [_searchable_parts(one) for one in schema["anyOf"]]
    return found


def _holds_scalars(schema: Schema) -> bool:
    """Whether some value that fits is a scalar, or a list of scalars."""
    if "anyOf" in schema:
        return any(_holds_scalars(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return any(_holds_scalars(one) for one in (items if isinstance(items, list) else [items]))
    return "const" in schema or "enum" in schema or ("type" in schema and schema["type"] != "object")


def _strict(definitions: dict[str, Schema]) -> frozenset[str]:
    """The definitions that require a key, or hold one that does."""
    found: set[str] = set()
    texts = {name: json.dumps(one) for name, one in definitions.items() if name != "Search"}
    while True:
        needles = ('"required":', '"minProperties":', *(f'"#/$defs/{name}"' for name in found))
        more = {name for name, text in texts.items() if any(needle in text for needle in needles)}
        if more == found:
            return frozenset(found)
        found = more


def _partial(schema: Any, twins: frozenset[str]) -> Any:
    """The twin in which nothing is required."""
    if isinstance(schema, list):
        return [_partial(one, twins) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: _partial(one, twins) for key, one in schema.items() if key not in ("required", "minProperties")
    }
    reference = found.get("$ref")
    if isinstance(reference, str) and reference.removeprefix("#/$defs/") in twins:
        found["$ref"] = reference + _PARTIAL
    return found


def _used(name: str, definitions: dict[str, Schema]) -> bool:
    """Whether anything refers to a definition (the twins of some are never needed)."""
    own = f'"#/$defs/{name}"'
    return name in ("Spec", "Spec" + _PARTIAL) or any(
        own in json.dumps(one) for other, one in definitions.items() if other != name
    )


def _search() -> Schema:
    number = {"type": ["number", "string"]}
    choices = {"type": "array", "minItems": 2, "description": "the values to choose from"}
    interval = {
        "type": "object",
        "properties": {
            "low": {**number, "description": "the least value, with its unit where there is one"},
            "high": {**number, "description": "the largest value"},
            "log": {"type": "boolean", "default": False, "description": "search on a logarithmic scale"},
            "step": {**number, "description": "only low, low + step, ..."},
            "default": {**number, "description": "the value outside a search; the middle if not given"},
        },
        "required": ["low", "high"],
        "additionalProperties": False,
    }
    named = {
        "type": "object",
        "properties": {
            "choices": choices,
            "default": {"description": "the value outside a search; the first if not given"},
        },
        "required": ["choices"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "title": "Search",
        "description": "A value that `equic tune` chooses: a range, or a list of choices.",
        "properties": {"search": {"anyOf": [interval, choices, named]}},
        "required": ["search"],
        "additionalProperties": False,
    }
