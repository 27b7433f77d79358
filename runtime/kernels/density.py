"""The sums of a density as one operator: outer products of edges, added up by receiver and species of sender."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, ClassVar

import torch
from equic.runtime.layers.base import Hidden, Layer
from equic.runtime.layers.density import Density
from torch import Tensor

from .c_source import prelude, tiles
from .ops import LIBRARY, pointer, threads, toolchain, wanted

LIBRARY.define(
    "outer_sum(Tensor y, Tensor h, Tensor kind, Tensor order, SymInt nodes, SymInt kinds) -> Tensor"
)
LIBRARY.define(
    "outer_sum_backward(Tensor g, Tensor y, Tensor h, Tensor kind, Tensor order, SymInt nodes, SymInt kinds) "
    "-> (Tensor, Tensor)"
)


class DensityKernel(Layer):
    """A `density` layer's function, its sums over edges by one kernel.

        D_(i,m,s,j) = sum_(e -> i, source of species s) Y_(e,m) h_(e,j)

    The layer itself makes the rest of them, which is one matrix for all nodes.

    Shapes:    T, Y, h, species, W as those of the layer; order as of `edge_order` -> [node, out.dim]
    Units:     those of the layer
    Claims:    those of the layer
    """

    fields: ClassVar = ("edges",)
    statistics: ClassVar = ("average_neighbors",)

    def __init__(self, density: Density, hidden: int) -> None:
        super().__init__()
        self.density, self.hidden = Hidden(density), hidden
        self.borrows = density.borrows

    def forward(
        self,
        table: Tensor,
        harmonics: Tensor,
        hidden: Tensor,
        species: Tensor,
        order: Tensor,
        edges: Tensor,
        average_neighbors: Tensor,
        matrix: Tensor,
    ) -> Tensor:
        density = self.density.module
        assert isinstance(density, Density)
        kind = species.index_select(0, edges[0])
        sums = _OuterSum.apply(harmonics, hidden, kind, order[0], species.shape[0], density.species)
        return density.mix(table, sums, average_neighbors, matrix)


class _OuterSum(torch.autograd.Function):
    """D(Y, h)."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, h: Tensor, kind: Tensor, order: Tensor, nodes: int, kinds: int
    ) -> Tensor:
        ctx.save_for_backward(y, h, kind, order)
        ctx.sizes = nodes, kinds
        return torch.ops.equic.outer_sum(y, h, kind, order, nodes, kinds)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        y, h, kind, order = ctx.saved_tensors
        by_y, by_h = _Gradients.apply(g, y, h, kind, order, *ctx.sizes)
        return by_y, by_h, None, None, None, None


