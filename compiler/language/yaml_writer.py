"""Nodes back to YAML text."""

from collections.abc import Iterator

from .nodes import Node
from .scalars import read_scalar, write_scalar

_WIDTH = 100  # columns
_LONGEST_KEY = 1000  # characters; YAML ends at 1024 for a key without `? `


def write_flow(node: Node) -> str:
    """A node on one line, as `{relaxed: 0.1}`; it reads back as the same data.

    Example:
        >>> from .diagnostics import Report
        >>> from .yaml_loader import load_yaml
        >>> write_flow(load_yaml("O(3):\\n  relaxed: 1e-1\\nnames: ['no', q 1]", "spec.yaml", Report()))
        '{O(3): {relaxed: 1e-1}, names: [no, q 1]}'
    """
    if isinstance(node.value, dict):
        return (
            "{" + ", ".join(f"{_key(name)}: {write_flow(child)}" for name, child in node.value.items()) + "}"
        )
    if isinstance(node.value, tuple):
        return "[" + ", ".join(write_flow(child) for child in node.value) + "]"
    if not node.quoted and node.text and not isinstance(node.value, str):
        # numbers keep the form that the user gave them
        try:
            again = read_scalar(node.text)
        except OverflowError:
            again = None
        if type(again) is type(node.value) and again == node.value:
            return node.text
    return write_scalar(node.value)


def write_yaml(node: Node) -> str:
    """A node as a YAML text: short parts on one line, long ones as blocks.

    Example:
        >>> from .diagnostics import Report
        >>> from .yaml_loader import load_yaml
        >>> print(write_yaml(load_yaml("{equic: 1, train: {seed: 0}}", "spec.yaml", Report())), end="")
        equic: 1
        train: {seed: 0}
    """
    value = node.value
    if not isinstance(value, (dict, tuple)) or not value or _has_long_keys(node):
        return write_flow(node) + "\n"
    return "\n".join(_block(node, 0)) + "\n"


def _block(node: Node, indent: int) -> Iterator[str]:
    margin = " " * indent
    if isinstance(node.value, dict):
        for name, child in node.value.items():
            yield from _entry(f"{margin}{_key(name)}:", child, indent)
    elif isinstance(node.value, tuple):
        for child in node.value:
            yield from _entry(f"{margin}-", child, indent)


def _entry(head: str, child: Node, indent: int) -> Iterator[str]:
    line = f"{head} {write_flow(child)}"
    if (
        len(line) <= _WIDTH
        or not isinstance(child.value, (dict, tuple))
        or not child.value
        or _has_long_keys(child)
    ):
        yield line
    else:
        yield head
        yield from _block(child, indent + 2)


def _key(name: str) -> str:
    text = write_scalar(name)
    return f"? {text} " if len(text) > _LONGEST_KEY else text


def _has_long_keys(node: Node) -> bool:
    """Whether a key of this mapping is too long for `key: value`; such a mapping is written in braces."""
    return isinstance(node.value, dict) and any(len(write_scalar(name)) > _LONGEST_KEY for name in node.value)
