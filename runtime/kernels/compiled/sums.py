"""Sums over edges and powers in C: calls of their kernels."""

from __future__ import annotations

from collections.abc import Mapping

from equic.runtime.layers.power import Power
from equic.runtime.layers.table import Table

from ..around import Around
from ..edges import SORT_SOURCE, EdgeOrder
from ..message import Message
from ..message_source import backward_source, forward_source, message_spec
from ..power import PowerKernel
from ..power_source import backward_source as power_backward
from ..power_source import forward_source as power_forward
from ..power_source import power_spec
from ..table import TableKernel, TableMessage, table_of, table_source
from .ends import edges_of
from .slots import ORDERS, Slot
from .writer import Call, Value, Writer


def edge_order(call: Call, layer: EdgeOrder) -> Value:
    """Both orders, each of them nodes + 1 + edges numbers."""
    w, edges = call.writer, edges_of(call)
    order = w.buffer(ORDERS, None, "int64_t", size=(2, 2, 0, 2))
    sort = w.kernel(SORT_SOURCE, "sort_edges")
    for which, index in ((0, f"{edges} + E"), (1, f"{edges}")):
        row = f"{order} + {which} * (N + 1 + E)"
        w.line(f"{sort}(E, N, {index}, {row}, {row} + N + 1);")
    w.rows = order.number
    return Value(order)


def orders(order: Slot) -> tuple[str, str]:
    """The order by target and that by source, each as where nodes' edges begin and the edges' numbers."""
    rows = (f"{order}", f"{order} + (NODES + 1 + EDGES)")
    return tuple(f"{row} + FIRST, {row} + NODES + 1" for row in rows)  # type: ignore[return-value]


def scale_of(call: Call, message: Message) -> Slot:
    """What a sum over edges is multiplied by."""
    w = call.writer
    scale = w.buffer(1, None, "double")
    power = repr(message.power)
    value = f"pow(*{w.given('average_neighbors', 'double')}, {power})" if message.power else "1"
    w.line(f"*{scale} = {value};")
    return scale


def message(call: Call, layer: Message) -> Value:
    """Gather, product and sum in one."""
    x, y, weights, order = call.inputs
    return _message(call, layer, (x, y, weights), order, {"x": 0, "y": 1, "w": 2})


def around(call: Call, layer: Around) -> Value:
    """A message whose senders all say 1."""
    w, (y, weights, order) = call.writer, call.inputs
    ones = w.buffer("node", layer.copies)
    w.line(f"for (int64_t i = 0; i < {ones.numbers}; i++) {ones}[i] = 1;")
    value = _message(call, layer, (ones, y, weights), order, {"y": 0, "w": 1})
    w.drop(ones)
    return value


def _message(
    call: Call, layer: Message, values: tuple[Slot, Slot, Slot], order: Slot, inputs: Mapping[str, int]
) -> Value:
    """`inputs`: which of the step's inputs are x, Y and w."""
    w, edges, scale = call.writer, edges_of(call), scale_of(call, layer)
    out = w.buffer("node", message_spec(layer.spec).out)
    targets = orders(order)[0]
    forward = w.kernel(forward_source(layer.spec, w.dtype), "forward")
    (x, y, weights), none = values, "(void *)0, (void *)0, (void *)0"
    w.line(
        f"{forward}(N, threads, {targets}, {edges}, {scale}, {x.anywhere}, {y}, {weights}, {none}, {out});",
        "targets",
        reads=(order, scale, *values),
    )

    def pull(g: Slot) -> None:
        rest = f"{y}, {weights}, {none}"
        _back(
            call,
            layer.spec,
            g,
            dict(zip("xyw", values, strict=True)),
            inputs,
            order,
            scale,
            rest,
            table=False,
        )

    return Value(out, pull, (scale, *call.keep(*values, order)))


