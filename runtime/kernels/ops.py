"""What the registered operators share."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .toolchain import KernelError, Toolchain, find_toolchain

# the operators `torch.ops.equic.*`; torch keeps them for as long as this object lives
LIBRARY = torch.library.Library("equic", "DEF")


def toolchain() -> Toolchain:
    """The compiler.

    Raises:
        KernelError: this machine has none.
    """
    found = find_toolchain()
    if found is None:
        raise KernelError(
            "no C compiler was found that can build the kernels",
            help='install one (Debian: `apt install gcc`), or build the model with kernels="reference"',
        )
    return found


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where the numbers of a contiguous tensor lie; null for none."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def threads(of: Toolchain) -> ctypes.c_int64:
    """How many threads a kernel takes: as many as torch."""
    return ctypes.c_int64(torch.get_num_threads() if of.parallel else 1)


def whole(tensor: Tensor | None) -> Tensor | None:
    """The tensor as kernels read it."""
    return None if tensor is None else tensor.contiguous()


def wanted(context: torch.autograd.function.FunctionCtx, count: int) -> list[bool]:
    """Which of the first `count` inputs of a function the running backward pass asks for.

    Beyond `needs_input_grad`: `autograd.grad(energy, positions)` leaves out what only weights need. Of leaves
    the engine does not say; they are asked for (see `not_leaf`).
    """
    needs = context.needs_input_grad[:count]  # type: ignore[attr-defined]
    nodes = [function for function, _ in context.next_functions[:count]]  # type: ignore[attr-defined]
    return [
        need
        and node is not None
        and (node.name().endswith("AccumulateGrad") or torch._C._will_engine_execute_node(node))
        for need, node in zip(needs, nodes, strict=True)
    ]


def not_leaf(weight: Tensor) -> Tensor:
    """The same numbers behind a node of the graph, so that `wanted` can tell whether they are asked for."""
    return weight.view_as(weight)
