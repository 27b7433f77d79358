"""A model's program as C: its steps in order, then the gradient of its scalar step by step back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from equic.runtime.layers.act import Gate, Pointwise
from equic.runtime.layers.algebra import Add, Concat, Weigh
from equic.runtime.layers.base import Layer
from equic.runtime.layers.by_species import AllSpecies, Lookup
from equic.runtime.layers.derivatives import Grad
from equic.runtime.layers.geometry import Length, Relative, SphericalHarmonics
from equic.runtime.layers.indexing import Gather, SumEdges, SumSystem
from equic.runtime.layers.inputs import Embed, Input, ShiftScale
from equic.runtime.layers.linear import Linear
from equic.runtime.layers.merged import Merged, Part
from equic.runtime.layers.mlp import Mlp
from equic.runtime.layers.networks import Keep
from equic.runtime.layers.radial import Radial
from equic.runtime.plan import Step

from ..around import Around
from ..couple import Couple
from ..density import DensityKernel
from ..edges import EdgeOrder
from ..message import Message
from ..power import PowerKernel
from ..table import TableKernel, TableMessage
from . import densities, ends, folding, maps, products, rows, sums
from .pieces import pieces
from .regions import Statement
from .slots import Slot
from .source import Source, source_of
from .writer import Call, Gradients, UnsupportedError, Value, Writer

_ROWS = {"node", "edge", "system"}
_KINDS = (ends, products, folding, maps, rows, sums, densities)


@dataclass(frozen=True, slots=True)
class Rule:
    """A step that runs by its rule in Python, on the way there (or back), between two parts."""

    step: Step
    inputs: tuple[Slot, ...]
    value: Slot
    # on the way back: the gradient by the value, and of each input that moves where its own goes
    back: tuple[Slot, tuple[Slot | None, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """The whole: its source, and the order of parts (by number) and rules."""

    source: Source
    order: tuple[int | Rule, ...]
    values: Mapping[str, Slot]
    gradients: Mapping[str, Slot]
    # tensors of rules that nobody needs once a part is through
    freed: Mapping[int, Sequence[Slot]]


class Builder:
    """Writes a program. `scalar` is the step that is differentiated, None where none is; `ends` are its derivatives,
    which are among the values where C gives them."""

    def __init__(
        self,
        steps: Sequence[Step],
        layers: Mapping[str, Layer],
        moved: set[str],
        wanted: set[str],
        scalar: str | None,
        strains: bool,
        borrowed: Mapping[str, Sequence[tuple[Layer, str]]],
        dtype: torch.dtype,
        *,
        ends: Sequence[Step] = (),
        blocks: bool,
    ) -> None:
        self.steps, self.layers, self.moved = steps, layers, moved
        self.wanted, self.scalar, self.strains, self.borrowed = wanted, scalar, strains, borrowed
        self.ends = ends
        self.leaf = next(
            (s.name for s in steps if s.layer == "input" and s.params["field"] == "positions"), ""
        )
        self.writer = Writer(dtype, blocks=blocks)
        self.gradients = Gradients(self.writer)
        self.values: dict[str, Value] = {}
        self.made: list[int | Rule] = [0]
        # copied when all else is done, which blocks of nodes need not wait for
        self.late: list[tuple[Slot, Slot]] = []

    def write(self) -> Text:
        """All of it."""
        last = {name: i for i, step in enumerate(self.steps) for name in (step.name, *step.inputs)}
        back = self.scalar is not None
        # the order of the edges reads nothing else, and blocks of nodes need it
        first = [step for step in self.steps if isinstance(self.layers[step.name], EdgeOrder)]
        for step in first:
            self.values[step.name] = self._forward(step)
        for i, step in enumerate(self.steps):
            value = self.values[step.name] if step in first else self._forward(step)
            self.values[step.name] = value
            if not (back and step.name in self.moved):
                for slot in value.keeps:
                    self.writer.drop(slot)
            for name in dict.fromkeys((step.name, *step.inputs)):
                if last[name] == i and name not in self.wanted and name != self.scalar:
                    self.writer.drop(self.values[name].slot)
        derived: dict[str, Slot] = {}
        if self.scalar is not None:
            self._backward()
            derived = self._derivatives()
        for new, old in self.late:
            self._copy(new, old)
        self.writer.parts[0][:0] = self.writer.checks()
        sources = (kind.SOURCE for kind in _KINDS)
        values = {name: self.values[name].slot for name in self.wanted} | derived
        gradients = dict(self.gradients.found)
        return Text(
            source_of(
                self.writer, (pieces(self.writer.dtype), *sources), (*values.values(), *gradients.values())
            ),
            tuple(self.made),
            values,
            gradients,
            self.writer.freed,
        )

    def _forward(self, step: Step) -> Value:
        layer = self.layers[step.name]
        reads = () if isinstance(layer, EdgeOrder) else step.inputs
        inputs = tuple(self.values[name].slot for name in reads)
        moves = tuple(name in self.moved for name in step.inputs)
        borrowed = self.borrowed[step.name]
        ahead = self._ahead(step)
        call = Call(self.writer, step, layer, inputs, moves, self.gradients, self.strains, borrowed, ahead)
        write = emitter(layer)
        own = step.name in self.wanted
        if write is not None and not (own and step.index not in _ROWS):
            try:
                value = write(call, layer)
            except UnsupportedError:
                pass
            else:
                return self._out(step, value) if own else value
        return self._by_rule(step, inputs, moves)

    def _ahead(self, step: Step) -> bool:
        """Whether nobody reads a value of nodes but one linear map, with which what made it may be folded."""
        layer, readers = self.layers[step.name], [other for other in self.steps if step.name in other.inputs]
        kept = step.name in self.wanted or step.name == self.scalar or step.index != "node"
        if kept or len(readers) != 1 or (isinstance(layer, Linear) and layer.bias is not None):
            return False
        reader = self.layers[readers[0].name]
        return isinstance(reader, Linear) and emitter(reader) is not None and maps.plain(reader)

    def _out(self, step: Step, value: Value) -> Value:
        """What the caller gets lies in a tensor of its own."""
        old = value.slot
        new = self.writer.made(("value", step.name), old.ctype, old.rows, old.dim, own=True)
        if old.rows == "system":
            self.late.append((new, old))
        else:
            self._copy(new, old)
            self.writer.drop(old)
        return Value(new, value.pull, value.keeps)

    def _copy(self, new: Slot, old: Slot) -> None:
        self.writer.line(f"memcpy({new}, {old}, {old.numbers} * sizeof(*{new}));", reads=(old,))

    def _by_rule(self, step: Step, inputs: tuple[Slot, ...], moves: tuple[bool, ...]) -> Value:
        w = self.writer
        # what belongs to species has as many rows as what it was made of
        rows = step.index if step.index in _ROWS else inputs[0].rows if inputs else 0
        value = w.made(("value", step.name), "T", rows, step.dim, own=False)
        self._between(Rule(step, inputs, value))
        for slot in inputs:
            w.hold(slot)

        def pull(g: Slot) -> None:
            made = tuple(
                w.made(("gradient", step.name, str(i)), slot.ctype, slot.rows, slot.dim, own=False)
                if moving
                else None
                for i, (slot, moving) in enumerate(zip(inputs, moves, strict=True))
            )
            self._between(Rule(step, inputs, value, (g, made)))
            for name, slot in zip(step.inputs, made, strict=True):
                if slot is not None:
                    self.gradients.give(name, slot)
                    w.drop(slot)

        return Value(value, pull, inputs)

    def _between(self, rule: Rule) -> None:
        g, made = rule.back or (None, ())
        # on the way back a rule reads again what it was given
        named = (*rule.inputs, rule.value, g, *made)
        self.made += [rule, self.writer.between(slot for slot in named if slot is not None)]

    def _backward(self) -> None:
        w, scalar = self.writer, self.values[self.scalar or ""].slot
        seed = w.buffer(scalar.rows, scalar.dim, scalar.ctype)
        w.parts[0].insert(0, Statement(f"for (int64_t i = 0; i < {seed.numbers}; i++) {seed}[i] = 1;"))
        self.gradients.found[self.scalar or ""] = seed
        for step in reversed(self.steps):
            value = self.values[step.name]
            if step.layer == "input" or step.name not in self.moved:
                continue
            g = self.gradients.found.pop(step.name, None)
            if g is not None and value.pull is not None:
                value.pull(g)
                w.drop(g)
            for slot in value.keeps:
                w.drop(slot)

    def _derivatives(self) -> dict[str, Slot]:
        found: dict[str, Slot] = {}
        for step in self.ends:
            layer = self.layers[step.name]
            gradient = self.gradients.found.get(self.leaf if step.params["wrt"] == "positions" else "strain")
            if gradient is None or not isinstance(layer, Grad):
                continue
            if layer.per_volume and gradient.rows != "system":
                continue
            found[step.name] = ends.derivative(self.writer, layer, gradient, step.name)
        return found


def emitter(layer: Layer) -> Callable[[Call, Layer], Value] | None:
    """What writes a layer in C; None where nothing does."""
    return EMITTERS.get(type(layer))


def _all_species(call: Call, layer: AllSpecies) -> Value:
    return Value(call.writer.weight(layer, "numbers", int(layer.numbers.shape[0]), None))


# what writes each kind of layer
EMITTERS: dict[type[Layer], Callable[..., Value]] = {
    Input: ends.input_field,
    Relative: ends.relative,
    Length: ends.length,
    SphericalHarmonics: ends.harmonics,
    Radial: ends.radial,
    AllSpecies: _all_species,
    Embed: ends.embed,
    Lookup: ends.lookup,
    ShiftScale: ends.shift_scale,
    SumSystem: ends.sum_system,
    Linear: maps.linear,
    Merged: maps.merged,
    Part: maps.part,
    Mlp: maps.mlp,
    Pointwise: maps.pointwise,
    Gate: maps.gate,
    Add: maps.add,
    Gather: rows.gather,
    SumEdges: rows.sum_edges,
    Concat: rows.concat,
    Keep: rows.keep,
    Weigh: rows.weigh,
    Couple: rows.couple,
    Around: sums.around,
    DensityKernel: densities.density,
    EdgeOrder: sums.edge_order,
    Message: sums.message,
    TableMessage: sums.table_message,
    TableKernel: sums.table,
    PowerKernel: sums.power,
}
