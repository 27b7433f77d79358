"""Steps on rows by themselves in C: linear maps, networks, activations, sums of values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from equic.runtime.layers.act import Gate, Pointwise
from equic.runtime.layers.algebra import Add
from equic.runtime.layers.linear import Linear
from equic.runtime.layers.merged import Merged, Part
from equic.runtime.layers.mlp import Mlp

from ..gemm import Task
from ..gemm_tasks import linear_tasks, merged_tasks, mlp_scales
from .folding import chained
from .products import Map
from .slots import Slot
from .writer import Call, UnsupportedError, Value, Writer

# activations that there is C for
NAMES = {torch.nn.functional.silu: "silu", torch.sigmoid: "sigmoid"}


def linear(call: Call, layer: Linear) -> Value:
    """A matrix product for each component and pair of blocks."""
    if not plain(layer):
        raise UnsupportedError("a relaxed linear map, or one of SO(2)")
    w, x = call.writer, call.inputs[0]
    if x.ctype != "T":
        raise UnsupportedError("numbers that are not the model's")
    if layer.species is not None and x.rows != "node":
        raise UnsupportedError("maps of species for rows that are no nodes")
    own = map_of(call, layer)
    y = w.buffer(x.rows, layer.out.dim)
    chain = chained(call, own, x, y)
    if layer.bias is not None:
        columns = w.table("int64_t", layer.get_buffer("bias_columns").tolist())
        count = len(layer.get_buffer("bias_columns"))
        bias = w.weight(layer, "bias")
        w.line(
            f"for (int64_t n = 0; n < {y.count}; n++) for (int64_t i = 0; i < {count}; i++) "
            f"{y}[n * {y.width} + {columns}[i]] += {bias}[i];"
        )

    def pull(g: Slot) -> None:
        total, fresh = call.gradients.into(call.step.inputs[0], x.rows, x.dim)
        if chain is None:
            own.write(w, g, total, back=True, fresh=fresh)
        else:
            chain.back(own, g, total, fresh=fresh)

    return Value(y, pull)


def map_of(call: Call, layer: Linear) -> Map:
    """Its products, for each species where it has weights for each."""
    if layer.species is None:
        return Map(linear_tasks(layer), call.writer.weight(layer, "weight"))
    matrix = call.writer.weight(layer, "weight", *layer.weight.shape)
    return Map(linear_tasks(layer), matrix, call.order(layer.species))


def plain(layer: Linear) -> bool:
    """Whether it is matrices of numbers and nothing else."""
    return layer.breaking is None and all(kind.commutant == 1 for kind in layer.kinds)


def merged(call: Call, layer: Merged) -> Value:
    """The products of all parts, on their weights one after another."""
    w, x = call.writer, call.inputs[0]
    tasks, start = merged_tasks(layer), 0
    sizes = [sum(layer.fan_in[kind] * width for kind, width in part) for part in layer.widths]
    matrix = w.buffer(1, sum(sizes))
    for (owner, name), size in zip(call.borrowed, sizes, strict=True):
        w.line(f"memcpy({matrix} + {start}, {w.weight(owner, name)}, {size} * sizeof(T));")
        start += size
    y = w.buffer(x.rows, sum(out.dim for out in layer.outs))
    own = Map(tasks, matrix)
    own.write(w, x, y)

    def pull(g: Slot) -> None:
        total, fresh = call.gradients.into(call.step.inputs[0], x.rows, x.dim)
        own.write(w, g, total, back=True, fresh=fresh)

    return Value(y, pull, (matrix,))


def part(call: Call, layer: Part) -> Value:
    """Some columns."""
    w, (x,), width = call.writer, call.inputs, layer.stop - layer.start
    y = w.buffer(x.rows, width)
    w.line(f"columns({x.count}, threads, {width}, {x} + {layer.start}, {x.width}, {y}, {width}, 0);")

    def pull(g: Slot) -> None:
        total, fresh = call.gradients.into(call.step.inputs[0], x.rows, x.dim)
        if fresh:
            w.line(f"memset({total}, 0, {total.numbers} * sizeof(T));")
        w.line(f"columns({x.count}, threads, {width}, {g}, {width}, {total} + {layer.start}, {x.width}, 1);")

    return Value(y, pull)


def mlp(call: Call, layer: Mlp) -> Value:
    """Each product with the constants that belong to its matrix."""
    if layer.act not in NAMES:
        raise UnsupportedError("an activation without C")
    w, x, f = call.writer, call.inputs[0], NAMES[layer.act]
    scales, rows = mlp_scales(layer), x.rows
    shapes = [tuple(weight.shape) for weight in layer.weights]
    maps = [Map(one(shapes[i], scales[i]), w.weight(layer.weights, str(i))) for i in range(layer.applied)]
    hidden: list[Slot] = []
    value = x
    for i in range(layer.applied):
        y = w.buffer(rows, shapes[i][1])
        if layer.biases is not None:
            w.line(f"spread({y.count}, threads, {y.width}, {w.weight(layer.biases, str(i))}, {y});")
        maps[i].write(w, value, y, fresh=layer.biases is None)
        if value is not x:
            w.drop(value)
        value = y
        if i < len(layer.weights) - 1:
            hidden.append(y)
            value = w.buffer(rows, y.dim)
            w.line(f"act_{f}({y.numbers}, threads, 1, {y}, {value});")
    if layer.applied < len(layer.weights):
        w.line(f"multiply({value.numbers}, threads, {scales[layer.applied]!r}, {value}, {value});")

    def pull(g: Slot) -> None:
        w.hold(g)
        if layer.applied < len(layer.weights):
            new = w.buffer(rows, g.dim)
            w.line(f"multiply({g.numbers}, threads, {scales[layer.applied]!r}, {g}, {new});")
            g = _then(call, g, new)
        for i in reversed(range(layer.applied)):
            if i < len(layer.weights) - 1:
                new = w.buffer(rows, g.dim)
                w.line(f"slope_{f}({g.numbers}, threads, 1, {hidden[i]}, {g}, {new});")
                g = _then(call, g, new)
            if i:
                new, fresh = w.buffer(rows, shapes[i][0]), True
            else:
                new, fresh = call.gradients.into(call.step.inputs[0], rows, x.dim)
                w.hold(new)
            maps[i].write(w, g, new, back=True, fresh=fresh)
            g = _then(call, g, new)
        w.drop(g)

    return Value(value, pull, tuple(hidden))


def one(shape: Sequence[int], scale: float) -> list[Task]:
    """A whole matrix as a list of products."""
    return [Task(0, 0, 0, *shape, shape[1], scale)]


def _then(call: Call, old: Slot, new: Slot) -> Slot:
    call.writer.drop(old)
    return new


def pointwise(call: Call, layer: Pointwise) -> Value:
    """y = c f(x)."""
    if layer.f not in NAMES:
        raise UnsupportedError("an activation without C")
    w, x, f = call.writer, call.inputs[0], NAMES[layer.f]
    y = w.buffer(x.rows, x.dim)
    w.line(f"act_{f}({x.numbers}, threads, {layer.factor!r}, {x}, {y});")

    def pull(g: Slot) -> None:
        with call.gradient() as made:
            w.line(f"slope_{f}({x.numbers}, threads, {layer.factor!r}, {x}, {g}, {made});")

    return Value(y, pull, call.keep(x))


def gate(call: Call, layer: Gate) -> Value:
    """Scalars pass an activation, the rest is scaled by functions of scalars."""
    w, (x,) = call.writer, call.inputs
    pair, rest = gate_numbers(w, layer)
    y = w.buffer(x.rows, x.width - layer.gates)
    sizes = f"({x.count}, threads, {x.width}, {y.width}, {rest}"
    w.line(f"gate_{pair}{sizes}, {x}, {y});")

    def pull(g: Slot) -> None:
        with call.gradient() as made:
            w.line(f"by_gate_{pair}{sizes}, {x}, {g}, {made});")

    return Value(y, pull, call.keep(x))


def gate_numbers(w: Writer, layer: Gate) -> tuple[str, str]:
    """The names of both functions, and what C takes to know the blocks."""
    odd = any(block.size == 1 for block in layer.gated) and bool(layer.odd)
    if layer.f not in NAMES or layer.gate not in NAMES or odd:
        raise UnsupportedError("an activation without C")
    blocks = [number for block in layer.gated for number in (block.start, block.size, block.mul)]
    table, factors = w.table("int64_t", blocks), f"{layer.factor!r}, {layer.gate_factor!r}"
    rest = f"{layer.scalars}, {layer.gates}, {len(layer.gated)}, {table}, {factors}"
    return f"{NAMES[layer.f]}_{NAMES[layer.gate]}", rest


def add(call: Call, layer: Add) -> Value:
    """Every term has the gradient of the sum."""
    w, (first, *rest) = call.writer, call.inputs
    if not rest or any(x.ctype != first.ctype or x.width != first.width for x in rest):
        raise UnsupportedError("one term, or terms of several kinds")
    y, name = w.buffer(first.rows, first.dim, first.ctype), {"T": "add", "double": "add_double"}[first.ctype]
    for x in rest:
        w.line(f"{name}({y.numbers}, threads, {first}, {x}, {y});")
        first = y

    def pull(g: Slot) -> None:
        for number, moves in enumerate(call.moves):
            if moves:
                call.give(number, g)

    return Value(y, pull)


SOURCE = """
#define GATE(f, h) \
static void gate_##f##_##h(int64_t count, int64_t threads, int64_t from, int64_t to, int64_t scalars, int64_t gates, \
    int64_t blocks, const int64_t *B, T cf, T ch, const T *X, T *Y) { \
  LOOP for (int64_t n = 0; n < count; n++) { \
    const T *x = X + n * from, *z = x + scalars; T *y = Y + n * to; \
    ROW(u, scalars, store(y + u, cf * f(load(x + u, l)), l);) \
    for (int64_t b = 0; b < blocks; b++) { \
      const int64_t at = B[3 * b], size = B[3 * b + 1], mul = B[3 * b + 2]; \
      ROW(u, mul, \
        const V s = ch * h(load(z + u, l)); \
        for (int64_t m = 0; m < size; m++) \
          store(y + at + m * mul + u, s * load(x + gates + at + m * mul + u, l), l);) \
      z += mul; } } } \
