"""Values that go from rows to rows in C: between atoms and edges, side by side, in parts, and weighed."""

from __future__ import annotations

from equic.runtime.layers.algebra import Concat, Weigh
from equic.runtime.layers.indexing import Gather, SumEdges
from equic.runtime.layers.networks import Keep

from ..couple import Couple
from ..couple_source import backward_source, couple_spec, forward_source
from ..message import NORMS
from .ends import edges_of
from .slots import Slot
from .writer import Call, UnsupportedError, Value


def gather(call: Call, layer: Gather) -> Value:
    """The rows of the nodes at one end."""
    w, (x,) = call.writer, call.inputs
    if x.rows != "node" or x.ctype != "T":
        raise UnsupportedError("rows of no nodes, or numbers that are not the model's")
    index, y = f"{edges_of(call)} + {layer.row} * E", w.buffer("edge", x.dim)
    w.line(f"rows_of(E, threads, {x.width}, {index}, {x}, {y});")

    def pull(g: Slot) -> None:
        total, fresh = call.gradients.into(call.step.inputs[0], "node", x.dim)
        if fresh:
            w.line(f"memset({total}, 0, {total.numbers} * sizeof(T));")
        w.line(f"add_rows(E, {x.width}, {index}, {g}, {total});")

    return Value(y, pull)


def sum_edges(call: Call, layer: SumEdges) -> Value:
    """The sum over the edges at each node."""
    if layer.norm not in NORMS:
        raise UnsupportedError("a mean")
    w, x = call.writer, call.inputs[0]
    index, y, power = f"{edges_of(call)} + E", w.buffer("node", x.dim), NORMS[layer.norm]
    by = f"(T)pow(*{w.given('average_neighbors', 'double')}, {power!r})" if power else ""
    w.line(f"memset({y}, 0, {y.numbers} * sizeof(T));")
    w.line(f"add_rows(E, {x.width}, {index}, {x}, {y});")
    if by:
        w.line(f"multiply({y.numbers}, threads, {by}, {y}, {y});")

    def pull(g: Slot) -> None:
        with call.gradient() as made:
            w.line(f"rows_of(E, threads, {x.width}, {index}, {g}, {made});")
            if by:
                w.line(f"multiply({made.numbers}, threads, {by}, {made}, {made});")

    return Value(y, pull)


def concat(call: Call, layer: Concat) -> Value:
    """Values side by side."""
    w, first = call.writer, call.inputs[0]
    if any(x.ctype != "T" or x.rows != first.rows for x in call.inputs):
        raise UnsupportedError("values of several kinds")
    y = w.buffer(first.rows, sum(x.width for x in call.inputs))
    starts = [sum(x.width for x in call.inputs[:i]) for i in range(len(call.inputs))]
    for x, start in zip(call.inputs, starts, strict=True):
        w.line(f"columns({x.count}, threads, {x.width}, {x}, {x.width}, {y} + {start}, {y.width}, 0);")

    def pull(g: Slot) -> None:
        for number, (x, start, moves) in enumerate(zip(call.inputs, starts, call.moves, strict=True)):
            if moves:
                total, fresh = call.gradients.into(call.step.inputs[number], x.rows, x.dim)
                place = f"{g} + {start}, {g.width}, {total}, {x.width}, {int(not fresh)}"
                w.line(f"columns({x.count}, threads, {x.width}, {place});")

    return Value(y, pull)


def keep(call: Call, layer: Keep) -> Value:
    """Some blocks of a value."""
    w, (x,) = call.writer, call.inputs
    parts, width = [], 0
    for k in layer.blocks:
        parts.append((sum(layer.sizes[:k]), width, layer.sizes[k]))
        width += layer.sizes[k]
    y = w.buffer(x.rows, width)
    for start, to, size in parts:
        place = f"{x} + {start}, {x.width}, {y} + {to}, {width}, 0"
        w.line(f"columns({x.count}, threads, {size}, {place});")

    def pull(g: Slot) -> None:
        total, fresh = call.gradients.into(call.step.inputs[0], x.rows, x.dim)
        if fresh:
            w.line(f"memset({total}, 0, {total.numbers} * sizeof(T));")
        for start, to, size in parts:
            place = f"{g} + {to}, {width}, {total} + {start}, {x.width}, 1"
            w.line(f"columns({x.count}, threads, {size}, {place});")

    return Value(y, pull)


def weigh(call: Call, layer: Weigh) -> Value:
    """Every irrep times an invariant."""
    w, (x, by) = call.writer, call.inputs
    if x.ctype != "T" or by.ctype != "T":
        raise UnsupportedError("numbers that are not the model's")
    if layer.one:  # one weight for all
        name, copies, sizes = "scale_rows", 1, str(x.width)
    else:
        name, copies = "weigh", layer.copies
        blocks = [number for block in layer.irreps for number in (block.start, block.size, block.mul)]
        sizes = f"{len(layer.irreps)}, {w.table('int64_t', blocks)}, {copies}, {x.width}, {by.width}"
    y = w.buffer(x.rows, x.width * copies)
    w.line(f"{name}({x.count}, threads, {sizes}, {x}, {by}, {y});")

    def pull(g: Slot) -> None:
        moving = [
            w.buffer(slot.rows, slot.dim) if moves else None
            for slot, moves in zip((x, by), call.moves, strict=True)
        ]
        to = ", ".join("(T *)0" if slot is None else str(slot) for slot in moving)
        w.line(f"by_{name}({x.count}, threads, {sizes}, {x}, {by}, {g}, {to});")
        for number, slot in enumerate(moving):
            if slot is not None:
                call.give(number, slot)
                w.drop(slot)

    return Value(y, pull, call.keep(x, by))


