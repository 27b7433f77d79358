"""What a graph costs before it is built: parameters, floating-point operations, bytes and memory, op by op.

The numbers follow the reference layers (`Op.work`), for a system of a given size. They serve two ends: passes
choose between equal formulations, and users see what they ask for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .ir.graph import Graph
from .ir.ops import Grad, Input, Poisson
from .ir.ops.base import Scope
from .ir.types import Index, Type

# atoms per Å^3 where no data says otherwise: between molecular liquids and metals (water 0.1, silicon 0.05)
DENSITY = 0.05
ATOMS = 100
BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many elements each set has: atoms of one batch, neighbours of an atom, systems, bytes of a number."""

    atoms: int = ATOMS
    neighbors: float = 20.0
    systems: int = 1
    bytes: int = 4

    def rows(self, index: Index, scope: Scope) -> float:
        """Elements of one set; a state counts as a system."""
        bodies = len(scope.coordinates)
        return {
            Index.NODE: self.atoms,
            Index.EDGE: self.atoms * self.neighbors,
            Index.ANGLE: self.atoms * self.neighbors * max(self.neighbors - 1, 0.0),
            Index.TOKEN: self.atoms * (self.neighbors + 1),
            Index.SYSTEM: self.systems,
            Index.STATE: self.systems,
            Index.PAIR: self.systems * max(bodies * (bodies - 1) // 2, 1),
            Index.SPECIES: len(scope.species),
        }.get(index, self.atoms)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one op costs: trainable numbers, FLOPs forward and with the backward pass, bytes moved and kept.

    `traffic` is what its layer reads and writes, `kept` what stays until the backward pass.
    """

    name: str
    kind: str
    index: str
    parameters: int
    forward: float
    total: float
    traffic: float
    kept: float


def estimated_neighbors(cutoff: float, density: float = DENSITY) -> float:
    """Atoms within the cutoff at a density: 4/3 pi cutoff^3 density."""
    return 4 / 3 * math.pi * cutoff**3 * density


def default_sizes(
    scope: Scope, precision: str = "float32", atoms: int = ATOMS, neighbors: float | None = None
) -> Sizes:
    """A system of 100 atoms at 0.05 atoms/Å^3, or a batch of 100 states, where nothing else is known."""
    number = BYTES.get(precision, 4)
    if scope.is_points and not math.isfinite(scope.cutoff):
        found = float(atoms - 1) if neighbors is None else neighbors
    elif not scope.cutoff:
        return Sizes(systems=atoms, bytes=number)
    else:
        found = estimated_neighbors(scope.cutoff) if neighbors is None else neighbors
    if scope.nearest is not None:
        found = min(found, float(scope.nearest))
    return Sizes(atoms=atoms, neighbors=found, bytes=number)


def estimate(graph: Graph, scope: Scope, sizes: Sizes, *, without: Collection[str] = ()) -> tuple[Cost, ...]:
    """The cost of every op of a typed graph, in its order, but for those named in `without`.

    The backward pass is that of a derivative by positions or state (forces, flows): ops that depend on them
    repeat their forward work once for every input that does.
    """
    types = graph.types()
    moved: set[str] = set()  # depends on what is differentiated by
    differentiated = any(isinstance(node.op, (Grad, Poisson)) for node in graph.nodes)
    costs = []
    for node in graph.nodes:
        inputs = [name for _, name in node.op.inputs()]
        if (differentiated and _is_leaf(node.op)) or any(name in moved for name in inputs):
            moved.add(node.name)
        if node.name in without:
            continue
        known, result = [types[name] for name in inputs], types[node.name]
        work = node.op.work(known, result, scope)
        copies = result.orbit.count if result.orbit else 1
        rows = {index: sizes.rows(index, scope) * copies for index in work}
        forward = sum(one.flops * rows[index] for index, one in work.items())
        kept = sum(one.kept * rows[index] for index, one in work.items())
        ways = max((one.ways for one in work.values()), default=1)
        backward = forward * min(sum(name in moved for name in inputs), ways)
        parameters = node.op.parameters(known, result, scope)
        costs.append(
            Cost(
                node.name,
                node.op.kind,  # type: ignore[attr-defined]
                str(result.index),
                parameters,
                forward,
                forward + backward,
                traffic_of(known, result, parameters, scope, sizes),
                kept * sizes.bytes,
            )
        )
    return tuple(costs)


def traffic_of(known: Sequence[Type], result: Type, parameters: int, scope: Scope, sizes: Sizes) -> float:
    """Bytes that an op reads, its weights included, and writes."""
    read = sum(_numbers(one, sizes, scope) for one in known)
    return (read + _numbers(result, sizes, scope) + parameters) * sizes.bytes


def peak_memory(costs: tuple[Cost, ...], sizes: Sizes) -> float:
    """Bytes in use when the backward pass begins: weights, and all that is kept for it.

    Measured peaks of E and F on the CPU are 1.05 to 1.25 times this: gradients come on top.
    """
    return sum(cost.kept + cost.parameters * sizes.bytes for cost in costs)


def total_flops(graph: Graph, scope: Scope, sizes: Sizes) -> float:
    """FLOPs of a model and its forces."""
    return sum(cost.total for cost in estimate(graph, scope, sizes))


def _numbers(value: Type, sizes: Sizes, scope: Scope) -> float:
    return value.dim * sizes.rows(value.index, scope) * (value.orbit.count if value.orbit else 1)


def _is_leaf(op: object) -> bool:
    return isinstance(op, Input) and op.field in ("positions", "state")
