"""Built layers as expressions: the same modules, their tables as literals, their weights still to be loaded."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import zlib
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..layers.base import Constant, parameter
from .definitions import Definitions
from .pieces import bound

WIDTH = 110
_INLINE = 80  # tensors whose literal is longer than this are packed at the end of the file
_OWN = frozenset(nn.Module().__dict__)
_LIBRARIES = {
    "torch.nn.functional": torch.nn.functional,
    "torch.special": torch.special,
    "torch": torch,
    "math": math,
}


class Freezer:
    """Writes values as Python expressions; collects the definitions and the tables that these need."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self.tables: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def expression(self, value: Any, indent: int) -> str:
        """One expression, broken over lines where it is long.

        Raises:
            ArtifactError: a layer holds something that has no text form, such as an open file.
        """
        match value:
            case str():
                return json.dumps(value, ensure_ascii=False)
            case None | bool() | int():
                return repr(value)
            case float():
                return repr(value) if math.isfinite(value) else f'float("{value}")'
            case torch.dtype() | torch.Size():
                return str(value) if isinstance(value, torch.dtype) else repr(tuple(value))
            case Constant():
                return f"{self.definitions.name_of(Constant)}({self._tensor(value.exact)})"
            case nn.ParameterList() | nn.ModuleList() | nn.Sequential():
                items = [self.expression(one, indent + 4) for one in value]
                if isinstance(value, nn.Sequential):
                    return laid_out("nn.Sequential(", items, ")", indent)
                return laid_out(f"nn.{type(value).__name__}([", items, "])", indent)
            case nn.Module():
                return self._module(value, indent)
            case nn.Parameter():
                return f"{self.definitions.name_of(parameter)}({', '.join(map(str, value.shape))})"
            case Tensor():
                return self._tensor(value)
            case Mapping():
                items = [
                    f"{self.expression(k, 0)}: {self.expression(v, indent + 4)}" for k, v in value.items()
                ]
                return laid_out("{", items, "}", indent)
            case list():
                return laid_out("[", [self.expression(one, indent + 4) for one in value], "]", indent)
            case tuple() if type(value) is tuple:
                items = [self.expression(one, indent + 4) for one in value]
                return laid_out("(", items, ",)" if len(items) == 1 else ")", indent)
            case tuple():  # a NamedTuple
                return self._record(value, value._asdict(), indent)
            case set() | frozenset():
                return f"frozenset({self.expression(sorted(value), indent + 4)})"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
            return self._record(value, fields, indent)
        if isinstance(value, FunctionType) and value.__name__ == "<lambda>":
            return self._lambda(value, indent)
        if callable(value):
            return self._function(value)
        raise ArtifactError(f"a layer holds a {type(value).__name__}, which cannot be written as source")

    def _record(self, value: Any, fields: Mapping[str, Any], indent: int) -> str:
        items = [self.expression(one, indent + 4) for one in fields.values()]
        return laid_out(f"{self.definitions.name_of(type(value))}(", items, ")", indent)

    def _module(self, module: nn.Module, indent: int) -> str:
        kind = type(module)
        ours = kind.__module__.startswith(__name__.split(".emit.")[0])
        name = self.definitions.name_of(kind) if ours else f"{kind.__module__}.{kind.__qualname__}"
        methods = {
            key: value.__name__
            for key, value in vars(module).items()
            if isinstance(value, MethodType) and value.__self__ is module
        }
        self.definitions.read.update(methods.values())
        read = self.definitions.attributes(kind) if ours else vars(module).keys()
        parts = {key: value for key, value in vars(module).items() if key not in _OWN and key in read}
        parts |= dict(module._parameters) | dict(module._modules)
        items = [
            f"{key}={self.expression(value, indent + 4)}"
            for key, value in parts.items()
            if key not in methods
        ]
        items += [f'{key}={self.definitions.name_of(bound)}("{name}")' for key, name in methods.items()]
        for key, value in module._buffers.items():
            saved = key not in module._non_persistent_buffers_set
            text = "None" if value is None else self._tensor(value)
            items.append(f"{key}=nn.Buffer({text}, persistent={saved})")
        return laid_out("make(", [name, *items], ")", indent)

    def _lambda(self, value: FunctionType, indent: int) -> str:
        """A lambda as it is written, around it one that binds what it closes over."""
        text = self.definitions.lambda_text(value)
        names = value.__code__.co_freevars
        if not names:
            return f"({text})"
        bound = [self.expression(cell.cell_contents, indent + 4) for cell in value.__closure__ or ()]
        return laid_out(f"(lambda {', '.join(names)}: {text})(", bound, ")", indent)

    def _function(self, value: Callable[..., Any]) -> str:
        module = getattr(value, "__module__", "") or ""
        if module.startswith(__name__.split(".emit.")[0]) and "<" not in value.__qualname__:
            return self.definitions.name_of(value)
        for library, holder in _LIBRARIES.items():
            if getattr(holder, getattr(value, "__name__", ""), None) is value:
                if library == "math":
                    self.definitions.imports.add(("math", None))
                return f"{library}.{value.__name__}"
        raise ArtifactError(f"a layer holds {value!r}, which has no name that source can use")

    def _tensor(self, value: Tensor) -> str:
        value = value.detach().cpu()
        kind = str(value.dtype).removeprefix("torch.")
        literal = repr(value.tolist()) if value.numel() < _INLINE else ""
        if (
            0 < len(literal) <= _INLINE
            and "inf" not in literal
            and "nan" not in literal
            and (value.numel() or value.ndim < 2)
        ):
            plain = value.dtype in (torch.int64, torch.bool) and value.numel()
            return f"torch.tensor({literal})" if plain else f"torch.tensor({literal}, dtype={value.dtype})"
        data = value.contiguous().numpy().tobytes()
        name = self.tables.setdefault((kind, tuple(value.shape), data), f"t{len(self.tables)}")
        return f'table("{name}")'

    def table_lines(self) -> list[str]:
        """The packed tables, `TABLES = {name: (dtype, shape, text)}`; empty where there is none."""
        lines = ["TABLES = {"]
        for (kind, shape, data), name in self.tables.items():
            text = base64.b85encode(zlib.compress(data, 9)).decode()
            lines += [f'    "{name}": (', f'        "{kind}",', f"        {shape!r},"]
            lines += [f'        "{text[at : at + 96]}"' for at in range(0, len(text), 96)]
            lines += ["    ),"]
        return [*lines, "}"]


def laid_out(head: str, items: list[str], tail: str, indent: int) -> str:
    """One line where it fits, else one line an item."""
    flat = f"{head}{', '.join(items)}{tail}"
    if "\n" not in flat and len(flat) + indent <= WIDTH:
        return flat
    pad, tail = " " * (indent + 4), tail.lstrip(",")
    return f"{head}\n" + "".join(f"{pad}{item},\n" for item in items) + " " * indent + tail
