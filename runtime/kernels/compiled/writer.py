"""The C text of a compiled step while it is written: parts of statements, and slots for what they read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from equic.runtime.layers.base import Constant, Layer
from equic.runtime.plan import Step
from torch import Tensor, nn

from .regions import Over, Statement
from .slots import (
    ENDS,
    Alone,
    Blas,
    Buffer,
    CType,
    Function,
    Given,
    Made,
    Origin,
    Size,
    Slot,
    Weight,
    size_of,
)

# errors of a part, by the number it returns; what is wrong lies behind the sizes
WRONG_SPECIES, WRONG_EDGE, WRONG_SYSTEM = 1, 2, 3


if TYPE_CHECKING:
    from .folding import Chain


class UnsupportedError(Exception):
    """A step that has no form in C; it runs by its rule."""


@dataclass(slots=True)
class Value:
    """What a step has made, and how it takes a gradient back: None where nothing it reads moves."""

    slot: Slot
    pull: Callable[[Slot], None] | None = None
    # what `pull` reads
    keeps: tuple[Slot, ...] = ()


@dataclass(slots=True)
class Call:
    """One step to be written: its layer, what it reads, and which of it moves."""

    writer: Writer
    step: Step
    layer: Layer
    inputs: tuple[Slot, ...]
    moves: tuple[bool, ...]
    gradients: Gradients
    strains: bool
    borrowed: Sequence[tuple[Layer, str]] = ()
    # whether nobody but a linear map reads the value
    ahead: bool = False

    def keep(self, *slots: Slot) -> tuple[Slot, ...]:
        """Hold what the way back reads."""
        for slot in slots:
            self.writer.hold(slot)
        return slots

    def species(self, count: int) -> None:
        """The species of the nodes have to be among so many."""
        self.writer.kinds = count if self.writer.kinds is None else min(count, self.writer.kinds)

    def order(self, count: int) -> Slot:
        """Where the rows of nodes go so that those of one species lie side by side (see `sort_rows`)."""
        self.species(count)
        return self.writer.order(count)

    @contextmanager
    def gradient(self, number: int = 0) -> Iterator[Slot]:
        """Room for a gradient by an input, which is added to what is known of it once it is written."""
        like = self.inputs[number]
        made = self.writer.buffer(like.rows, like.dim, like.ctype)
        yield made
        self.give(number, made)
        self.writer.drop(made)

    def give(self, number: int, slot: Slot) -> None:
        """Add a gradient to that by an input."""
        self.gradients.give(self.step.inputs[number], slot)


class Writer:
    """Statements in parts; between two parts something else may run. `blocks`: nodes may have their turns block by
    block (see `regions`)."""

    def __init__(self, dtype: torch.dtype, *, blocks: bool) -> None:
        self.dtype, self.blocks = dtype, blocks
        self.slots: list[Slot] = []
        self.parts: list[list[Statement]] = [[]]
        # what is read and written between two parts
        self.outside: list[frozenset[int]] = []
        self.tables: list[str] = []
        self.kinds: int | None = None
        # tensors that nobody needs once a part is through
        self.freed: dict[int, list[Slot]] = {}
        self._known: dict[Any, Slot] = {}
        self.sorted: tuple[Slot, str] | None = None
        # chains of linear maps by what their last one so far has made, and what C has to choose, with its conditions
        self.chains: dict[int, Chain] = {}
        self.choices: dict[str, str] = {}
        self._condition = ""
        # the slot that says where nodes' edges begin, once it is written
        self.rows: int | None = None

    def line(
        self, text: str, over: Over | None = None, *, reads: Iterable[Slot] = (), sums: Iterable[Slot] = ()
    ) -> None:
        """One statement; slots stand in it by their names (see `Statement`)."""
        numbers = (frozenset(slot.number for slot in some) for some in (reads, sums))
        text = f"if ({self._condition}) {{ {text} }}" if self._condition else text
        self.parts[-1].append(Statement(text, over, *numbers))

    @property
    def condition(self) -> str:
        """When statements run that are written now; empty where always."""
        return self._condition

    def knows(self, key: Any) -> bool:
        """Whether there is a slot of this key."""
        return key in self._known

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Statements that run only where a condition holds."""
        before, self._condition = self._condition, condition
        try:
            yield
        finally:
            self._condition = before

    def choice(self) -> str:
        """The name of a condition that does not hold unless it is chosen when."""
        name = f"CHOICE{len(self.choices)}"
        self.choices[name] = "0"
        return name

    def choose(self, name: str, condition: str) -> None:
        """Say when it holds: of all there is, not of a block of nodes."""
        self.choices[name] = condition

    def between(self, slots: Iterable[Slot]) -> int:
        """Begin another part, before which something else reads and writes slots; its number."""
        self.outside.append(frozenset(slot.number for slot in slots))
        self.parts.append([])
        return len(self.parts) - 1

    def buffer(
        self,
        rows: str | int,
        dim: int | None,
        ctype: CType = "T",
        size: Size | None = None,
        *,
        several: bool = False,
    ) -> Slot:
        """Room for so many rows, held once; `several`: where there are several threads."""
        size = size_of(rows, 1 if dim is None else dim) if size is None else size
        return self._slot(ctype, Buffer(size, several), rows, dim)

    def hold(self, slot: Slot) -> None:
        """Somebody else needs what lies there."""
        slot.holders += 1

    def drop(self, slot: Slot) -> None:
        """Somebody needs it no more."""
        slot.holders -= 1
        if slot.holders == 0 and isinstance(slot.origin, Made):
            self.freed.setdefault(len(self.parts) - 1, []).append(slot)

    def given(self, name: str, ctype: CType, rows: str | int = 0, dim: int | None = None) -> Slot:
        """An input or a statistic."""
        return self.once(("given", name), ctype, Given(name), rows, dim)

    def weight(self, module: nn.Module, key: str, rows: int = 0, dim: int | None = None) -> Slot:
        """A parameter or a buffer of a module, as it is at each call."""
        store: Mapping[str, Tensor | None] = (
            module._parameters if key in module._parameters else module._buffers  # type: ignore[assignment]
        )
        held = store.get(key)
        if held is None:
            raise UnsupportedError(f"{type(module).__name__} has no {key}")
        ctype: CType = "int64_t" if held.dtype is torch.int64 else "T"
        return self.once(("weight", id(store), key), ctype, Weight(store, key), rows, dim)

    def constant(self, held: Constant) -> Slot:
        """A table of a layer."""
        return self.weight(held, "value")

    def kernel(self, source: str, name: str) -> str:
        """A kernel of another library, to be called."""
        return f"((kernel_t){self.once(('kernel', source, name), 'void', Function(source, name))})"

    def blas(self) -> str:
        """The matrix product, to be called."""
        return f"((gemm_t){self.once('blas', 'void', Blas())})"

    def alone(self) -> Slot:
        """What makes the products of a thread its own work."""
        return self.once("alone", "void", Alone())

    def made(self, key: tuple[str, ...], ctype: CType, rows: str | int, dim: int | None, own: bool) -> Slot:
        """A tensor of a call: made for it where `own`, else given by a rule in Python."""
        size = size_of(rows, 1 if dim is None else dim) if own else None
        return self._slot(ctype, Made(key, size), rows, dim)

    def table(self, ctype: str, values: Sequence[Any]) -> str:
        """Constants, by a name of their own."""
        name = f"t{len(self.tables)}"
        numbers = ", ".join(repr(value) for value in values) or "0"
        self.tables.append(f"static const {ctype} {name}[] = {{{numbers}}};")
        return name

    def order(self, kinds: int) -> Slot:
        """Where the rows of nodes go; made where it is first wanted for all that follows, or anew for each block."""
        if self.sorted is None:
            species = self.given("species", "int64_t", "node", None)
            slot = self.buffer("node", None, "int64_t", size=(1, 0, 0, kinds))
            self.sorted = slot, f"sort_rows(N, {kinds}, {species}, {slot});"
            if not self.blocks:
                self.line(self.sorted[1])
        return self.sorted[0]

    def checks(self) -> list[Statement]:
        """What is looked at before anything is read: indices must lie inside of what they index."""
        tests = [
            (WRONG_EDGE, self.given("edges", "int64_t", ENDS), "2 * E", "N"),
            (WRONG_SYSTEM, self.given("system", "int64_t", "node"), "N", "S"),
        ]
        if self.kinds is not None:
            tests.append((WRONG_SPECIES, self.given("species", "int64_t", "node"), "N", str(self.kinds)))
        return [
            Statement(f"if ((sizes[4] = outside({count}, {slot}, {limit}))) return {code};", "all")
            for code, slot, count, limit in tests
        ]

    def once(
        self, key: Any, ctype: CType, origin: Origin, rows: str | int = 0, dim: int | None = None
    ) -> Slot:
        """The slot of a key, made where it is not known yet."""
        if key not in self._known:
            self._known[key] = self._slot(ctype, origin, rows, dim)
        return self._known[key]

    def _slot(self, ctype: CType, origin: Origin, rows: str | int, dim: int | None) -> Slot:
        slot = Slot(len(self.slots), ctype, origin, rows, dim, holders=1)
        self.slots.append(slot)
        return slot


