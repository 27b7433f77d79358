"""A compiled library at work: addresses are filled in for each call, its workspace is kept between calls."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from equic.runtime.errors import DataError
from torch import Tensor

from ..gemm import alone, blas
from ..ops import threads, toolchain
from .slots import (
    ALIGNMENT,
    ORDERS,
    Alone,
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
from .source import Source
from .writer import WRONG_EDGE, WRONG_SPECIES

# workspaces that wait for the next call: one of any size, whose pages are then in place, more of them up to this
KEPT_BYTES = 512 * 2**20
# of a block of nodes' rows; the least nodes that matrix products are worth, and that a thread is
BLOCK_BYTES, MIN_BLOCK, MIN_SHARE = 2**20, 64, 4
# inputs that C reads, as the sizes (nodes, edges, systems) give them their shapes
_SHAPES = {
    "positions": lambda n, e, s: (n, 3),
    "species": lambda n, e, s: (n,),
    "system": lambda n, e, s: (n,),
    "edges": lambda n, e, s: (2, e),
    "shifts": lambda n, e, s: (e, 3),
    "cell": lambda n, e, s: (s, 3, 3),
    "by_energy": lambda n, e, s: (s,),
    "along_positions": lambda n, e, s: (n, 3),
    "along_strain": lambda n, e, s: (s, 3, 3),
}


class UnfitError(Exception):
    """A call that C was not written for: other dtypes or shapes than models' own inputs and weights have."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where each room begins in the workspace, how many threads have blocks of their own, how many bytes lie between
    the rooms of two of them, and how many there are in all."""

    starts: np.ndarray
    team: int
    stride: int
    bytes: int


class Binding:
    """The library of a source, and where its slots come from. `idle` are workspaces that wait for the next call of this
    one or of another that shares them.

    Raises:
        KernelError: there is no compiler, or it refuses.
    """

    def __init__(self, source: Source, dtype: torch.dtype, idle: list[Tensor]) -> None:
        self.dtype, slots = dtype, source.slots
        called = [slot.origin.source for slot in slots if isinstance(slot.origin, Function)]
        toolchain().prepare([source.text, *called])
        library = toolchain().load(source.text)
        self.parts = [getattr(library, f"part{number}") for number in range(source.parts)]
        for part in self.parts:
            part.restype = ctypes.c_int64
        self.idle = idle
        self.fixed = np.zeros(len(slots), dtype=np.int64)
        self.libraries = []
        for slot in slots:
            match slot.origin:
                case Function(text, name):
                    library = toolchain().load(text)
                    self.libraries.append(library)
                    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
                    assert address is not None  # a function that is there has one
                    self.fixed[slot.number] = address
                case Blas():
                    found = blas(self.dtype)
                    assert found is not None
                    self.fixed[slot.number] = found.value
                case Alone():
                    found = alone()
                    self.fixed[slot.number] = 0 if found is None else found.value
        self.weights = [
            (s.number, s.origin.store, s.origin.key, torch_type(s.ctype, self.dtype))
            for s in slots
            if isinstance(s.origin, Weight)
        ]
        self.given = [
            (s, s.origin.name, torch_type(s.ctype, self.dtype)) for s in slots if isinstance(s.origin, Given)
        ]
        self.own = [s for s in slots if isinstance(s.origin, Made) and s.origin.size is not None]
        room_of, item = source.rooms.of, {"T": self.dtype.itemsize, "double": 8, "int64_t": 8}
        self.buffers = np.array(list(room_of), dtype=np.int64)
        self.room_of = np.array(list(room_of.values()), dtype=np.int64)
        self.lengths = np.array(
            [[size * item[room.ctype] for size in room.size] for room in source.rooms.rooms], dtype=np.int64
        ).reshape(-1, 4)
        self.blocks = np.array([room.block for room in source.rooms.rooms], dtype=bool)
        self.several = np.array([room.several for room in source.rooms.rooms], dtype=bool)
        self.in_blocks = bool(self.blocks.any())
        # of a node and of an edge of a block
        self.block_bytes = tuple(int(size) for size in self.lengths[self.blocks].sum(0)[:2])
        # whether threads may have blocks of their own
        self.shared = alone() is not None
        self._last: tuple[tuple[int, ...], Places] | None = None

    def fits(self, context: Mapping[str, Tensor]) -> bool:
        """Whether what is given so far is of the dtypes and shapes that the library reads, and so are the weights."""
        sizes = context["positions"].shape[0], context["edges"].shape[1], context["cell"].shape[0]
        for _, name, dtype in self.given:
            tensor, shape = context.get(name), _SHAPES.get(name)
            if tensor is not None and (
                tensor.dtype is not dtype or (shape is not None and tensor.shape != shape(*sizes))
            ):
                return False
        held = ((dtype, store[key]) for _, store, key, dtype in self.weights)
        return all(
            tensor is not None and tensor.dtype is dtype and tensor.is_contiguous() for dtype, tensor in held
        )

    def workspace(self, size: int) -> Tensor:
        """Room for so many bytes, to be kept when it is no longer needed."""
        try:
            found = self.idle.pop()
        except IndexError:
            found = None
        if found is None or found.numel() < size + ALIGNMENT:
            found = None  # before there is another one
            # some room to grow: edges come and go while atoms move
            found = torch.empty(size + min(size // 8, 2**24) + ALIGNMENT, dtype=torch.uint8)
        return found

    def keep(self, workspace: Tensor) -> None:
        """Leave a workspace to the next call."""
        if not self.idle or sum(map(torch.numel, (*self.idle, workspace))) <= KEPT_BYTES:
            self.idle.append(workspace)

    def bytes(self, nodes: int, edges: int, systems: int) -> int:
        """How much room a step of these sizes takes, if all nodes have about as many edges."""
        count = threads(toolchain()).value
        block = self.block(nodes, edges, count)
        of_block = -(-edges * block // max(nodes, 1))
        return self.places(nodes, edges, systems, block, of_block, count).bytes

    def block(self, nodes: int, edges: int, count: int = 1) -> int:
        """How many nodes have their turn at a time: about as many as leave their rows in a processor's cache, and so
        that each of `count` threads has as many blocks as the others, all of them alike."""
        if not self.in_blocks:
            return nodes
        of_node, of_edge = self.block_bytes
        each = of_node + of_edge * edges // max(nodes, 1)
        most = max(MIN_BLOCK, BLOCK_BYTES // max(each, 1))
        count = count if self.shared else 1
        turns = count * max(1, round(nodes / (most * count)))
        return max(1, min(nodes, max(-(-nodes // turns), MIN_SHARE)))

    def edges_of_block(self, edges: Tensor, nodes: int, block: int) -> int:
        """The most edges that point at one block of nodes; edges [2, edge] in the order of their targets."""
        if block >= nodes:
            return edges.shape[1]
        ends = np.searchsorted(edges[1].numpy(), np.arange(0, nodes + block, block))
        return int(np.diff(ends).max())

    def places(self, nodes: int, edges: int, systems: int, block: int, of_block: int, count: int) -> Places:
        """Where all lies; known where sizes are those of the last call. `of_block`: how many edges a block of nodes
        has; `count`: of threads."""
        last, wanted = self._last, (nodes, edges, systems, block, of_block, count)
        if last is not None and last[0] == wanted:
            return last[1]
        found = self._places(*wanted)
        self._last = wanted, found
        return found

    def _places(self, nodes: int, edges: int, systems: int, block: int, of_block: int, count: int) -> Places:
        sizes = self.lengths @ np.array((nodes, edges, systems, 1), dtype=np.int64)
        less = np.array((nodes - block, edges - of_block, 0, 0), dtype=np.int64)
        sizes -= self.blocks * (self.lengths @ less)
        if count == 1:
            sizes[self.several] = 0
        sizes = -(-sizes // ALIGNMENT) * ALIGNMENT
        # rooms of blocks lie behind the others, side by side: those of the next thread follow
        order = np.argsort(self.blocks, kind="stable")
        starts = np.empty_like(sizes)
        starts[order] = np.cumsum(sizes[order]) - sizes[order]
        team = min(count, -(-nodes // max(block, 1))) if self.shared else 1
        stride = int(sizes[self.blocks].sum())
        return Places(starts, max(team, 1), stride, int(sizes.sum()) + max(team - 1, 0) * stride)


class Run:
    """One call, with so many threads (those of torch now): room for them is made before they start.

    Raises:
        UnfitError: the inputs or weights are not of the dtypes and shapes that the library reads.
    """

    def __init__(self, binding: Binding, context: Mapping[str, Tensor], count: int | None = None) -> None:
        self.binding, self.context = binding, context
        count = threads(toolchain()).value if count is None else count
        n, e, s = context["positions"].shape[0], context["edges"].shape[1], context["cell"].shape[0]
        self.counts = n, e, s
        self.made: dict[int, Tensor] = {}
        self.held: list[Tensor] = []
        self.pointers = binding.fixed.copy()
        if not binding.fits(context):
            raise UnfitError
        for slot, name, _ in binding.given:
            self._point(slot, context[name].contiguous())
        for number, store, key, _ in binding.weights:
            self.pointers[number] = store[key].data_ptr()  # type: ignore[union-attr]  # it fits
        for slot in binding.own:
            self.made[slot.number] = torch.empty(
                self.shape(slot), dtype=torch_type(slot.ctype, binding.dtype)
            )
            self.pointers[slot.number] = self.made[slot.number].data_ptr()
        block = binding.block(n, e, count)
        of_block = binding.edges_of_block(context["edges"], n, block)
        places = binding.places(n, e, s, block, of_block, count)
        self.workspace = binding.workspace(places.bytes)
        start = -(-self.workspace.data_ptr() // ALIGNMENT) * ALIGNMENT
        self.pointers[binding.buffers] = start + places.starts[binding.room_of]
        self.sizes = np.array((n, e, s, count, 0, block, places.team, places.stride), dtype=np.int64)

    def _point(self, slot: Slot, tensor: Tensor) -> None:
        self.held.append(tensor)
        self.pointers[slot.number] = tensor.data_ptr()

    def shape(self, slot: Slot) -> tuple[int, ...]:
        """Of what lies in a slot."""
        n, e, s = self.counts
        rows = {"node": n, "edge": e, "system": s}.get(str(slot.rows), slot.rows)
        assert isinstance(rows, int)
        return (rows,) if slot.dim is None else (rows, slot.dim)

    def tensor(self, slot: Slot) -> Tensor:
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
        dtype = torch_type(slot.ctype, self.binding.dtype)
        at = int(self.pointers[slot.number]) - self.workspace.data_ptr()
        count = count_of(origin.size, *self.counts)
        flat = self.workspace[at : at + count * dtype.itemsize].view(dtype)
        return flat.view(2, -1) if slot.rows == ORDERS and slot.dim is None else flat.view(self.shape(slot))

    def part(self, number: int) -> None:
        """Run one part.

        Raises:
            DataError, IndexError: an edge names a node that does not exist, or a node a species or system.
        """
        sizes, pointers = ctypes.c_void_p(self.sizes.ctypes.data), ctypes.c_void_p(self.pointers.ctypes.data)
        if wrong := self.binding.parts[number](sizes, pointers):
            raise self._error(wrong)

    def take(self, slot: Slot, value: Tensor) -> None:
        """Let a slot be where a tensor lies."""
        value = value.contiguous()
        if value.dtype is not torch_type(slot.ctype, self.binding.dtype):
            raise UnfitError
        if isinstance(slot.rows, str) and value.shape != self.shape(slot):
            raise UnfitError
        self.made[slot.number] = value
        self.pointers[slot.number] = value.data_ptr()

    def _error(self, wrong: int) -> Exception:
        at = int(self.sizes[4]) - 1
        n, e, s = self.counts
        if wrong == WRONG_EDGE:
            index = self.context["edges"].flatten()[at]
            return DataError(f"edge {at % max(e, 1)} names node {int(index)}, and there are {n}")
        if wrong == WRONG_SPECIES:
            return IndexError(f"atom {at} is of a species that is not among those of the model")
        return DataError(f"atom {at} is of system {int(self.context['system'][at])}, and there are {s}")
