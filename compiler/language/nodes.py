"""Values that remember where they were written, and the dotted text of a path."""

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from .spans import Span

Scalar = None | bool | int | float | str
Path = tuple[str | int, ...]

_PLAIN_PART = re.compile(r"[^.\"=\s\[\]{}]+")
_INDEX = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a YAML text.

    `value` is a scalar, a dict of nodes, or a tuple of nodes. `key` is the span of its key in a mapping.
    `text` is what the user wrote for a scalar (quotes removed), so that `1e0` is not lost in `1.0`.
    `alias` marks a value that stands in the text as `*name`; its content points to the anchor.
    `search` is the range that was written where this value stands for its middle.
    """

    value: "Scalar | dict[str, Node] | tuple[Node, ...]"
    span: Span
    key: Span | None = None
    text: str | None = None
    quoted: bool = False
    alias: bool = False
    search: "dict[str, Node] | None" = None

    def at(self, path: Path) -> "Node | None":
        """The node at a path below this one, or None."""
        node: Node | None = self
        for part in path:
            if node is None:
                return None
            node = node.child(part)
        return node

    def child(self, part: str | int) -> "Node | None":
        """The node under a key or an index, or None."""
        if isinstance(self.value, dict):
            return self.value.get(str(part))
        if isinstance(self.value, tuple) and isinstance(part, int) and 0 <= part < len(self.value):
            return self.value[part]
        return None

    def replaced(self, path: Path, node: "Node") -> "Node":
        """This node with another one at `path`, which must exist up to its last part.

        The old key span is kept unless the new node brings one.
        """
        if not path:
            return replace(node, key=node.key or self.key)
        part, rest = path[0], path[1:]
        child = self.child(part)
        new = node if child is None else child.replaced(rest, node)
        if isinstance(self.value, dict):
            return replace(self, value={**self.value, str(part): new})
        assert isinstance(self.value, tuple)
        assert isinstance(part, int)
        return replace(self, value=(*self.value[:part], new, *self.value[part + 1 :]))


def plain(node: Node) -> Any:
    """The node as plain dicts, lists and scalars.

    Every call makes new containers, so nobody can change a source through its data.
    """
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, tuple):
        return [plain(child) for child in value]
    return value


def node_from(data: Any, span: Span, *, key: Span | None = None) -> Node:
    """Plain data as a node; every value below is placed at `span`."""
    if isinstance(data, dict):
        return Node({str(name): node_from(value, span, key=span) for name, value in data.items()}, span, key)
    if isinstance(data, (list, tuple)):
        return Node(tuple(node_from(value, span) for value in data), span, key)
    text = data if isinstance(data, str) else None
    return Node(data, span, key, text, quoted=isinstance(data, str))


def same_data(left: Any, right: Any) -> bool:
    """Equality that tells `1`, `1.0` and `true` apart, and takes nan for equal to itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same_data(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same_data, left, right))
    return bool(left == right or (left != left and right != right))


def path_text(path: Path) -> str:
    """A path in one dotted word; keys that would be misread are quoted.

    Example:
        >>> path_text(("symmetry", "O(3)", "relaxed")), path_text(("blocks", 0, "a.b", "7"))
        ('symmetry.O(3).relaxed', 'blocks.0."a.b"."7"')
    """
    return ".".join(_part_text(part) for part in path)


def parse_path(text: str) -> Path | None:
    """The inverse of `path_text`; None where the text is not a path.

    Example:
        >>> parse_path('blocks.0."a.b"')
        ('blocks', 0, 'a.b')
        >>> parse_path("blocks..0") is None
        True
    """
    located, end = locate_path(text)
    return tuple(part for part, _, _ in located) if located and end == len(text) else None


def locate_path(text: str) -> tuple[tuple[tuple[str | int, int, int], ...], int]:
    """The dotted path at the start of a text: its parts, each with where it starts and ends, and its end.

    Where the text does not start with a path there are no parts.

    Example:
        >>> locate_path("a.0=x")
        ((('a', 0, 1), (0, 2, 3)), 3)
    """
    parts: list[tuple[str | int, int, int]] = []
    at = 0
    while True:
        start = at
        if text[at : at + 1] == '"':
            try:
                part, at = json.JSONDecoder().raw_decode(text, at)
            except json.JSONDecodeError:
                return (), 0
            parts.append((str(part), start, at))
        else:
            match = _PLAIN_PART.match(text, at)
            if match is None:
                return (), 0
            at = match.end()
            word = match.group()
            parts.append((int(word) if _INDEX.fullmatch(word) else word, start, at))
        if text[at : at + 1] != ".":
            return tuple(parts), at
        at += 1


def _part_text(part: str | int) -> str:
    if isinstance(part, int):
        return str(part)
    bare = _PLAIN_PART.fullmatch(part) and not _INDEX.fullmatch(part)
    return part if bare else json.dumps(part, ensure_ascii=False)
