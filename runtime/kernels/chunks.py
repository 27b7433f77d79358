"""Edges in chunks: what only one sum over edges reads is made for some receivers at a time.

On the way there nothing of it is kept, on the way back it is made again, so that networks of edge lengths and
weights of messages take the memory of a chunk however many atoms there are. Within a chunk receivers and senders
have numbers of their own: what is read of nodes, and gradients by it, have the size of the chunk too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from equic.runtime.layers.base import Layer
from equic.runtime.layers.indexing import Gather, SumEdges
from equic.runtime.plan import Step
from torch import Tensor

from .density import DensityKernel
from .edges import edge_order
from .fusion import ORDER
from .gemm import has_blas
from .message import Message
from .ops import pointer, toolchain
from .rules import Gradients, Rule
from .sums import EdgeSumRule

# edges at a time: their weights stay near the processor, and what each chunk costs by itself is little beside them
CHUNK = 4096
# bytes that a step of all edges at once may take: so many, and so many for each atom
WHOLE, WHOLE_ATOM = 256 * 2**20, 128 * 2**10

# layers that make the row of an edge from rows of this edge and of its two ends
_BY_EDGE = (
    "radial", "envelope", "transform", "mlp", "linear", "merged", "part", "product", "act", "add", "concat",
    "slice", "arrange", "difference", "inner", "norms", "weigh", "scale", "cross", "table",
)  # fmt: skip
_READ = {"edges", "species"}


@dataclass(frozen=True, slots=True)
class Segment:
    """The steps of edges that only one sum reads, and last the sum itself.

    `inputs` are the values from outside, `indices` the sets that they live on.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    indices: tuple[str, ...]

    @property
    def sum(self) -> Step:
        """The step from edges to nodes."""
        return self.steps[-1]


def in_segments(
    steps: Sequence[Step], layers: Mapping[str, Layer], kept: set[str]
) -> tuple[tuple[Step, ...], dict[str, Segment]]:
    """The program with segments in the place of sums that have one, and these segments by the names of their sums.

    What several sums read (lengths, harmonics), and what is `kept`, stays whole; so do features of edges that go
    from layer to layer.
    """
    segments = {
        step.name: found
        for i, step in enumerate(steps)
        if _is_sum(layers[step.name])
        and (found := _segment(steps[: i + 1], steps[i + 1 :], layers, kept)) is not None
    }
    inside = {step.name for segment in segments.values() for step in segment.steps[:-1]}
    program = [
        replace(step, inputs=segments[step.name].inputs) if step.name in segments else step
        for step in steps
        if step.name not in inside
    ]
    read = {name for step in program for name in step.inputs}
    return tuple(step for step in program if step.name != ORDER or ORDER in read), segments


def _is_sum(layer: Layer) -> bool:
    """Whether it has a rule that sums for some receivers."""
    return isinstance(layer, Message | SumEdges) or (isinstance(layer, DensityKernel) and has_blas())


def _segment(
    before: Sequence[Step], after: Sequence[Step], layers: Mapping[str, Layer], kept: set[str]
) -> Segment | None:
    """The segment that ends with the last step of `before`."""
    elsewhere = {name for step in after for name in step.inputs} | kept
    chosen = [before[-1]]
    for step in reversed(before[:-1]):
        read = any(step.name in other.inputs for other in chosen)
        if read and step.name not in elsewhere and _by_edge(step, layers[step.name]):
            chosen.insert(0, step)
        else:
            elsewhere |= set(step.inputs)
    names = {step.name for step in chosen}
    inputs = tuple(dict.fromkeys(name for step in chosen for name in step.inputs if name not in names))
    index = {step.name: step.index for step in before}
    outside = tuple(name for name in inputs if name != ORDER)
    indices = tuple(index[name] for name in outside)
    if len(chosen) == 1 or not {"edge", "node", "species"}.issuperset(indices):
        return None
    return Segment(tuple(chosen), outside, indices)


def _by_edge(step: Step, layer: Layer) -> bool:
    known = step.layer in _BY_EDGE or isinstance(layer, Gather)
    return step.index == "edge" and known and _READ.issuperset(layer.fields)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The edges that point at nodes `first` to `last`, under numbers of their own.

    `edges`: which edges they are; `nodes`: the receivers and after them the other senders; `ends` [2, edge]: source
    and target among these; `order`: as of `edge_order`, by target (receivers only) and by source.
    """

    first: int
    last: int
    edges: Tensor
    nodes: Tensor
    ends: Tensor
    order: tuple[Tensor, Tensor]

    def take(self, value: Tensor, index: str) -> Tensor:
        """What the chunk reads of a value on this set."""
        rows = {"edge": self.edges, "node": self.nodes}.get(index)
        return value if rows is None else value.index_select(0, rows)

    def put(self, total: Tensor, part: Tensor, index: str) -> None:
        """Add the chunk's part of a gradient to the whole one. An edge is in one chunk, a node in several."""
        if index == "edge":
            total.index_copy_(0, self.edges, part)
        else:
            total.index_add_(0, self.nodes, part)