static void by_gate_##f##_##h(int64_t count, int64_t threads, int64_t from, int64_t to, int64_t scalars, \
    int64_t gates, int64_t blocks, const int64_t *B, T cf, T ch, const T *X, const T *G, T *GX) { \
  LOOP for (int64_t n = 0; n < count; n++) { \
    const T *x = X + n * from, *z = x + scalars, *g = G + n * to; T *gx = GX + n * from, *gz = gx + scalars; \
    ROW(u, scalars, store(gx + u, cf * load(g + u, l) * f##_slope(load(x + u, l)), l);) \
    for (int64_t b = 0; b < blocks; b++) { \
      const int64_t at = B[3 * b], size = B[3 * b + 1], mul = B[3 * b + 2]; \
      ROW(u, mul, \
        const V s = load(z + u, l); const V scale = ch * h(s); V q = {0}; \
        for (int64_t m = 0; m < size; m++) { const int64_t k = at + m * mul + u; const V p = load(g + k, l); \
          store(gx + gates + k, scale * p, l); q += p * load(x + gates + k, l); } \
        store(gz + u, ch * q * h##_slope(s), l);) \
      z += mul; gz += mul; } } }
GATE(silu, silu) GATE(silu, sigmoid) GATE(sigmoid, silu) GATE(sigmoid, sigmoid)
"""
