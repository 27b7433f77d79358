"""A spec as it was written: plain data, and for every value and key the place it came from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from .codes import Code
from .diagnostics import Fix, Report
from .fixes import replacing
from .nodes import Node, Path, plain
from .scalars import write_scalar
from .spans import Position, Span
from .yaml_loader import load_yaml

__all__ = ["Node", "Position", "Source", "Span", "load_source", "source_from_text"]


@dataclass(frozen=True, slots=True)
class Source:
    """A spec that could be read, its base files merged in.

    `path` is the file as the user named it; `texts` maps every file (and override) to its text; `root` holds
    the values with their spans; `data` is the same as plain dicts, lists and scalars.

    Example:
        >>> source = source_from_text("model: {channels: 1e1}", report=Report())
        >>> source.data, str(source.span(("model", "channels"))), source.scalar_text(("model", "channels"))
        ({'model': {'channels': 10.0}}, 'spec.yaml:1:19', '1e1')
    """

    path: str
    root: Node
    texts: Mapping[str, str]
    data: dict[str, Any] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", plain(self.root))

    @property
    def text(self) -> str:
        """The text of the main file."""
        return self.texts[self.path]

    def text_of(self, file: str) -> str | None:
        """The text of any file that a span of this source names."""
        return self.texts.get(file)

    def span(self, path: Path, *, key: bool = False) -> Span:
        """Where the value at `path` stands, or its key; where there is none, the nearest ancestor."""
        node = self.root
        for part in path:
            child = node.child(part)
            if child is None:
                break
            node = child
        return (node.key or node.span) if key else node.span

    def scalar_text(self, path: Path) -> str | None:
        """What the user wrote for the scalar at `path`, without quotes; None where there is no scalar."""
        node = self.root.at(path)
        return None if node is None else node.text

    def instead(self, path: Path, value: object, *, key: bool = False, safe: bool = True) -> Fix | None:
        """The fix that writes a scalar in place of the one at `path`, or of its key; None where none stands there."""
        node = self.root.at(path)
        span = None if node is None else node.key if key else node.span
        if (
            value is None
            or node is None
            or span is None
            or not (key or (node.text is not None and not node.alias))
        ):
            return None
        assert isinstance(value, (bool, int, float, str))
        return replacing(span, write_scalar(value), safe=safe)

    def with_root(self, root: Node) -> "Source":
        """The same texts with other values."""
        return replace(self, root=root)


def load_source(
    path: str | os.PathLike[str], report: Report, *, texts: Mapping[str, str] | None = None
) -> Source | None:
    """Read a spec file and the files it extends; None, after reporting, when there is nothing to work with.

    `texts` holds files that are not read: their text is this one, whatever the disk says. Problems that leave the
    rest readable (a duplicate key, say) are reported too, and a source is returned: look at `report.has_errors`.
    """
    name = os.fspath(path)
    known = texts or {}
    text = known[name] if name in known else _read(name, report, None)
    return None if text is None else _load(text, name, report, (), known=known)


def source_from_text(
    text: str,
    name: str = "spec.yaml",
    *,
    report: Report,
    directory: str | os.PathLike[str] | None = None,
) -> Source | None:
    """A source from text in memory; `extends:` is looked up in `directory` (default: beside `name`).

    Example:
        >>> report = Report()
        >>> source_from_text("a: 1\\na: 2", report=report).data, report.has_errors
        ({'a': 1}, True)
    """
    return _load(text, name, report, (), directory=directory)


def _load(
    text: str,
    name: str,
    report: Report,
    stack: tuple[str, ...],
    *,
    directory: str | os.PathLike[str] | None = None,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Source | None:
    text = text.removeprefix("\ufeff")
    report.texts[name] = text
    root = load_yaml(text, name, report)
    if root is None:
        return None
    if not isinstance(root.value, dict):
        report.error(
            Code.NOT_A_MAPPING,
            root.span,
            "a spec is a mapping of keys to values",
            help="start with `equic: 1`, then one `key: value` on each line",
        )
        return None
    source = Source(name, root, {name: text})
    base = root.value.get("extends")
    if base is None:
        return source
    own = replace(root, value={key: node for key, node in root.value.items() if key != "extends"})
    folder = os.path.dirname(name) if directory is None else os.fspath(directory)
    below = _load_base(base, folder, report, (*stack, os.path.realpath(name)), known)
    if below is None:
        return None
    return Source(name, merge(below.root, own), {**below.texts, name: text})


def _load_base(
    base: Node, folder: str, report: Report, stack: tuple[str, ...], known: Mapping[str, str]
) -> Source | None:
    if not isinstance(base.value, str) or not base.value.strip() or "\0" in base.value:
        report.error(
            Code.BAD_EXTENDS, base.span, "`extends` names one file", help="write `extends: base.yaml`"
        )
        return None
    file = os.path.normpath(os.path.join(folder, base.value))
    if os.path.realpath(file) in stack:
        report.error(
            Code.EXTENDS_CYCLE,
            base.span,
            f"`{base.value}` extends, in the end, itself",
            help="remove one `extends:` of the circle",
        )
        return None
    text = known[file] if file in known else _read(file, report, base.span)
    return None if text is None else _load(text, file, report, stack, known=known)


def merge(below: Node, above: Node) -> Node:
    """Two values laid over each other: mappings key by key, anything else is replaced by `above`."""
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    entries = dict(below.value)
    for key, node in above.value.items():
        entries[key] = merge(entries[key], node) if key in entries else node
    return replace(above, value=entries)


def _read(file: str, report: Report, span: Span | None) -> str | None:
    """The text of a file. `span` is where the file is named, None for the one on the command line."""
    try:
        if os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file):
            raise OSError(0, "not a regular file")  # a device may never end
        return FilePath(file).read_bytes().decode("utf-8")
    except FileNotFoundError:
        folder = os.path.dirname(file) or "."
        report.error(
            Code.FILE_NOT_FOUND,
            span,
            f"there is no file `{file}`",
            help=_nearby(folder, os.path.basename(file)),
        )
    except UnicodeDecodeError as error:
        good = error.object[: error.start].decode("utf-8")
        line, column = good.count("\n") + 1, len(good) - (good.rfind("\n") + 1) + 1
        place = Position(line, column)
        report.error(
            Code.ENCODING,
            Span(file, place, Position(line, column + 1)),
            "the file is not UTF-8 text",
            help="save it as UTF-8",
        )
    except (OSError, ValueError) as error:  # a name with a null character
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "unknown reason"
        report.error(
            Code.FILE_NOT_READABLE,
            span,
            f"`{file}` cannot be read: {reason.lower()}",
            help="name a file, and check its permissions",
        )
    return None


def _nearby(folder: str, name: str) -> str:
    import difflib

    try:
        there = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return f"the folder `{folder}` does not exist or cannot be read"
    specs = [entry for entry in there if entry.endswith((".yaml", ".yml"))]
    close = difflib.get_close_matches(name, there, n=1) or specs[:1]
    return (
        f"did you mean `{os.path.join(folder, close[0]) if folder != '.' else close[0]}`?"
        if close
        else "check the path"
    )