_SOURCE = """
#include <stdint.h>
// place [nodes] is -1 everywhere, before and after; how many nodes the chunk has
int64_t localise(int64_t first, int64_t last, int64_t edges, const int64_t *edge, const int64_t *source,
                 const int64_t *target, int64_t *place, int64_t *nodes, int64_t *ends) {
  int64_t count = 0;
  for (int64_t n = first; n < last; n++) { place[n] = count; nodes[count++] = n; }
  for (int64_t i = 0; i < edges; i++) {
    const int64_t s = source[edge[i]];
    if (place[s] < 0) { place[s] = count; nodes[count++] = s; }
    ends[i] = place[s]; ends[edges + i] = target[edge[i]] - first;
  }
  for (int64_t i = 0; i < count; i++) place[nodes[i]] = -1;
  return count;
}
"""


def chunks_of(edges: Tensor, nodes: int) -> list[Chunk]:
    """The edges [2, edge] by receivers: as many of these at a time as have about `CHUNK` edges.

    Raises:
        DataError: an edge names a node that does not exist.
    """
    order, edges = edge_order(edges, nodes)[0], edges.contiguous()
    row, numbers = order[: nodes + 1], order[nodes + 1 :]
    place, localise = torch.full((nodes,), -1), toolchain().load(_SOURCE).localise
    localise.restype = ctypes.c_int64
    made = []
    for first, last in _ranges(row, nodes):
        chosen = numbers[row[first] : row[last]]
        count = chosen.shape[0]
        found, ends = (
            torch.empty(last - first + count, dtype=torch.int64),
            torch.empty((2, count), dtype=torch.int64),
        )
        sizes = (ctypes.c_int64(number) for number in (first, last, count))
        size = localise(
            *sizes, *(pointer(value) for value in (chosen, edges[0], edges[1], place, found, ends))
        )
        by_target = torch.cat((row[first : last + 1] - row[first], torch.arange(count)))
        by_source = edge_order(ends, size)[1]
        made.append(Chunk(first, last, chosen, found[:size].clone(), ends, (by_target, by_source)))
    return made


def _ranges(row: Tensor, nodes: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first < nodes:
        last = int(torch.searchsorted(row, row[first] + CHUNK, right=True)) - 1
        last = min(max(last, first + 1), nodes)
        yield first, last
        first = last


class ChunkedRule:
    """A segment as the rule of its sum."""

    def __init__(
        self,
        segment: Segment,
        chunks: Sequence[Chunk],
        makers: Mapping[str, Callable[[], Rule]],
        read: Callable[[Step, Mapping[str, Tensor]], list[Tensor]],
        moved: set[str],
    ) -> None:
        self.segment, self.chunks, self.makers, self.read, self.moved = segment, chunks, makers, read, moved

    def run(self, values: Sequence[Tensor], context: Mapping[str, Tensor]) -> Tensor:
        """The sums [node, dim]. `values` are the segment's inputs, `context` what its layers read beside them."""
        self.values, self.context = values, context
        out: Tensor | None = None
        for chunk in self.chunks:
            rule = self._forward(chunk, back=False)[self.segment.sum.name]
            assert isinstance(rule, EdgeSumRule)
            part = rule.value()
            out = part.new_empty((self.chunks[-1].last, *part.shape[1:])) if out is None else out
            out[chunk.first : chunk.last] = part
        assert out is not None
        return out

    def pull(self, g: Tensor) -> Gradients:
        """Gradients by the inputs; everything between is made again."""
        segment = self.segment
        inputs = list(zip(segment.inputs, segment.indices, self.values, strict=True))
        totals = {name: torch.zeros_like(value) for name, _, value in inputs if name in self.moved}
        for chunk in self.chunks:
            rules = self._forward(chunk, back=True)
            held = {segment.sum.name: g[chunk.first : chunk.last]}
            for step in reversed(segment.steps):
                if (by := held.pop(step.name, None)) is None:
                    continue
                for name, value in zip(step.inputs, rules.pop(step.name).pull(by), strict=True):
                    if value is not None and name in self.moved:
                        held[name] = held[name] + value if name in held else value
            for name, index, _ in inputs:
                if name in held:
                    chunk.put(totals[name], held[name], index)
        return [totals.get(name) for name in segment.inputs]

    def _forward(self, chunk: Chunk, *, back: bool) -> dict[str, Rule]:
        """The rules of a chunk, all but that of the sum run; those that may go back keep what they need."""
        segment, rules = self.segment, {step.name: self.makers[step.name]() for step in self.segment.steps}
        values: dict[str, Any] = {
            name: chunk.take(value, index)
            for name, index, value in zip(segment.inputs, segment.indices, self.values, strict=True)
        }
        values[ORDER] = chunk.order
        context = {**self.context, "edges": chunk.ends}
        if "species" in context:
            context["species"] = chunk.take(context["species"], "node")
        for step in segment.steps[:-1]:
            given = [values[name] for name in step.inputs]
            wants = [back and name in self.moved for name in step.inputs]
            values[step.name] = rules[step.name].run(given, self.read(step, context), wants)
        rule = rules[segment.sum.name]
        assert isinstance(rule, EdgeSumRule)
        if "species" in context:  # a sum counts its receivers by them
            context["species"] = context["species"][: chunk.last - chunk.first]
        given = [values[name] for name in segment.sum.inputs]
        wants = [name in self.moved for name in segment.sum.inputs]
        rule.keep(given, self.read(segment.sum, context), wants)
        return rules
