"""The source text of classes and functions, with everything they need, out of the modules they live in.

Constructors of layers are left out, because emitted layers are made with their tables already built, and so are
methods that nothing in the emitted file calls.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

from ..errors import ArtifactError

Key = tuple[str, str]  # module, name
# classes that emitted code constructs as ours does
_CONSTRUCTED = frozenset({"Constant", "Statistics"})
_ROOT = __name__.split(".emit.")[0]


@dataclass(frozen=True, slots=True)
class _Home:
    """One of our modules: its lines and what its top level binds."""

    module: ModuleType
    lines: tuple[str, ...]
    bound: dict[str, ast.stmt]


@dataclass(slots=True)
class Definitions:
    """What an emitted file defines and imports; `name_of` adds a class or function and all that it uses.

    `read` are attributes that are read by something else than the definitions.
    """

    keys: list[Key] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    imports: set[tuple[str, str | None]] = field(default_factory=set)

    def name_of(self, thing: Any) -> str:
        """How the emitted file calls a class or function of ours; it is defined there from now on."""
        self._add((thing.__module__, thing.__qualname__))
        return self._name((thing.__module__, thing.__qualname__))

    def lambda_text(self, function: FunctionType) -> str:
        """The source of a lambda; what it reads of its module is defined from now on.

        Raises:
            ArtifactError: its line has several, or it reads a name that is another's in the emitted file.
        """
        home, line = _home(function.__module__), function.__code__.co_firstlineno
        trees = [ast.walk(statement) for statement in home.bound.values()]
        found = {
            id(one): one
            for tree in trees
            for one in tree
            if isinstance(one, ast.Lambda) and one.lineno == line
        }
        if len(found) != 1:
            raise ArtifactError(f"{function!r} cannot be told from others on line {line} of its module")
        (node,) = found.values()
        inner = set(function.__code__.co_freevars) | set(function.__code__.co_varnames)
        for name in _names(node):
            key = None if name in inner else self._resolve(function.__module__, name)
            if key is not None and self._name(key) != name:
                raise ArtifactError(f"{function!r} reads `{name}`, which is another's in the emitted file")
        return ast.unparse(node)

    def _add(self, key: Key) -> None:
        if key not in self.keys:
            self.keys.append(key)

    def _name(self, key: Key) -> str:
        """The name itself, or with the module's where another module's definition took it first."""
        module, name = key
        first = next(other for other in self.keys if other[1] == name)
        return name if first == key else f"{name}_{module.rsplit('.', 1)[-1]}"

    def attributes(self, kind: type[nn.Module]) -> set[str]:
        """The attribute names that the kept methods of a layer read."""
        classes = [one for one in kind.__mro__ if one.__module__.startswith(_ROOT)]
        used = set(self.read)
        while True:
            before = len(used)
            for one in classes:
                for node in self._kept((one.__module__, one.__qualname__), used):
                    used |= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
            if len(used) == before:
                return used

    def texts(self) -> list[str]:
        """Every definition, what it needs before it."""
        used = set(self.read)
        while True:  # until no kept method calls a method that was dropped so far
            before = len(used), len(self.keys)
            for key in list(self.keys):
                for node in self._kept(key, used):
                    used |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
                    for name in _names(node):
                        self._resolve(key[0], name)
            if before == (len(used), len(self.keys)):
                break
        done: list[Key] = []
        for key in self.keys:
            self._order(key, used, done, ())
        return [self._text(key, used) for key in done]

    def _order(self, key: Key, used: set[str], done: list[Key], waiting: tuple[Key, ...]) -> None:
        if key in done or key in waiting:
            return
        for node in self._kept(key, used):
            for name in _names(node):
                needed = self._resolve(key[0], name)
                if needed is not None:
                    self._order(needed, used, done, (*waiting, key))
        done.append(key)

    def _resolve(self, module: str, name: str) -> Key | None:
        """Where a global name of a module is defined, followed through imports; a foreign one is imported."""
        statement = _home(module).bound.get(name)
        match statement:
            case None:
                return None  # a builtin, or a local name
            case ast.Import():
                alias = next(one for one in statement.names if (one.asname or one.name) == name)
                self.imports.add((alias.name, alias.asname))
                return None
            case ast.ImportFrom():
                alias = next(one for one in statement.names if (one.asname or one.name) == name)
                home = importlib.util.resolve_name(
                    "." * statement.level + (statement.module or ""), module.rpartition(".")[0]
                )
                if home.split(".")[0] == _ROOT.split(".")[0]:
                    return self._resolve(home, alias.name)
                self.imports.add((f"{home}:{alias.name}", alias.asname))
                return None
        self._add((module, name))
        return module, name

    def _kept(self, key: Key, used: set[str]) -> Iterator[ast.AST]:
        """The parts of a definition that are emitted."""
        statement = _home(key[0]).bound[key[1]]
        if not isinstance(statement, ast.ClassDef):
            yield statement
            return
        yield from (*statement.bases, *statement.decorator_list)
        yield from (member for member in statement.body if self._keeps(key, member, used))

    def _keeps(self, key: Key, member: ast.stmt, used: set[str]) -> bool:
        owner = getattr(_home(key[0]).module, key[1])
        is_module = issubclass(owner, nn.Module)
        match member:
            case ast.FunctionDef(name="__init__"):
                return not is_module or key[1] in _CONSTRUCTED
            case ast.FunctionDef():
                special = member.name.startswith("__") or (is_module and hasattr(nn.Module, member.name))
                return special or member.name in used
            case ast.AnnAssign(target=ast.Name()):
                return not is_module or member.target.id in used
            case ast.Assign():
                return any(isinstance(target, ast.Name) and target.id in used for target in member.targets)
        return True

    def _text(self, key: Key, used: set[str]) -> str:
        home, statement = _home(key[0]), _home(key[0]).bound[key[1]]
        lines = dict(enumerate(home.lines, start=1))
        first, last = _span(statement)
        if isinstance(statement, ast.ClassDef):
            end = statement.body[0].lineno - 1
            for member in statement.body:
                if not self._keeps(key, member, used):
                    for number in range(end + 1, member.end_lineno + 1):  # type: ignore[operator]
                        lines[number] = None  # type: ignore[assignment]
                end = member.end_lineno or end
            if not any(self._keeps(key, member, used) for member in statement.body):
                lines[last] = "    pass"
        self._rename(key, used, lines)
        kept = [lines[number] for number in range(first, last + 1)]
        return "\n".join(line for line in kept if line is not None).rstrip()

    def _rename(self, key: Key, used: set[str], lines: dict[int, str]) -> None:
        """Put in the emitted names where they differ from the source's."""
        places = []  # line, column in bytes, the source's name, the emitted one
        for node in self._kept(key, used):
            for one in ast.walk(node):
                if isinstance(one, ast.Name):
                    target = self._resolve(key[0], one.id)
                    if target is not None and self._name(target) != one.id:
                        places.append((one.lineno, one.col_offset, one.id, self._name(target)))
        for number, column, old, new in sorted(places, reverse=True):
            line = lines[number].encode()
            lines[number] = (line[:column] + new.encode() + line[column + len(old.encode()) :]).decode()
        statement = _home(key[0]).bound[key[1]]
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and self._name(key) != key[1]:
            line = lines[statement.lineno]
            lines[statement.lineno] = line.replace(f" {key[1]}", f" {self._name(key)}", 1)

    def import_lines(self) -> list[str]:
        """The import statements, standard library first."""
        plain = sorted(
            f"import {name}" + (f" as {alias}" if alias else "")
            for name, alias in self.imports
            if ":" not in name
        )
        grouped: dict[str, list[str]] = {}
        for name, alias in self.imports:
            if ":" in name:
                home, what = name.split(":")
                grouped.setdefault(home, []).append(what + (f" as {alias}" if alias else ""))
        named = [f"from {home} import {', '.join(sorted(names))}" for home, names in sorted(grouped.items())]
        lines = plain + named
        ours = [line for line in lines if line.split()[1].split(".")[0] == "torch"]
        return [*(line for line in lines if line not in ours), "", *ours]


def _names(node: ast.AST) -> list[str]:
    return list(dict.fromkeys(one.id for one in ast.walk(node) if isinstance(one, ast.Name)))


def _span(statement: ast.stmt) -> tuple[int, int]:
    first = statement.lineno
    if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.decorator_list:
        first = statement.decorator_list[0].lineno
    assert statement.end_lineno is not None
    return first, statement.end_lineno


@cache
def _home(name: str) -> _Home:
    module = importlib.import_module(name)
    text = inspect.getsource(module)
    bound: dict[str, ast.stmt] = {}
    for statement in ast.parse(text).body:
        match statement:
            case ast.ClassDef() | ast.FunctionDef():
                bound[statement.name] = statement
            case ast.Assign(targets=[ast.Name(id=target)]) | ast.AnnAssign(target=ast.Name(id=target)):
                bound[target] = statement
            case ast.Import() | ast.ImportFrom() if getattr(statement, "module", "") != "__future__":
                for alias in statement.names:
                    bound[alias.asname or alias.name] = statement
    return _Home(module, tuple(text.splitlines()), bound)
