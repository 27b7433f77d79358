"""Which steps of a program are made again on the way back, where training is short of memory.

Values of edges (and of pairs of them, and of tokens) are tens of times those of atoms, and what their networks and
messages hold between the passes is most of what training holds. Such steps, with the sum over edges that reads
them, form blocks: of a block only what other steps read is kept, all else is computed again when its gradient is
asked for. Where each edge needs no more than the edges that point at the same atom, that is done for some atoms at
a time. Where not, the whole block is held meanwhile, so long ones are cut:

    2 Σ_blocks kept + 3 max_block held  →  min

(a value is kept with its gradient; on the way back a block is held with the gradient and its derivatives).

Reference: chen2016sublinear
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from equic.runtime.kernels.fusion import ORDER
from equic.runtime.layers.base import Layer
from equic.runtime.plan import Step
from equic.runtime.sizes import numbers_of

# what an atom has of each set; only their ratios matter
_ROWS = {"edge": 30.0, "angle": 30.0 * 29.0, "token": 31.0}
# what a layer may read beside its inputs to work on a part of the edges
_LOCAL = {"edges", "species"}


@dataclass(frozen=True, slots=True)
class Block:
    """Steps in order. `again`: they are made again on the way back; `in_parts`: for some receivers at a time.

    `inputs` are read from before, `outputs` by later steps or at the end.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    again: bool = False
    in_parts: bool = False


def blocks_of(steps: Sequence[Step], layers: Mapping[str, Layer], wanted: Iterable[str]) -> tuple[Block, ...]:
    """A program in blocks, with the steps of edges as late as what reads them allows.

    Example:
        >>> from equic.runtime.build import build_module
        >>> from equic.runtime.testing.plans import mace_plan
        >>> plan = mace_plan(channels=4, lmax=1, correlation=2, layers=1)
        >>> model = build_module(plan, kernels="reference")
        >>> layers = {step.name: model.layer(step.name) for step in plan.steps}
        >>> [block.outputs for block in blocks_of(plan.steps, layers, ("energy",)) if block.again]
        [('layer1.pooled',)]
    """
    runs = _runs(steps)
    ordered = [step for run in runs for step in run]
    # the order of the edges is found anew in every run that reads it
    last = {name: i for i, step in enumerate(ordered) for name in step.inputs if name != ORDER}
    last |= dict.fromkeys(wanted, len(ordered))
    places, start = [], 0
    for run in runs:
        here = [start + i for i, step in enumerate(run) if ORDER in step.inputs]
        places.append((run, start, {**last, ORDER: here[-1]} if here else last))
        start += len(run)
    local = [len(run) > 1 and _is_local(run, layers) for run in runs]
    most = max(
        (sum(map(_held, run)) for run, alone in zip(runs, local, strict=True) if not alone), default=0.0
    )
    tried = [
        [
            _Cut(0.0, 0.0, ((0, len(place[0]), True),)) if alone else _cut(*place, most / 2 ** (k / 2))
            for place, alone in zip(places, local, strict=True)
        ]
        for k in range(16)
    ]

    def cost(cuts: Sequence[_Cut]) -> float:
        return 2 * sum(cut.kept for cut in cuts) + 3 * max((cut.held for cut in cuts), default=0.0)

    return tuple(
        _block(run[i:j], start + j, last, again, alone)
        for cut, (run, start, last), alone in zip(min(tried, key=cost), places, local, strict=True)
        for i, j, again in cut.parts
    )


@dataclass(frozen=True, slots=True)
class _Cut:
    """A run in parts (from, to, made again): what is kept of all of them, and held at most of one."""

    kept: float
    held: float
    parts: tuple[tuple[int, int, bool], ...]


def _runs(steps: Sequence[Step]) -> list[list[Step]]:
    """Every step of an atom or system, behind those steps of edges that it is the first to need."""
    order = next((step for step in steps if step.name == ORDER), None)
    waiting: dict[str, Step] = {}

    def needed(names: Iterable[str]) -> list[Step]:
        found: list[Step] = []
        for name in names:
            if name in waiting:
                step = waiting.pop(name)
                found += [*needed(step.inputs), step]
        return found

    runs = []
    for step in steps:
        if step is order:
            continue
        if step.index in _ROWS and step.layer != "relative":
            waiting[step.name] = step
            continue
        run = [*needed(step.inputs), step]
        if order is not None and any(ORDER in one.inputs for one in run):
            run.insert(0, order)
        runs.append(run)
    rest = needed(tuple(waiting))
    return [*runs, rest] if rest else runs


def _is_local(run: Sequence[Step], layers: Mapping[str, Layer]) -> bool:
    """Whether a run can be made for some receivers at a time: rows of edges, and at the end their sums."""
    *inside, end = run
    sums = end.layer == "density" or (
        end.layer == "reduce" and (end.params["from"], end.params["to"]) == ("edge", "node")
    )
    return (
        (sums or end.index == "edge")
        and all(step.index == "edge" for step in inside)
        and all(_LOCAL.issuperset(layers[step.name].fields) for step in run)
    )


def _held(step: Step) -> float:
    """Numbers that a step holds for its gradient, an atom: its value, and those inside of networks."""
    inside = 3 * sum(step.params["widths"]) if "widths" in step.params else 0
    return numbers_of(step, _ROWS, 1.0) + inside * _ROWS.get(step.index, 1.0)


def _cut(run: Sequence[Step], start: int, last: Mapping[str, int], limit: float) -> _Cut:
    """The parts of a run that keep least, where no block holds more than the limit."""
    held = [_held(step) for step in run]
    best = [_Cut(0.0, 0.0, ())]
    for j in range(1, len(run) + 1):
        options = []
        for i in range(j):
            part, before = sum(held[i:j]), best[i]
            if i == j - 1:
                options.append(_Cut(before.kept + part, before.held, (*before.parts, (i, j, False))))
            kept = sum(
                numbers_of(step, _ROWS, 1.0) for step in run[i:j] if last.get(step.name, -1) >= start + j
            )
            if len(run) > 1 and part <= limit and kept < part:
                parts = (*before.parts, (i, j, True))
                options.append(_Cut(before.kept + kept, max(before.held, part), parts))
        best.append(min(options, key=lambda cut: cut.kept))
    return best[-1]


def _block(steps: Sequence[Step], end: int, last: Mapping[str, int], again: bool, local: bool) -> Block:
    names = {step.name for step in steps}
    inputs = dict.fromkeys(name for step in steps for name in step.inputs if name not in names)
    outputs = tuple(step.name for step in steps if last.get(step.name, -1) >= end)
    return Block(tuple(steps), tuple(inputs), outputs, again, again and local)
