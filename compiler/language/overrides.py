"""`--set model.channels=32`: values from the command line, laid over a source."""

from collections.abc import Iterable
from dataclasses import replace

from .codes import Code
from .diagnostics import Report
from .nodes import Node, locate_path, path_text
from .source import Source
from .spans import Position, Span
from .yaml_loader import load_yaml

Located = tuple[str | int, int, int]


def apply_overrides(source: Source, overrides: Iterable[str], report: Report) -> Source:
    """The source with `path=value` texts laid over it, in order; values are read as YAML.

    Spans of the new values point into a pseudo file named `<--set path=value>`. A list item is named by its
    index (`blocks.0.lmax=2`), a key that has a dot by quotes (`data."a.b"=1`). Mistakes are reported, and
    their override is left out.

    Example:
        >>> from .source import source_from_text
        >>> report = Report()
        >>> source = source_from_text("model: {channels: 64}", report=report)
        >>> changed = apply_overrides(source, ["model.channels=32", "train.seed=1"], report)
        >>> changed.data, str(changed.span(("model", "channels")))
        ({'model': {'channels': 32}, 'train': {'seed': 1}}, '<--set model.channels=32>:1:16')
    """
    root, texts = source.root, dict(source.texts)
    for override in overrides:
        file = f"<--set {override}>"
        texts[file] = report.texts[file] = override
        changed = _apply(root, override, file, report)
        root = changed if changed is not None else root
    return Source(source.path, root, texts)


def _apply(root: Node, override: str, file: str, report: Report) -> Node | None:
    located, end = locate_path(override)
    name, text = override[:end], override[end + 1 :]
    if not located or override[end : end + 1] != "=":
        report.error(
            Code.BAD_OVERRIDE,
            Span(file, Position(1, 1), Position(1, max(1, end or len(override)) + 1)),
            "an override is a path, `=` and a value",
            help="write `--set model.channels=32`",
        )
        return None
    value = load_yaml(text, file, report, origin=Position(1, len(name) + 2)) if text.strip() else None
    if value is None:
        if not text.strip():
            place = Position(1, len(override) + 1)
            report.error(
                Code.BAD_OVERRIDE,
                Span(file, place, place),
                f"`{name}` is set to nothing",
                help="write a value after `=`, or `null`",
            )
        return None
    return _set(root, located, 0, value, file, report)


def _set(
    node: Node, located: tuple[Located, ...], depth: int, value: Node, file: str, report: Report
) -> Node | None:
    part, start, end = located[depth]
    span = Span(file, Position(1, start + 1), Position(1, end + 1))
    child = node.child(part)
    if isinstance(node.value, tuple):
        if child is None:
            count = len(node.value)
            report.error(
                Code.BAD_OVERRIDE,
                span,
                f"`{part}` is not an index of `{_name(located, depth)}`, which has {count} items",
                help=f"count from 0 to {count - 1}" if count else "set the whole list",
            )
            return None
    elif not isinstance(node.value, dict):
        report.error(
            Code.BAD_OVERRIDE,
            span,
            f"`{_name(located, depth)}` is a single value, and has no `{part}`",
            help=f"set `{_name(located, depth)}` itself",
            related=((node.span, "it stands here"),),
        )
        return None
    last = depth + 1 == len(located)
    if last:
        return node.replaced((part,), replace(value, key=span))
    below = child if child is not None else Node({}, span, key=span)
    changed = _set(below, located, depth + 1, value, file, report)
    return None if changed is None else node.replaced((part,), changed)


def _name(located: tuple[Located, ...], depth: int) -> str:
    return path_text(tuple(part for part, _, _ in located[:depth])) or "the spec"
