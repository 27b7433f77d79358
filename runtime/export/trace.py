"""From a module to an exported program: derivatives become ordinary operations of the graph.

`torch.export` alone cannot look through `autograd.grad`. `make_fx` with symbolic sizes runs the model once on
tensors without data and records every operation, those of the backward pass included; the straight line that
results is what `torch.export` then takes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from equic.runtime.build import Kernels, Model, build_module
from equic.runtime.errors import ExportError
from torch import Tensor
from torch.export import Dim, ExportedProgram

from .samples import trace_inputs
from .signature import SIZES, Port, input_ports, name_dtype, name_shape


@dataclass(frozen=True, slots=True)
class Traced:
    """An exported program, its boundary, and under which name it keeps each weight and statistic.

    With `constants` (ours -> the program's) new weights can be put into a compiled package, which knows its own
    names only.
    """

    program: ExportedProgram
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    constants: dict[str, str]


def recast(
    model: Model, dtype: torch.dtype, device: torch.device | str = "cpu", *, kernels: Kernels | None = None
) -> Model:
    """The same model in another floating-point type, without gradients on its weights; on the same kernels,
    unless others are named.

    It is built anew from its plan, so that constant tables have the full precision of `dtype`; what was
    learned or measured (weights, statistics) is copied.
    """
    kernels = kernels or model.choice
    if model.exact is not None and dtype != model.dtype:  # tables are made in float64, then rounded
        from equic.runtime.tabulate import build_tables

        exact = recast(model.exact, dtype, kernels=kernels)
        return build_tables(exact, model.plan.deploy["tabulate"]["radial"]).to(device)
    twin = build_module(model.plan, seed=0, dtype=dtype, kernels=kernels)
    learned = {name for name, _ in model.named_parameters()}
    state = model.state_dict()
    with torch.no_grad():
        for name, value in twin.state_dict().items():
            if name in learned or name.startswith("statistics."):
                value.copy_(state[name])
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    if model.exact is not None:
        twin.remember_exact(model.exact)
    return twin.eval().to(device)


def trace(model: Model) -> Traced:
    """Trace `model` (whose weights take no gradients) with dynamic atoms, edges, systems or batch.

    Raises:
        ExportError: the model fixes a size that should be free, or uses an operation that cannot be traced.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    plan = model.plan
    ports = input_ports(plan)
    example, sizes = trace_inputs(plan, _sizes_of(model))
    device = next(iter(model.state_dict().values())).device
    arguments = tuple(example[port.name].to(device) for port in ports)
    names: list[str] = []

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        outputs = model({port.name: value for port, value in zip(ports, values, strict=True)})
        names[:] = list(outputs)
        return tuple(value.detach() for value in outputs.values())

    dims = {word: Dim(word, min=SIZES[word][0], max=SIZES[word][1]) for word in sizes}
    dynamic = tuple(
        {axis: dims[size] for axis, size in enumerate(port.shape) if isinstance(size, str)} for port in ports
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about its own pytrees
            graph = make_fx(run, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*arguments)
            program = torch.export.export(graph, arguments, dynamic_shapes=dynamic)
    except Exception as problem:
        raise ExportError(f"the model could not be traced: {_first_line(problem)}") from problem
    values = run(*arguments)
    outputs = tuple(
        Port(name, name_dtype(value.dtype), name_shape(value.shape, sizes))
        for name, value in zip(names, values, strict=True)
    )
    return Traced(program, ports, outputs, _names_of_weights(model, program))


def _names_of_weights(model: Model, program: ExportedProgram) -> dict[str, str]:
    """Tracing gives constants names of its own, but keeps the tensors: the same memory is the same weight."""
    kept = {value.data_ptr(): name for name, value in {**program.state_dict, **program.constants}.items()}
    state = model.state_dict(keep_vars=True)
    return {name: kept[value.data_ptr()] for name, value in state.items() if value.data_ptr() in kept}


def _sizes_of(model: Model) -> set[int]:
    """Every size of a tensor of the model: the sizes that inputs are traced with must differ from them."""
    return {size for value in model.state_dict().values() for size in value.shape} | {
        step.dim for step in model.plan.steps
    }


def _first_line(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__
