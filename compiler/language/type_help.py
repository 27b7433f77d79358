"""What to write where a value has the wrong type: a sentence, and where it leaves no choice, the change itself."""

import re
from collections.abc import Sequence
from typing import Any

from .elements import symbol_of
from .fixes import Fix, replacing, wrapping
from .locate import Located, SchemaWalk
from .nodes import Node
from .wording import FALSE_FRIENDS, clip, listed

_NUMBER = re.compile(r"([-+]?[0-9][0-9_',]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*(.*)")
_SEPARATORS = str.maketrans("", "", "_',")


def type_help(
    expected: Sequence[str], value: Any, place: Located, walk: SchemaWalk, loc: tuple[str | int, ...]
) -> str | None:
    """How to write at `place` what was `expected` there; `loc` is pydantic's name of the place."""
    if value is None:
        return "write it after the colon, or remove the key"
    if "`true` or `false`" in expected and isinstance(value, str) and value.lower() in FALSE_FRIENDS:
        return f"write `{FALSE_FRIENDS[value.lower()]}`"
    if "a text" in expected and type(value) is int and "species" in place.path[:-1]:
        symbol = symbol_of(value)
        return f"write the symbol: `{symbol}`" if symbol else "write chemical symbols, such as `H`"
    if "a text" in expected and isinstance(value, (bool, int, float)):
        return "put it in quotes"
    if isinstance(value, str) and {"a number", "a whole number"} & set(expected):
        bare = _NUMBER.fullmatch(value.strip())
        if bare is not None:
            number = bare.group(1).translate(_SEPARATORS)
            return "remove the quotes" if number == value else f"write the number alone: `{number}`"
    if "a list" in expected and isinstance(value, (str, int, float)):
        items = re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else [value]
        return f"write `[{', '.join(map(str, items))}]`"
    if "a list" in expected and isinstance(value, dict) and value:
        return f"write `[{clip(', '.join(value))}]`"
    return _mapping_help(value, place, walk, loc) if "a mapping" in expected else None


def type_fix(expected: Sequence[str], value: Any, place: Located, node: Node) -> Fix | None:
    """What `type_help` says, as a change of the text of the scalar `node`, where it leaves no choice."""
    if "`true` or `false`" in expected and isinstance(value, str) and value.lower() in FALSE_FRIENDS:
        return replacing(node.span, FALSE_FRIENDS[value.lower()])
    if "a text" in expected and isinstance(value, (bool, int, float)):
        if "species" in place.path[:-1]:
            symbol = symbol_of(value)
            return replacing(node.span, symbol) if symbol is not None else None
        return replacing(node.span, f'"{node.text}"')
    if isinstance(value, str) and {"a number", "a whole number"} & set(expected):
        bare = _NUMBER.fullmatch(value.strip())
        number = bare.group(1).translate(_SEPARATORS) if bare is not None and not bare.group(2) else None
        whole = number is not None and (number.lstrip("+-").isdigit() or "a number" in expected)
        return replacing(node.span, number) if number is not None and whole else None
    if "a list" in expected and isinstance(value, str) and not node.quoted and len(value.split()) == 1:
        return wrapping(node.span, "[", "]")
    return None


def _mapping_help(value: Any, place: Located, walk: SchemaWalk, loc: tuple[str | int, ...]) -> str | None:
    """What to write where a mapping belongs: the value under the key it was meant for, else what keys there are."""
    path, keys = place.path, walk.keys(place.schema)
    if path == ("symmetry",) and isinstance(value, str):
        return f"write `{{{value}: hard}}`"
    alone = next((key for key in ("key", "path", "weight") if key in keys[:1]), None)
    if alone == "weight" and isinstance(value, str):
        alone = None
    if alone is not None and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return f"write `{{{alone}: {clip(str(value))}}}`"
    if keys or not path:
        return keys_help(keys)
    holder = walk.locate(loc[:-1]).model
    field = holder.model_fields.get(str(path[-1])) if holder is not None else None
    return f"it maps {field.description}" if field is not None and "→" in (field.description or "") else None


def keys_help(known: Sequence[str]) -> str | None:
    """The keys that a block has, in a sentence."""
    if not known:
        return None
    return f"its only key is `{known[0]}`" if len(known) == 1 else f"its keys are {listed(known, 'and')}"
