"""Tables as operators: splines by themselves, and inside the message, whose weights are then nowhere written.

    out_(n,k,c,u) = s sum_(e -> n) sum_(a,b) C^k_abc x_(src e,a,u) Y_(e,b) w_(k,u)(r_e)

For numbers only: first derivatives are there, and no second ones. Tables are not trained.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, ClassVar

import torch
from equic.runtime.layers.base import Hidden, Layer
from equic.runtime.layers.table import Table
from torch import Tensor

from .c_source import prelude, tiles
from .message import Message
from .message_source import backward_source, forward_source, message_spec
from .ops import LIBRARY, pointer, threads, toolchain
from .table_source import LOCATE, arguments, locate, spline

LIBRARY.define("table(Tensor r, Tensor? kind, Tensor knots, float start, float end) -> Tensor")
LIBRARY.define(
    "table_backward(Tensor g, Tensor r, Tensor? kind, Tensor knots, float start, float end) -> Tensor"
)
LIBRARY.define(
    "table_message(Tensor x, Tensor y, Tensor r, Tensor? kind, Tensor knots, float start, float end, "
    "Tensor source, Tensor order, Tensor scale, str spec) -> Tensor"
)
LIBRARY.define(
    "table_message_backward(Tensor g, Tensor x, Tensor y, Tensor r, Tensor? kind, Tensor knots, float start, "
    "float end, Tensor target, Tensor order, Tensor scale, str spec, str wanted) -> (Tensor, Tensor, Tensor)"
)


class TableKernel(Layer):
    """A `table` layer's function by one kernel.

    Shapes, Units, Claims: those of the layer
    """

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.table = Hidden(table)
        self.fields = table.fields  # type: ignore[misc]

    def forward(self, r: Tensor, species: Tensor | None = None, edges: Tensor | None = None) -> Tensor:
        table = table_of(self.table)
        return _Spline.apply(r, kind_of(table, species, edges), table.knots, table.start, table.end)


class TableMessage(Layer):
    """What `Message` computes, its weights from a table inside the kernel.

    Shapes:    x [node, left.dim], Y [edge, right.dim], r [edge, 1], species [node] where they tell functions
               apart, order, edges -> [node, out.dim]
    Units, Claims: those of the layers it stands for
    """

    fields: ClassVar = ("edges",)

    def __init__(self, message: Message, table: Table) -> None:
        super().__init__()
        self.message, self.table = message, Hidden(table)
        self.statistics = message.statistics  # type: ignore[misc]

    def forward(self, x: Tensor, y: Tensor, r: Tensor, *rest: Tensor) -> Tensor:
        table = table_of(self.table)
        *species, order, edges = rest[: 3 if table.by != "length" else 2]
        average = rest[len(species) + 2 :]
        kind = kind_of(table, *species, edges) if species else None
        place = (edges, order, self.message.scale(*average), self.message.spec)
        return _TableMessage.apply(x, y, r, kind, table.knots, table.start, table.end, *place)


def table_of(hidden: Hidden) -> Table:
    """The layer that holds the knots."""
    assert isinstance(hidden.module, Table)
    return hidden.module


def kind_of(table: Table, species: Tensor | None, edges: Tensor | None) -> Tensor | None:
    """The kind of each edge [edge]; None where there is one."""
    return None if species is None or edges is None else table.kinds(species, edges)


class _Spline(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, r: Tensor, kind: Tensor | None, knots: Tensor, start: float, end: float) -> Tensor:
        ctx.save_for_backward(r, kind, knots)
        ctx.ends = start, end
        return torch.ops.equic.table(r, kind, knots, start, end)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        made = torch.ops.equic.table_backward(g, *ctx.saved_tensors, *ctx.ends)
        return made, None, None, None, None


class _TableMessage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        r: Tensor,
        kind: Tensor | None,
        knots: Tensor,
        start: float,
        end: float,
        edges: Tensor,
        order: Tensor,
        scale: Tensor,
        spec: str,
    ) -> Tensor:
        ctx.save_for_backward(x, y, r, kind, knots, edges, order, scale)
        ctx.rest = start, end, spec
        return torch.ops.equic.table_message(
            x, y, r, kind, knots, start, end, edges[0], order[0], scale, spec
        )

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, y, r, kind, knots, edges, order, scale = ctx.saved_tensors
        start, end, spec = ctx.rest
        names = "".join(name for name, need in zip("xyr", ctx.needs_input_grad, strict=False) if need)
        made = torch.ops.equic.table_message_backward(
            g, x, y, r, kind, knots, start, end, edges[1], order[1], scale, spec, names
        )
        kept = (value if name in names else None for name, value in zip("xyr", made, strict=True))
        return (*kept, *(None for _ in range(8)))


@cache
def table_source(columns: int, dtype: torch.dtype) -> str:
    """Values of all columns, and the gradient by the length of what is given by the values."""
    value = tiles(f"store(o + @U@, {spline('p', 'c', '@U@', columns, '@L@')}, @L@);", columns)
    slope = tiles(f"q += load(g + @U@, @L@) * ({spline('p', 'd', '@U@', columns, '@L@')});", columns)
    head = "#pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)\n"
    return f"""{prelude(dtype)}{LOCATE}
