"""What runs a compiled step: addresses are filled in, its parts called, and rules in Python between them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from equic.runtime.errors import DataError
from equic.runtime.plan import Step
from torch import Tensor

from ..gemm import blas, has_blas
from ..ops import threads, toolchain
from .build import Builder, Rule
from .slots import (
    ALIGNMENT,
    ORDERS,
    Blas,
    Buffer,
    Function,
    Given,
    Made,
    Slot,
    Weight,
    count_of,
    torch_type,
)
from .writer import WRONG_EDGE, WRONG_SPECIES

if TYPE_CHECKING:
    from ..runner import Runner

# workspaces that wait for the next call: one of any size, whose pages are then in place, more of them up to this
KEPT_BYTES = 512 * 2**20
# inputs that C reads, as the sizes (nodes, edges, systems) give them their shapes
_SHAPES = {
    "positions": lambda n, e, s: (n, 3),
    "species": lambda n, e, s: (n,),
    "system": lambda n, e, s: (n,),
    "edges": lambda n, e, s: (2, e),
    "shifts": lambda n, e, s: (e, 3),
    "cell": lambda n, e, s: (s, 3, 3),
}


class UnfitError(Exception):
    """A call that C was not written for: other dtypes or shapes than models' own inputs and weights have."""


class CompiledStep:
    """One program in C for numbers of one dtype.

    Raises:
        KernelError: there is no compiler, or it refuses.
    """

    def __init__(self, runner: Runner, dtype: torch.dtype) -> None:
        self.dtype, self.runner = dtype, runner
        self.ends = [step for step in runner.steps if step.layer in ("grad", "poisson")]
        steps = [step for step in runner.steps if step.layer not in ("grad", "poisson")]
        wanted = set(runner.wanted) - {step.name for step in self.ends}
        scalar = next(iter(runner.scalars), None)
        builder = Builder(
            steps, runner.layers, runner.moved, wanted, scalar, runner.strains, runner.borrowed, dtype
        )
        self.text = builder.write()
        self.leaf = next(
            (s.name for s in steps if s.layer == "input" and s.params["field"] == "positions"), ""
        )
        called = [slot.origin.source for slot in self.text.slots if isinstance(slot.origin, Function)]
        toolchain().prepare([self.text.source, *called])
        library = toolchain().load(self.text.source)
        self.parts = {}
        for item in self.text.order:
            if isinstance(item, int):
                self.parts[item] = getattr(library, f"part{item}")
                self.parts[item].restype = ctypes.c_int64
        self._sort_slots()
        self.idle: list[Tensor] = []

    def _sort_slots(self) -> None:
        slots = self.text.slots
        self.fixed = np.zeros(len(slots), dtype=np.int64)
        self.libraries = []
        for slot in slots:
            match slot.origin:
                case Function(source, name):
                    library = toolchain().load(source)
                    self.libraries.append(library)
                    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
                    self.fixed[slot.number] = address
                case Blas():
                    found = blas(self.dtype)
                    assert found is not None
                    self.fixed[slot.number] = found.value
        self.weights = [(s, s.origin.store, s.origin.key) for s in slots if isinstance(s.origin, Weight)]
        self.given = [
            (s, s.origin.name, torch_type(s.ctype, self.dtype)) for s in slots if isinstance(s.origin, Given)
        ]
        self.own = [s for s in slots if isinstance(s.origin, Made) and s.origin.size is not None]
        buffers = [s for s in slots if isinstance(s.origin, Buffer)]
        self.buffers = np.array([s.number for s in buffers], dtype=np.int64)
        item = {"T": self.dtype.itemsize, "double": 8, "int64_t": 8}
        self.lengths = np.array(
            [
                [size * item[s.ctype] for size in s.origin.size]
                for s in buffers
                if isinstance(s.origin, Buffer)
            ],
            dtype=np.int64,
        ).reshape(-1, 4)

    def bytes(self, nodes: int, edges: int, systems: int) -> int:
        """How much room a step of these sizes takes."""
        return int(self.places(nodes, edges, systems)[1])

    def places(self, nodes: int, edges: int, systems: int) -> tuple[np.ndarray, int]:
        """Where each buffer begins in the workspace, and where the last one ends."""
        sizes = self.lengths @ np.array((nodes, edges, systems, 1), dtype=np.int64)
        ends = np.cumsum(-(-sizes // ALIGNMENT) * ALIGNMENT)
        return ends - -(-sizes // ALIGNMENT) * ALIGNMENT, int(ends[-1]) if len(ends) else 0

    def __call__(self, context: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of the runner's output steps.

        Raises:
            UnfitError: the inputs or weights are not of the dtypes and shapes that the program reads.
            DataError, IndexError: an edge names a node that does not exist, or a node a species.
        """
        run = _Run(self, context)
        try:
            return run.values()
        finally:
            if not self.idle or sum(map(torch.numel, (*self.idle, run.workspace))) <= KEPT_BYTES:
                self.idle.append(run.workspace)


class _Run:
    """One call."""

    def __init__(self, program: CompiledStep, context: Mapping[str, Tensor]) -> None:
        self.program, self.context = program, context
        n, e, s = context["positions"].shape[0], context["edges"].shape[1], context["cell"].shape[0]
        self.counts = n, e, s
        self.rules: dict[str, object] = {}
        self.made: dict[int, Tensor] = {}
        self.held: list[Tensor] = []
        self.pointers = program.fixed.copy()
        for slot, name, dtype in program.given:
            self._point(slot, self._input(name, dtype))
        for slot, store, key in program.weights:
            tensor = store[key]
            if (
                tensor is None
                or tensor.dtype is not torch_type(slot.ctype, program.dtype)
                or not tensor.is_contiguous()
            ):
                raise UnfitError
            self.pointers[slot.number] = tensor.data_ptr()
        for slot in program.own:
            self.made[slot.number] = torch.empty(
                self._shape(slot), dtype=torch_type(slot.ctype, program.dtype)
            )
            self.pointers[slot.number] = self.made[slot.number].data_ptr()
        offsets, total = program.places(n, e, s)
        self.workspace = self._workspace(total)
        start = -(-self.workspace.data_ptr() // ALIGNMENT) * ALIGNMENT
        self.start = start - self.workspace.data_ptr()
        self.pointers[program.buffers] = start + offsets
        self.sizes = np.array((n, e, s, threads(toolchain()).value, 0), dtype=np.int64)

    def _workspace(self, total: int) -> Tensor:
        try:
            found = self.program.idle.pop()
        except IndexError:
            found = None
        if found is None or found.numel() < total + ALIGNMENT:
            # some room to grow: edges come and go while atoms move
            found = torch.empty(total + min(total // 8, 2**24) + ALIGNMENT, dtype=torch.uint8)
        return found

    def _input(self, name: str, dtype: torch.dtype) -> Tensor:
        tensor = self.context[name]
        shape = _SHAPES.get(name)
        if tensor.dtype is not dtype or (shape is not None and tensor.shape != shape(*self.counts)):
            raise UnfitError
        return tensor.contiguous()

    def _point(self, slot: Slot, tensor: Tensor) -> None:
        self.held.append(tensor)
        self.pointers[slot.number] = tensor.data_ptr()

    def _shape(self, slot: Slot) -> tuple[int, ...]:
        n, e, s = self.counts
        rows = {"node": n, "edge": e, "system": s}.get(str(slot.rows), slot.rows)
        assert isinstance(rows, int)
        return (rows,) if slot.dim is None else (rows, slot.dim)

    def _tensor(self, slot: Slot) -> Tensor:
        """What lies in a slot."""
        origin = slot.origin
        if isinstance(origin, Made):
            return self.made[slot.number]
        if isinstance(origin, Given):
            return self.context[origin.name]
        if isinstance(origin, Weight):
            held = origin.store[origin.key]
            assert held is not None
            return held
        assert isinstance(origin, Buffer)
        dtype = torch_type(slot.ctype, self.program.dtype)
        at = int(self.pointers[slot.number] - self.pointers[self.program.buffers[0]]) + self.start
        count = count_of(origin.size, *self.counts)
        flat = self.workspace[at : at + count * dtype.itemsize].view(dtype)
        return flat.view(2, -1) if slot.rows == ORDERS and slot.dim is None else flat.view(self._shape(slot))

    def values(self) -> dict[str, Tensor]:
        """Everything in order."""
        program = self.program
        sizes, pointers = ctypes.c_void_p(self.sizes.ctypes.data), ctypes.c_void_p(self.pointers.ctypes.data)
        for item in program.text.order:
            if isinstance(item, Rule):
                self._rule(item)
                continue
            if wrong := program.parts[item](sizes, pointers):
                raise self._error(wrong)
            for slot in program.text.freed.get(item, ()):
                self.made.pop(slot.number, None)
        found = {name: self._tensor(slot) for name, slot in program.text.values.items()}
        for step in program.ends:
            found[step.name] = self._derivative(step)
        return {name: found[name] for name in program.runner.wanted}

    def _rule(self, rule: Rule) -> None:
        runner, step = self.program.runner, rule.step
        if rule.back is None:
            made = runner.makers[step.name]()
            values = [self._tensor(slot) for slot in rule.inputs]
            wants = [name in runner.moved for name in step.inputs]
            value = made.run(values, runner.read(step, self.context), wants)
            self.rules[step.name] = made
            self._take(rule.value, value)
            return
        g, slots = rule.back
        gradient = self._tensor(g).clone()
        found = self.rules.pop(step.name).pull(gradient)  # type: ignore[attr-defined]
        for slot, value, read in zip(slots, found, rule.inputs, strict=True):
            if slot is not None:
                self._take(slot, torch.zeros_like(self._tensor(read)) if value is None else value)

    def _take(self, slot: Slot, value: Tensor) -> None:
        value = value.contiguous()
        if value.dtype is not torch_type(slot.ctype, self.program.dtype):
            raise UnfitError
        if isinstance(slot.rows, str) and value.shape != self._shape(slot):
            raise UnfitError
        self.made[slot.number] = value
        self.pointers[slot.number] = value.data_ptr()

    def _derivative(self, step: Step) -> Tensor:
        runner = self.program.runner
        wrt = step.params["wrt"]
        slot = self.program.text.gradients.get(self.program.leaf if wrt == "positions" else "strain")
        like = self.context["positions" if wrt == "positions" else "cell"]
        gradient = torch.zeros_like(like) if slot is None else self._tensor(slot).view(like.shape)
        return runner.layers[step.name](gradient, *runner.read(step, self.context))

    def _error(self, wrong: int) -> Exception:
        at = int(self.sizes[4]) - 1
        n, e, s = self.counts
        if wrong == WRONG_EDGE:
            index = self.context["edges"].flatten()[at]
            return DataError(f"edge {at % max(e, 1)} names node {int(index)}, and there are {n}")
        if wrong == WRONG_SPECIES:
            return IndexError(f"atom {at} is of a species that is not among those of the model")
        return DataError(f"atom {at} is of system {int(self.context['system'][at])}, and there are {s}")


def compiled_step(runner: Runner, dtype: torch.dtype) -> CompiledStep | None:
    """The program of a runner; None where it differentiates more than one scalar, reads derivatives again, or where
    torch hides its BLAS."""
    ends = {step.name for step in runner.steps if step.layer in ("grad", "poisson")}
    if not has_blas() or len(runner.scalars) > 1 or any(ends & set(step.inputs) for step in runner.steps):
        return None
    return CompiledStep(runner, dtype)
