"""The kernels of a traced program as object code that becomes part of its package.

Every call of an operator `equic::…` turns into one of an operator of its own, `equic_package::…`, whose only
arguments are tensors and symbolic sizes; torch is told the C function behind it (see `shims.py`). Their names are
hashes of their code, and nobody outside the package sees them: packages in one process do not meet.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from equic.runtime.kernels import Toolchain, find_toolchain
from torch import Tensor
from torch.export import ExportedProgram

from .shims import shim_declaration, shim_source

LIBRARY = torch.library.Library("equic_package", "DEF")
_DEFINED: dict[str, torch._ops.OpOverload] = {}


@dataclass(slots=True)
class Linked:
    """C files by name, and what torch has to be told of the functions in them."""

    sources: dict[str, str] = field(default_factory=dict)
    declarations: dict[torch._ops.OpOverload, list[str]] = field(default_factory=dict)


def can_link() -> bool:
    """Whether kernels can become part of a package here: a C compiler, and a linker that takes files by name."""
    return sys.platform.startswith("linux") and find_toolchain() is not None


def link_operators(program: ExportedProgram, threads: int) -> Linked:
    """Replace the operators of kernels in the program's graph (in place) by those of a package."""
    found = Linked()
    for node in program.graph.nodes:
        if node.op != "call_function" or getattr(node.target, "namespace", "") != "equic":
            continue
        target: torch._ops.OpOverload = node.target
        names = [argument.name for argument in target._schema.arguments]
        nodes = dict(zip(names, node.args, strict=False)) | node.kwargs
        values = {name: _value(nodes[name]) for name in names}
        operator = target._schema.name.removeprefix("equic::")
        body = shim_source("NAME", operator, values, threads)
        name = f"{operator}_{hashlib.sha256(body.encode()).hexdigest()[:20]}"
        if name not in _DEFINED:
            _DEFINED[name] = _define(name, target, values)
        free = [nodes[key] for key, value in values.items() if isinstance(value, Tensor | torch.SymInt)]
        node.target, node.args, node.kwargs = _DEFINED[name], tuple(free), {}
        found.sources[name] = shim_source(name, operator, values, threads)
        outputs = len(target._schema.returns)
        found.declarations[node.target] = [shim_declaration(name, values, outputs)]
    program.graph_module.recompile()
    return found


@contextmanager
def linking(linked: Linked, folder: Path, isa: str, threads: int) -> Iterator[dict[str, Any]]:
    """Settings of inductor under which a package is compiled that holds the functions of `linked`.

    Raises:
        KernelError: the C code does not compile.
    """
    if not linked.sources:
        yield {}
        return
    found = find_toolchain()
    assert found is not None
    objects = _compile(found, linked.sources, folder, isa, threads)
    before = os.environ.get("LIBRARY_PATH")
    os.environ["LIBRARY_PATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield {
            "aot_inductor.custom_ops_to_c_shims": linked.declarations,
            "aot_inductor.custom_op_libs": [f":{objects.name}"],
        }
    finally:
        if before is None:
            del os.environ["LIBRARY_PATH"]
        else:
            os.environ["LIBRARY_PATH"] = before


def _compile(found: Toolchain, sources: Mapping[str, str], folder: Path, isa: str, threads: int) -> Path:
    target = found.target if isa == "native" else (f"-march={isa}",)
    # errors are exceptions of torch that pass through
    target = (*target, "-fexceptions", "-fvisibility=hidden")
    openmp = ("-fopenmp",) if threads > 1 else ()
    units = [
        found.compile(source, folder / f"{name}.o", (*target, *openmp)) for name, source in sources.items()
    ]
    # inductor may keep what it has linked under the names of what went into it
    digest = hashlib.sha256("\0".join([*sources, isa, found.version]).encode()).hexdigest()[:20]
    return found.join(units, folder / f"equic_{digest}.o")


def _value(argument: Any) -> Any:
    return argument.meta["val"] if isinstance(argument, torch.fx.Node) else argument


def _define(name: str, of: torch._ops.OpOverload, values: Mapping[str, Any]) -> torch._ops.OpOverload:
    """An operator that stands for `of` with all but tensors and symbolic sizes filled in."""
    given = [
        f"{'Tensor' if isinstance(value, Tensor) else 'SymInt'} {key}"
        for key, value in values.items()
        if isinstance(value, Tensor | torch.SymInt)
    ]
    returns = ["Tensor"] * len(of._schema.returns)
    made = returns[0] if len(returns) == 1 else f"({', '.join(returns)})"
    tags = (torch.Tag.needs_contiguous_strides,)
    LIBRARY.define(f"{name}({', '.join(given)}) -> {made}", tags=tags)
    torch.library.register_fake(f"equic_package::{name}", _fake(of, dict(values)), lib=LIBRARY)
    return getattr(torch.ops.equic_package, name).default


def _fake(of: torch._ops.OpOverload, values: dict[str, Any]) -> Callable[..., Any]:
    free = [isinstance(value, Tensor | torch.SymInt) for value in values.values()]
    fixed = [None if here else value for here, value in zip(free, values.values(), strict=True)]

    def fake(*given: Any) -> Any:
        rest = iter(given)
        return of(*(next(rest) if here else value for here, value in zip(free, fixed, strict=True)))

    return fake