void forward(int64_t edges, int64_t threads, {arguments()}, T *out) {{
{head}  for (int64_t e = 0; e < edges; e++) {{
    const T *p; T c[6], *o = out + e * {columns};
    {locate("c", "0", columns, "p")}
    {value}
  }}
}}
void backward(int64_t edges, int64_t threads, {arguments()}, const T *G, T *GR) {{
{head}  for (int64_t e = 0; e < edges; e++) {{
    const T *p, *g = G + e * {columns}; T c[6], d[6]; V q = {{0}};
    {locate("c", "d", columns, "p")}
    {slope}
    GR[e] = total(q);
  }}
}}
"""


def _lengths(r: Tensor, kind: Tensor | None, knots: Tensor, start: float, end: float) -> list[Any]:
    """The arguments of a kernel that reads a table; the tensors stay alive by their owners."""
    if kind is not None and (kind.shape != r.shape[:1] or not kind.is_contiguous()):
        raise ValueError(f"{list(kind.shape)} kinds do not fit {r.shape[0]} lengths")
    if r.shape[1:] != (1,) or r.dtype != knots.dtype or not (r.is_contiguous() and knots.is_contiguous()):
        raise ValueError(f"lengths {list(r.shape)} in {r.dtype} do not fit a table in {knots.dtype}")
    return [
        pointer(r),
        pointer(kind),
        pointer(knots),
        ctypes.c_int64(knots.shape[1] - 1),
        ctypes.c_double(start),
        ctypes.c_double(end),
    ]


def _table(r: Tensor, kind: Tensor | None, knots: Tensor, start: float, end: float) -> Tensor:
    found, r = toolchain(), r.contiguous()
    out = _fake_table(r, kind, knots, start, end)
    found.load(table_source(knots.shape[3], r.dtype)).forward(
        ctypes.c_int64(r.shape[0]), threads(found), *_lengths(r, kind, knots, start, end), pointer(out)
    )
    return out


def _table_backward(
    g: Tensor, r: Tensor, kind: Tensor | None, knots: Tensor, start: float, end: float
) -> Tensor:
    found, r, g = toolchain(), r.contiguous(), g.contiguous()
    out = torch.empty_like(r)
    found.load(table_source(knots.shape[3], r.dtype)).backward(
        ctypes.c_int64(r.shape[0]),
        threads(found),
        *_lengths(r, kind, knots, start, end),
        *(pointer(g), pointer(out)),
    )
    return out


def _message(
    x: Tensor,
    y: Tensor,
    r: Tensor,
    kind: Tensor | None,
    knots: Tensor,
    start: float,
    end: float,
    source: Tensor,
    order: Tensor,
    scale: Tensor,
    spec: str,
) -> Tensor:
    _check(spec, x, y, r, knots, order)
    found, nodes = toolchain(), x.shape[0]
    out = x.new_empty((nodes, message_spec(spec).out))
    x, y, r, order, source = (value.contiguous() for value in (x, y, r, order, source))
    scale = scale.to(torch.float64)
    found.load(forward_source(spec, x.dtype, table=True)).forward(
        ctypes.c_int64(nodes),
        threads(found),
        *(pointer(value) for value in (order, order[nodes + 1 :], source, scale, x, y)),
        *_lengths(r, kind, knots, start, end),
        pointer(out),
    )
    return out


def _message_backward(
    g: Tensor,
    x: Tensor,
    y: Tensor,
    r: Tensor,
    kind: Tensor | None,
    knots: Tensor,
    start: float,
    end: float,
    target: Tensor,
    order: Tensor,
    scale: Tensor,
    spec: str,
    wanted: str,
) -> tuple[Tensor, Tensor, Tensor]:
    _check(spec, x, y, r, knots, order)
    found, nodes = toolchain(), x.shape[0]
    made = _fake_backward(g, x, y, r, kind, knots, start, end, target, order, scale, spec, wanted)
    if not wanted:
        return made
    g, x, y, r, order, target = (value.contiguous() for value in (g, x, y, r, order, target))
    scale = scale.to(torch.float64)
    found.load(backward_source(spec, x.dtype, wanted, table=True)).backward(
        ctypes.c_int64(nodes),
        threads(found),
        *(pointer(value) for value in (order, order[nodes + 1 :], target, scale, x, y)),
        *_lengths(r, kind, knots, start, end),
        *(pointer(value) for value in (g, *made)),
    )
    return made


def _check(spec: str, x: Tensor, y: Tensor, r: Tensor, knots: Tensor, order: Tensor) -> None:
    sizes = message_spec(spec)
    if x.shape[1:] != (sizes.left,) or y.shape[1:] != (sizes.right,) or knots.shape[3] != sizes.weights:
        raise ValueError(f"a message of {sizes.left}, {sizes.right}, {sizes.weights} numbers got others")
    if not y.shape[0] == r.shape[0] == order.shape[0] - x.shape[0] - 1:
        raise ValueError(f"{y.shape[0]} filters and {r.shape[0]} lengths do not fit the edges")


def _fake_table(r: Tensor, kind: Tensor | None, knots: Tensor, *rest: Any) -> Tensor:
    return r.new_empty((r.shape[0], knots.shape[3]))


def _fake_message(x: Tensor, *rest: Any) -> Tensor:
    return x.new_empty((x.shape[0], message_spec(rest[-1]).out))


def _fake_backward(g: Tensor, x: Tensor, y: Tensor, r: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    gx, gy, gr = (
        value.new_empty(value.shape if name in rest[-1] else (0,))
        for name, value in zip("xyr", (x, y, r), strict=True)
    )
    return gx, gy, gr


LIBRARY.impl("table", _table, "CPU")
LIBRARY.impl("table_backward", _table_backward, "CPU")
LIBRARY.impl("table_message", _message, "CPU")
LIBRARY.impl("table_message_backward", _message_backward, "CPU")
torch.library.register_fake("equic::table", _fake_table, lib=LIBRARY)
torch.library.register_fake("equic::table_backward", lambda g, r, *rest: r.new_empty(r.shape), lib=LIBRARY)
torch.library.register_fake("equic::table_message", _fake_message, lib=LIBRARY)
torch.library.register_fake("equic::table_message_backward", _fake_backward, lib=LIBRARY)
