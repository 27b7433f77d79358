"""From the location of a pydantic error to the path in the YAML text.

Locations follow the schema, not the data: unions add their tag or the name of a member. The walk goes down
pydantic's core schema, so it knows which parts are tags, and which keys a mapping may have.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from .nodes import Path

Schema = Any  # core schemas are typed dicts by kind; `schema["type"]` says which

_WRAPPERS = {
    "nullable": "schema",
    "default": "schema",
    "function-before": "schema",
    "function-after": "schema",
    "function-wrap": "schema",
    "definitions": "schema",
    "model": "schema",
    "model-field": "schema",
    "json-or-python": "python_schema",
    "lax-or-strict": "lax_schema",
}


@dataclass(frozen=True, slots=True)
class Located:
    """Where an error is: its path, the schema (and model class) there, and the plain union it came through.

    `union` is the path of the outermost plain union on the way with the name of the member that was tried;
    `on_key` says that the error is about the last key itself.
    """

    path: Path
    schema: Schema
    model: type[BaseModel] | None = None
    union: tuple[Path, str] | None = None
    on_key: bool = False


class SchemaWalk:
    """The core schema of one model (or union of models), with its definitions."""

    def __init__(self, model: type[BaseModel] | TypeAdapter[Any]) -> None:
        self.root: Schema = (
            model.core_schema if isinstance(model, TypeAdapter) else model.__pydantic_core_schema__
        )
        self.definitions: dict[str, Schema] = {}
        if self.root["type"] == "definitions":
            self.definitions = {item["ref"]: item for item in self.root["definitions"]}

    def locate(self, loc: tuple[str | int, ...]) -> Located:
        """Follow a location; parts that are tags are dropped, parts beyond the schema taken as they are."""
        schema: Schema = self.root
        path: Path = ()
        union: tuple[Path, str] | None = None
        for part in loc:
            if part == "[key]":
                return Located(path, None, None, union, on_key=True)
            schema = self.unwrap(schema)
            kind = schema["type"] if schema else None
            if schema and kind == "tagged-union" and part in schema["choices"]:
                schema = schema["choices"][part]
            elif schema and kind == "union":
                union = union or (path, str(part))
                schema = self._member(schema, str(part))
            elif kind == "tagged-union" and isinstance(part, str) and part.startswith("@"):
                continue
            else:
                schema = self._child(schema, part)
                path = (*path, part)
        return Located(path, self.unwrap(schema), self._model(schema), union)

    def unwrap(self, schema: Schema) -> Schema:
        """The schema below what leaves no part in a location: defaults, validators, `None`, models."""
        while schema is not None:
            if schema["type"] == "definition-ref":
                schema = self.definitions.get(schema["schema_ref"])
            elif schema["type"] == "chain":
                schema = schema["steps"][-1]
            elif schema["type"] in _WRAPPERS:
                schema = schema[_WRAPPERS[schema["type"]]]
            else:
                return schema
        return None

    def keys(self, schema: Schema) -> tuple[str, ...]:
        """The keys that a mapping of this schema may have; none where any key is allowed."""
        schema = self.unwrap(schema)
        if schema is None:
            return ()
        if schema["type"] == "model-fields":
            return tuple(_alias(name, field) for name, field in schema["fields"].items())
        if schema["type"] == "tagged-union" and schema["choices"]:
            return tuple(
                dict.fromkeys(key for choice in schema["choices"].values() for key in self.keys(choice))
            )
        return ()

    def homes(self, key: str, depth: int = 3) -> tuple[Path, ...]:
        """Every place of the language, not deeper than `depth`, where a key is known: where it may belong."""
        return tuple(dict.fromkeys(self._homes(self.root, key, (), depth)))

    def _homes(self, schema: Schema, key: str, path: Path, depth: int) -> Iterator[Path]:
        schema = self.unwrap(schema)
        if schema is None or depth < 0:
            return
        if schema["type"] == "tagged-union":
            for choice in schema["choices"].values():
                yield from self._homes(choice, key, path, depth)
        elif schema["type"] == "model-fields":
            for name, field in schema["fields"].items():
                alias = _alias(name, field)
                if alias == key:
                    yield path
                yield from self._homes(field, key, (*path, alias), depth - 1)

    def _model(self, schema: Schema) -> type[BaseModel] | None:
        while schema is not None and schema["type"] != "model":
            if schema["type"] == "definition-ref":
                schema = self.definitions.get(schema["schema_ref"])
            else:
                schema = schema[_WRAPPERS[schema["type"]]] if schema["type"] in _WRAPPERS else None
        return schema["cls"] if schema else None

    def _child(self, schema: Schema, part: str | int) -> Schema:
        if schema is None:
            return None
        if schema["type"] == "model-fields":
            return next((f for name, f in schema["fields"].items() if part in (name, _alias(name, f))), None)
        if schema["type"] == "dict":
            return schema.get("values_schema")
        if schema["type"] == "tuple":
            items, variadic = schema["items_schema"], schema.get("variadic_item_index")
            if not items or not isinstance(part, int):
                return None
            return items[min(part, len(items) - 1)] if variadic is None else items[variadic]
        return schema.get("items_schema")

    def _member(self, schema: Schema, label: str) -> Schema:
        """The member of a plain union that pydantic calls `label`."""
        for choice in schema["choices"]:
            member, name = choice if isinstance(choice, tuple) else (choice, None)
            if name == label or any(
                label == word or label.startswith(f"{word}[") for word in self._names(member)
            ):
                return member
        return None

    def _names(self, schema: Schema) -> Iterator[str]:
        yield schema["type"]
        if schema["type"] == "model":
            yield schema["cls"].__name__
        if schema["type"] == "str":
            yield "constrained-str"
        if schema["type"] == "definition-ref" and schema["schema_ref"] in self.definitions:
            yield from self._names(self.definitions[schema["schema_ref"]])


def _alias(name: str, field: Schema) -> str:
    alias = field.get("validation_alias")
    return alias if isinstance(alias, str) else name