def _back(
    call: Call,
    text: str,
    g: Slot,
    values: Mapping[str, Slot],
    inputs: Mapping[str, int],
    order: Slot,
    scale: Slot,
    rest: str,
    *,
    table: bool,
) -> None:
    """Gradients of a message by those of its values that move, by receiver where their rows are the widest.

    `rest` are the arguments behind the scale and x: rows of receivers' edges, or of senders'.
    """
    w, edges, (targets, sources) = call.writer, edges_of(call), orders(order)
    spec = message_spec(text)
    names = "".join(name for name, number in inputs.items() if call.moves[number])
    receiver = spec.left < spec.out or "x" not in names
    source = backward_source(text, w.dtype, names, table=table, by_receiver=receiver)
    made = {name: w.buffer(values[name].rows, values[name].dim) for name in names}
    # each has its own node's rows of one of them, and its neighbours' of the other
    x, place = values["x"], f"{targets}, {edges}" if receiver else f"{sources}, {edges} + EDGES"
    nodes = (x.anywhere, str(g)) if receiver else (str(x), g.anywhere)
    of_edges = w.buffer("edge", spec.left, several=True) if receiver and "x" in made else None
    to = {name: str(slot) for name, slot in made.items()}
    if of_edges is not None:
        to["x"] = by_senders(w, made["x"], of_edges)
    pointers = ", ".join(to.get(name, "(void *)0") for name in values)
    w.line(
        f"{w.kernel(source, 'backward')}(N, threads, {place}, {scale}, {nodes[0]}, {rest}, {nodes[1]}, {pointers});",
        "targets" if receiver else "sources",
        reads=(order, scale, g, *values.values()),
        sums=() if of_edges is None else (made["x"],),
    )
    if of_edges is not None:
        collect(w, w.kernel(source, "collect"), order, of_edges, made["x"])
    for name, slot in made.items():
        call.give(inputs[name], slot)
        w.drop(slot)


def by_senders(w: Writer, total: Slot, of_edges: Slot) -> str:
    """Where a kernel by receiver leaves the gradient by its senders: one thread adds it to theirs."""
    w.line(f"if (!several) memset({total}, 0, {total.numbers} * sizeof(T));", "all")
    return f"{total.anywhere}, several ? {of_edges} : (void *)0"


def collect(w: Writer, kernel: str, order: Slot, of_edges: Slot, total: Slot) -> None:
    """Add up what several threads have left for each edge."""
    w.line(
        f"if (several) {kernel}(N, threads, {orders(order)[1]}, {of_edges}, {total});",
        "sources",
        reads=(order, of_edges),
    )
    w.drop(of_edges)


def _lengths(call: Call, table: Table, r: Slot, species: Slot | None) -> tuple[str, tuple[Slot, ...]]:
    """The arguments of a kernel that reads a table, and what of them is to be kept."""
    w, kind = call.writer, None
    if species is not None:
        call.species(table.species)
        kind, edges = w.buffer("edge", None, "int64_t"), edges_of(call)
        ends = {"source": "e", "target": "E + e", "pair": "e"}
        value = f"{species}[{edges}[{ends[table.by]}]]"
        if table.by == "pair":
            value = f"{value} * {table.species} + {species}[{edges}[E + e]]"
        w.line(f"for (int64_t e = 0; e < E; e++) {kind}[e] = {value};")
    knots = w.weight(table, "knots")
    place = f"(int64_t){table.knots.shape[1] - 1}, {table.start!r}, {table.end!r}"
    text = f"{r}, {kind or '(int64_t *)0'}, {knots}, {place}"
    return text, (() if kind is None else (kind,))


def table(call: Call, layer: TableKernel) -> Value:
    """Splines of the lengths."""
    w, held = call.writer, table_of(layer.table)
    r, *species = call.inputs
    columns = held.knots.shape[3]
    arguments, keeps = _lengths(call, held, r, species[0] if species else None)
    source, y = table_source(columns, w.dtype), w.buffer("edge", columns)
    w.line(f"{w.kernel(source, 'forward')}(E, threads, {arguments}, {y});")

    def pull(g: Slot) -> None:
        with call.gradient() as made:
            w.line(f"{w.kernel(source, 'backward')}(E, threads, {arguments}, {g}, {made});")

    return Value(y, pull, (*keeps, *call.keep(r)))