@dataclass(slots=True)
class Gradients:
    """What is known of the gradient by each step's value while the way back is written."""

    writer: Writer
    found: dict[str, Slot] = field(default_factory=dict)

    def into(self, name: str, rows: str | int, dim: int | None, ctype: CType = "T") -> tuple[Slot, bool]:
        """Where to add a gradient, and whether nothing lies there yet."""
        known = self.found.get(name)
        if known is None:
            known = self.found[name] = self.writer.buffer(rows, dim, ctype)
            return known, True
        if known.holders > 1 or not isinstance(known.origin, Buffer):  # others read it
            own = self.writer.buffer(rows, dim, ctype)
            size = {"T": "T", "double": "double"}[ctype]
            self.writer.line(f"memcpy({own}, {known}, {own.numbers} * sizeof({size}));")
            self.writer.drop(known)
            known = self.found[name] = own
        return known, False

    def give(self, name: str, slot: Slot) -> None:
        """Add what lies in a slot, which is held once more if it is kept."""
        known = self.found.get(name)
        if known is None:
            self.writer.hold(slot)
            self.found[name] = slot
            return
        add = {"T": "add", "double": "add_double"}[slot.ctype]
        own = known.holders == 1 and isinstance(known.origin, Buffer)
        out = known if own else self.writer.buffer(known.rows, known.dim, known.ctype)
        self.writer.line(f"{add}({known.numbers}, threads, {known}, {slot}, {out});")
        if not own:
            self.writer.drop(known)
            self.found[name] = out
