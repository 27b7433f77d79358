"""Load an exported `.pt2` file and run it like a model. Needs torch; not the compiler, not the weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from equic.runtime.errors import ExportError
from equic.runtime.neighbors.line_graph import with_derived
from equic.runtime.plan import Plan
from torch import Tensor

from .metadata import read_metadata
from .signature import DERIVED_INPUTS, DTYPES, SIZES, Port

Runner = Callable[[list[Tensor]], list[Tensor]]

CHECKS = "AOTI_RUNTIME_CHECK_INPUTS"

# Instruction sets that a package may have been compiled for, and how torch says that this machine has them.
_CAPABILITIES = {"AVX2": torch.cpu._is_avx2_supported, "AVX512": torch.cpu._is_avx512_supported}


class Exported:
    """A compiled model: `forward(inputs) -> outputs`, with forces and stress computed inside.

    Inputs and outputs are those of the model it was exported from (`inputs`, `outputs` list them with shapes
    and dtypes). Every call makes the inputs contiguous and checks dtypes, sizes that must agree, and index
    ranges: compiled code itself would read past the end of a tensor that is too short.

    Attributes:
        plan: the plan of the model.
        metadata: certificate, probes, units, versions, hashes; see `export_pt2`.
        dtype: the floating-point type that the network computes in.
        device: where it runs.
    """

    def __init__(self, path: Path, metadata: dict[str, Any], runner: Runner) -> None:
        self.path = path
        self.metadata = metadata
        self.plan = Plan.from_json(metadata["plan"])
        self.dtype = DTYPES[metadata["dtype"]]
        self.device = torch.device(metadata["device"])
        self.inputs = tuple(Port.from_json(port) for port in metadata["inputs"])
        self.outputs = tuple(Port.from_json(port) for port in metadata["outputs"])
        self._runner = runner

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name; the arguments are those of the model's own `forward`.

        Raises:
            ExportError: an input is missing, has the wrong dtype, rank or device, sizes do not agree, or an
                index (species, system, edges) is out of range.
        """
        if self.plan.kind == "phase_space":
            return self._flow(inputs)
        inputs = completed(self.inputs, inputs)
        arguments = check_inputs(self.inputs, inputs, self.device)
        check_indices(inputs, n_species=len(self.plan.system["species"]))
        return self._run(arguments)

    __call__ = forward

    def _flow(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """States may come in either floating-point type, and derivatives go back in it, as in the model."""
        state = inputs.get("state")
        if state is None or state.dtype not in (torch.float32, torch.float64):
            return self._run(check_inputs(self.inputs, inputs, self.device))  # which refuses it
        outputs = self._run(check_inputs(self.inputs, {"state": state.double()}, self.device))
        return {name: value.to(state.dtype) for name, value in outputs.items()}

    def _run(self, arguments: list[Tensor]) -> dict[str, Tensor]:
        values = self._runner(arguments)
        return {port.name: value for port, value in zip(self.outputs, values, strict=True)}

    def __repr__(self) -> str:
        return f"Exported({self.plan.name!r}, {self.metadata['dtype']}, {self.metadata['isa']}, {self.path})"


def load_pt2(path: str | Path) -> Exported:
    """Load a file that `export_pt2` wrote.

    The metadata is read and judged before any of the file's code is loaded. The file holds compiled code:
    load only files from people you trust. Sets `AOTI_RUNTIME_CHECK_INPUTS=1` unless the variable is set
    already, so that torch, too, checks shapes and dtypes at run time (it reads the variable once per package,
    at the first call).

    Raises:
        ExportError: not a package, not written by equic, made for another processor or device, or torch
            cannot load it (most often: another version of torch).
    """
    path = Path(path)
    metadata, device_facts = read_metadata(path)
    _check_machine(path, metadata, device_facts)
    os.environ.setdefault(CHECKS, "1")
    try:
        runner = _open(str(path.resolve()))
    except Exception as problem:
        made, here = metadata["versions"]["torch"], torch.__version__
        raise ExportError(
            f"torch {here} cannot load `{path}`, which torch {made} compiled: {problem}",
            help="export it again on this machine" if made != here else None,
        ) from problem
    return Exported(path, metadata, runner)


def completed(ports: tuple[Port, ...], inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The inputs with those that follow from edges and shifts, where the program takes them.

    Raises:
        DataError: an edge without one that leads back, where the model reads these.
    """
    wanted = [port.name for port in ports if port.name in DERIVED_INPUTS]
    return with_derived(inputs, wanted) if wanted and {"edges", "shifts"} <= inputs.keys() else inputs


def check_inputs(ports: tuple[Port, ...], inputs: Mapping[str, Tensor], device: torch.device) -> list[Tensor]:
    """The inputs in order, contiguous, of the right dtypes and of sizes that agree.

    Raises:
        ExportError: see `Exported.forward`.
    """
    sizes: dict[str, int] = {}
    owner: dict[str, str] = {}
    arguments = []
    for port in ports:
        if port.name not in inputs:
            raise ExportError(
                f"the exported model needs the input `{port.name}`",
                help=f"it takes {', '.join(port.name for port in ports)}",
            )
        value = inputs[port.name]
        if value.dtype != DTYPES[port.dtype]:
            got = str(value.dtype).removeprefix("torch.")
            raise ExportError(
                f"input `{port.name}` is {got}, and the exported model takes {port.dtype}",
                help="convert it before the call: the numbers would be misread",
            )
        if value.device.type != device.type:
            raise ExportError(
                f"input `{port.name}` is on {value.device}, and the exported model runs on {device}"
            )
        if value.dim() != len(port.shape):
            raise ExportError(f"input `{port.name}` has shape {tuple(value.shape)}, expected {port}")
        for size, word in zip(value.shape, port.shape, strict=True):
            if isinstance(word, int):
                if size != word:
                    raise ExportError(f"input `{port.name}` has shape {tuple(value.shape)}, expected {port}")
            elif sizes.setdefault(word, size) != size:
                raise ExportError(
                    f"`{owner[word]}` has {sizes[word]} {word}, but `{port.name}` has {size}",
                    help="both must come from the same batch",
                )
            elif not SIZES[word][0] <= size <= SIZES[word][1]:
                low, high = SIZES[word]
                raise ExportError(f"`{port.name}` has {size} {word}, and the model takes {low} to {high}")
            else:
                owner.setdefault(word, port.name)
        arguments.append(_packed(value.detach()))
    return arguments


def _packed(value: Tensor) -> Tensor:
    """`value` with the strides of a fresh tensor of its shape.

    `contiguous()` is not enough: it lets strides of empty and of length-one dimensions be anything, and the
    compiled program was promised the usual ones.
    """
    expected = 1
    for size, stride in zip(reversed(value.shape), reversed(value.stride()), strict=True):
        if stride != expected:
            return torch.empty(value.shape, dtype=value.dtype, device=value.device).copy_(value)
        expected *= max(size, 1)
    return value


def check_indices(inputs: Mapping[str, Tensor], *, n_species: int) -> None:
    """Species, system and edges point at something that is there.

    Raises:
        ExportError: an index is out of range.
    """
    atoms, systems = inputs["positions"].shape[0], inputs["cell"].shape[0]
    for name, limit, what in (
        ("species", n_species, "species"),
        ("system", systems, "systems"),
        ("edges", atoms, "atoms"),
    ):
        index = inputs[name]
        if index.numel() == 0:
            continue
        low, high = (int(bound) for bound in torch.aminmax(index))
        if low < 0 or high >= limit:
            raise ExportError(
                f"input `{name}` has the index {low if low < 0 else high}, and there are {limit} {what}"
            )


def _check_machine(path: Path, metadata: dict[str, Any], facts: dict[str, str]) -> None:
    """A wrong instruction set would end the process, not raise: refuse before anything is loaded."""
    wanted = facts.get("AOTI_CPU_ISA", "").split()
    missing = [name for name in wanted if name in _CAPABILITIES and not _CAPABILITIES[name]()]
    if missing:
        raise ExportError(
            f"`{path}` was compiled for a processor with {' and '.join(missing)}, which this one lacks",
            help="export it on this machine",
        )
    if metadata["device"].startswith("cuda") and not torch.cuda.is_available():
        raise ExportError(
            f"`{path}` was compiled for CUDA, and torch sees no CUDA device",
            help="export it with `--device cpu`",
        )


def _open(path: str) -> Runner:
    """Torch's loader itself, the one that C++ hosts use: the documented way to it imports inductor, for seconds."""
    try:
        return torch._C._aoti.AOTIModelPackageLoader(path, "model", False, 1, -1).run
    except (AttributeError, TypeError):  # a torch that has moved it
        load = torch._inductor.aoti_load_package(path)
        return lambda arguments: list(load(*arguments))