class _Gradients(torch.autograd.Function):
    """The gradients of <g, D> by Y and h. D is bilinear: gradients of these are the same two functions again."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, y: Tensor, h: Tensor, kind: Tensor, order: Tensor, nodes: int, kinds: int
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(g, y, h, kind, order)
        ctx.sizes = nodes, kinds
        return torch.ops.equic.outer_sum_backward(g, y, h, kind, order, nodes, kinds)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dh: Tensor) -> tuple[Tensor | None, ...]:
        g, y, h, *where = ctx.saved_tensors
        need = wanted(ctx, 3)
        by_g = None
        if need[0]:
            by_g = _OuterSum.apply(dy, h, *where, *ctx.sizes) + _OuterSum.apply(y, dh, *where, *ctx.sizes)
        by_y, by_h = _Gradients.apply(g, dy, dh, *where, *ctx.sizes) if any(need[1:]) else (None, None)
        return by_g, by_y, by_h, None, None, None, None


@cache
def density_source(components: int, hidden: int, dtype: torch.dtype) -> str:
    """Both kernels for so many harmonics and hidden numbers."""
    lines = [prelude(dtype)]
    add = "".join(
        f"{{ T *p = o + {m} * stride + u; store(p, load(p, lanes) + y[{m}] * v, lanes); }}\n"
        for m in range(components)
    )
    lines.append(
        "INLINE void add(const T *y, const T *h, T *o, int64_t stride, int u, int lanes) {\n"
        f"const V v = load(h + u, lanes);\n{add}}}\n"
    )
    split = "".join(
        f"{{ const V p = load(g + {m} * stride + u, lanes); r += y[{m}] * p; q[{m}] += v * p; }}\n"
        for m in range(components)
    )
    lines.append(
        "INLINE void split(const T *y, const T *h, const T *g, T *gh, V *q, int64_t stride, int u, int lanes) {\n"
        f"const V v = load(h + u, lanes); V r = {{0}};\n{split}store(gh + u, r, lanes); }}\n"
    )
    sums = "".join(f"GY[e * {components} + {m}] = total(q[{m}]);\n" for m in range(components))
    head = """
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4) if(threads > 1)
  for (int64_t n = 0; n < nodes; n++) {
"""
    loop = "for (int64_t at = row[n]; at < row[n + 1]; at++) {\nconst int64_t e = order[at];\n"
    lines.append(f"""
void forward(int64_t nodes, int64_t kinds, int64_t threads, const int64_t *row, const int64_t *order,
             const int64_t *kind, const T *Y, const T *H, T *out) {{
  const int64_t stride = kinds * {hidden};
  {head}
    T *all = out + n * {components} * stride;
    memset(all, 0, {components} * stride * sizeof(T));
    {loop}
      const T *y = Y + e * {components}, *h = H + e * {hidden};
      T *o = all + kind[e] * {hidden};
      {tiles("add(y, h, o, stride, @U@, @L@);", hidden)}
    }}
  }}
}}
void backward(int64_t nodes, int64_t kinds, int64_t threads, const int64_t *row, const int64_t *order,
              const int64_t *kind, const T *Y, const T *H, const T *G, T *GY, T *GH) {{
  const int64_t stride = kinds * {hidden};
  {head}
    {loop}
      const T *y = Y + e * {components}, *h = H + e * {hidden};
      const T *g = G + n * {components} * stride + kind[e] * {hidden};
      T *gh = GH + e * {hidden};
      V q[{components}]; memset(q, 0, sizeof(q));
      {tiles("split(y, h, g, gh, q, stride, @U@, @L@);", hidden)}
      {sums}
    }}
  }}
}}
""")
    return "".join(lines)


def _check(y: Tensor, h: Tensor, kind: Tensor, order: Tensor, nodes: int) -> None:
    edges = order.shape[0] - nodes - 1
    if not y.shape[0] == h.shape[0] == kind.shape[0] == edges or y.dtype != h.dtype:
        raise ValueError(f"{y.shape[0]} harmonics and {h.shape[0]} weights do not fit {edges} edges")


def _outer_sum(y: Tensor, h: Tensor, kind: Tensor, order: Tensor, nodes: int, kinds: int) -> Tensor:
    _check(y, h, kind, order, nodes)
    found, held = toolchain(), [value.contiguous() for value in (kind, y, h)]
    order = order.contiguous()
    out = _fake(y, h, kind, order, nodes, kinds)
    found.load(density_source(y.shape[1], h.shape[1], y.dtype)).forward(
        ctypes.c_int64(nodes),
        ctypes.c_int64(kinds),
        threads(found),
        *(pointer(value) for value in (order, order[nodes + 1 :], *held, out)),
    )
    return out


def _outer_sum_backward(
    g: Tensor, y: Tensor, h: Tensor, kind: Tensor, order: Tensor, nodes: int, kinds: int
) -> tuple[Tensor, Tensor]:
    _check(y, h, kind, order, nodes)
    found, held = toolchain(), [value.contiguous() for value in (kind, y, h, g)]
    order = order.contiguous()
    made = _fake_backward(g, y, h)
    found.load(density_source(y.shape[1], h.shape[1], y.dtype)).backward(
        ctypes.c_int64(nodes),
        ctypes.c_int64(kinds),
        threads(found),
        *(pointer(value) for value in (order, order[nodes + 1 :], *held, *made)),
    )
    return made


def _fake(y: Tensor, h: Tensor, kind: Tensor, order: Tensor, nodes: int, kinds: int) -> Tensor:
    return y.new_empty((nodes, y.shape[1], kinds * h.shape[1]))


def _fake_backward(g: Tensor, y: Tensor, h: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return y.new_empty(y.shape), h.new_empty(h.shape)


LIBRARY.impl("outer_sum", _outer_sum, "CPU")
LIBRARY.impl("outer_sum_backward", _outer_sum_backward, "CPU")
torch.library.register_fake("equic::outer_sum", _fake, lib=LIBRARY)
torch.library.register_fake("equic::outer_sum_backward", _fake_backward, lib=LIBRARY)