def table_message(call: Call, layer: TableMessage) -> Value:
    """A message whose weights are splines."""
    w, edges, (x, y, r, *species, order) = call.writer, edges_of(call), call.inputs
    text, scale = layer.message.spec, scale_of(call, layer.message)
    out = w.buffer("node", message_spec(text).out)
    targets = orders(order)[0]
    arguments, keeps = _lengths(call, table_of(layer.table), r, species[0] if species else None)
    forward = w.kernel(forward_source(text, w.dtype, table=True), "forward")
    w.line(
        f"{forward}(N, threads, {targets}, {edges}, {scale}, {x.anywhere}, {y}, {arguments}, {out});",
        "targets",
        reads=(order, scale, x, y, r, *keeps),
    )

    def pull(g: Slot) -> None:
        inputs, rest = {"x": 0, "y": 1, "r": 2}, f"{y}, {arguments}"
        _back(call, text, g, {"x": x, "y": y, "r": r}, inputs, order, scale, rest, table=True)

    return Value(out, pull, (scale, *keeps, *call.keep(x, y, r, order)))


def power(call: Call, layer: PowerKernel) -> Value:
    """Polynomials, their coefficients made of the weights."""
    w, (a, species) = call.writer, call.inputs
    owner, spec = layer.power.module, power_spec(layer.spec)
    assert isinstance(owner, Power)
    _, kinds, channels = owner.weight.shape
    call.species(kinds)
    table, weight = power_table(w, layer), w.weight(owner, "weight")
    c = w.buffer(1, kinds * len(spec.terms) * channels)
    w.line(f"coefficients({table}, {len(spec.terms)}, {kinds}, {channels}, {weight}, {c});")
    out = w.buffer("node", spec.outputs * spec.channels)
    forward = w.kernel(power_forward(layer.spec, w.dtype), "forward")
    w.line(f"{forward}(N, threads, {species}, {a}, {c}, {out});", reads=(species, a, c))

    def pull(g: Slot) -> None:
        backward, none = w.kernel(power_backward(layer.spec, w.dtype, "a", False), "backward"), "(void *)0"
        with call.gradient() as made:
            rest = f"{species}, {a}, {c}, {g}, {none}, {made}, {none}, {none}"
            w.line(f"{backward}(N, (int64_t){kinds}, threads, {rest});", reads=(species, a, c, g))

    return Value(out, pull, (c, *call.keep(a)))


def power_table(w: Writer, layer: PowerKernel) -> str:
    """Which weights each coefficient is made of."""
    entries = layer.table.exact.nonzero().tolist()
    where = w.table("int64_t", [number for entry in entries for number in entry])
    return f"{len(entries)}, {where}, {w.table('T', [float(layer.table.exact[t, p]) for t, p in entries])}"


SOURCE = """
// C[kind, term] = sum of table[term, path] weight[path, kind], for all channels
static void coefficients(int64_t entries, const int64_t *where, const T *table, int64_t terms, int64_t kinds,
                         int64_t channels, const T *weight, T *out) {
  memset(out, 0, kinds * terms * channels * sizeof(T));
  for (int64_t i = 0; i < entries; i++)
    for (int64_t k = 0; k < kinds; k++) {
      T *c = out + (k * terms + where[2 * i]) * channels;
      const T *w = weight + (where[2 * i + 1] * kinds + k) * channels, by = table[i];
      int64_t u = 0;
      for (; u + LANES <= channels; u += LANES) store(c + u, load(c + u, LANES) + by * load(w + u, LANES), LANES);
      for (; u < channels; u++) c[u] += by * w[u];
    }
}
"""