def couple(call: Call, layer: Couple) -> Value:
    """Products of channel with channel, by their kernel."""
    w, (x, y) = call.writer, call.inputs
    owner = layer.product.module
    weight, spec = w.weight(owner, "weight"), couple_spec(layer.spec)
    out = w.buffer(x.rows, spec.out)
    w.line(
        f"{w.kernel(forward_source(layer.spec, w.dtype), 'forward')}({x.count}, threads, {x}, {y}, {weight}, {out});"
    )
    names = "".join(name for name, moves in zip("xy", call.moves, strict=True) if moves)

    def pull(g: Slot) -> None:
        backward = w.kernel(backward_source(layer.spec, w.dtype, names), "backward")
        made = {
            name: w.buffer(slot.rows, slot.dim)
            for name, slot in zip("xy", call.inputs, strict=True)
            if name in names
        }
        to = ", ".join(str(made.get(name, "(void *)0")) for name in "xyw")
        w.line(f"{backward}({x.count}, threads, {x}, {y}, {weight}, {g}, {to});")
        for name, slot in made.items():
            call.give("xy".index(name), slot)
            w.drop(slot)

    return Value(out, pull, call.keep(x, y))


SOURCE = """
// rows added to those that an index names, in the order of the index
static void add_rows(int64_t count, int64_t width, const int64_t *index, const T *x, T *y) {
  for (int64_t e = 0; e < count; e++) {
    const T *a = x + e * width; T *b = y + index[e] * width;
    ROW(i, width, store(b + i, load(b + i, l) + load(a + i, l), l);)
  }
}
static void scale_rows(int64_t count, int64_t threads, int64_t width, const T *X, const T *W, T *Y) {
  LOOP for (int64_t n = 0; n < count; n++) {
    const T *x = X + n * width; T *y = Y + n * width; const T w = W[n];
    ROW(i, width, store(y + i, w * load(x + i, l), l);)
  }
}
static void by_scale_rows(int64_t count, int64_t threads, int64_t width, const T *X, const T *W, const T *G, T *GX,
                          T *GW) {
  LOOP for (int64_t n = 0; n < count; n++) {
    const T *x = X + n * width, *g = G + n * width; const T w = W[n];
    if (GX) ROW(i, width, store(GX + n * width + i, w * load(g + i, l), l);)
    V sum = {0};
    if (GW) ROW(i, width, sum += load(x + i, l) * load(g + i, l);)
    if (GW) GW[n] = total(sum);
  }
}
// blocks B of start, components and copies; weights for each copy of a block, and again each of `copies` of it
static void weigh(int64_t count, int64_t threads, int64_t blocks, const int64_t *B, int64_t copies, int64_t ldx,
                  int64_t ldw, const T *X, const T *W, T *Y) {
  LOOP for (int64_t n = 0; n < count; n++) {
    const T *x = X + n * ldx, *w = W + n * ldw; T *y = Y + n * ldx * copies;
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t start = B[3 * b], size = B[3 * b + 1], mul = B[3 * b + 2];
      for (int64_t m = 0; m < size; m++) {
        const T *xs = x + start + m * mul; T *ys = y + (start + m * mul) * copies;
        if (copies == 1) ROW(u, mul, store(ys + u, load(xs + u, l) * load(w + u, l), l);)
        else for (int64_t u = 0; u < mul; u++)
          ROW(c, copies, store(ys + u * copies + c, xs[u] * load(w + u * copies + c, l), l);)
      }
      w += mul * copies;
    }
  }
}
static void by_weigh(int64_t count, int64_t threads, int64_t blocks, const int64_t *B, int64_t copies, int64_t ldx,
                     int64_t ldw, const T *X, const T *W, const T *G, T *GX, T *GW) {
  LOOP for (int64_t n = 0; n < count; n++) {
    const T *x = X + n * ldx, *w = W + n * ldw, *g = G + n * ldx * copies;
    T *gx = GX ? GX + n * ldx : 0, *gw = GW ? GW + n * ldw : 0;
    if (gw) memset(gw, 0, ldw * sizeof(T));
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t start = B[3 * b], size = B[3 * b + 1], mul = B[3 * b + 2];
      for (int64_t m = 0; m < size; m++) {
        const int64_t at = start + m * mul; const T *gs = g + at * copies;
        if (copies == 1) ROW(u, mul,
          const V q = load(gs + u, l);
          if (gx) store(gx + at + u, q * load(w + u, l), l);
          if (gw) store(gw + u, load(gw + u, l) + q * load(x + at + u, l), l);)
        else for (int64_t u = 0; u < mul; u++) {
          V sum = {0};
          const int64_t first = u * copies;
          ROW(c, copies,
            const V q = load(gs + first + c, l);
            sum += q * load(w + first + c, l);
            if (gw) store(gw + first + c, load(gw + first + c, l) + x[at + u] * q, l);)
          if (gx) gx[at + u] = total(sum);
        }
      }
      w += mul * copies;
      if (gw) gw += mul * copies;
    }
  }
}
"""
