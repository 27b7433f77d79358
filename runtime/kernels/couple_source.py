"""C code of products of channel with channel: straight lines over the couplings, a vector of channels at a time.

    out_(e,k,c,u) = sum_(p to k) w_(p,u) sum_(a,b) C^p_abc x_(e,i,a,u) y_(e,j,b,u)

Every row by itself. The gradient by the weights is a sum over rows: each chunk of rows gives a part of its own, so
that the sum does not depend on the number of threads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from equic.runtime.irreps import Irreps
from equic.runtime.layers.product_connected import read_routes
from equic.runtime.tables.wigner import wigner_3j

from .c_source import number, prelude, tiles

# rows whose gradients by the weights are one part of it
ROWS = 256


@dataclass(frozen=True, slots=True)
class Path:
    """One path: its channels, where its blocks start, its weights, and (a, b, c, value) of what couples."""

    mul: int
    left: int
    right: int
    out: int
    weight: int
    terms: tuple[tuple[int, int, int, float], ...]

    def places(self, side: int) -> list[int]:
        """The components of x (0), y (1) or the result (2) that couple."""
        return sorted({int(term[side]) for term in self.terms})


@dataclass(frozen=True, slots=True)
class CoupleSpec:
    """The sizes of a product and its paths, grouped by the number of their channels."""

    left: int
    right: int
    out: int
    weights: int
    groups: tuple[tuple[Path, ...], ...]


def couple_text(product: Mapping[str, Any], into: Sequence[int] | None = None) -> str:
    """What names a kernel: the parameters of a "uuu" product, and into which block each block of it is added."""
    names = ("left", "right", "out", "connection", "paths")
    blocks = len(Irreps.parse(product["out"]))
    return json.dumps(
        {name: product[name] for name in names} | {"into": list(range(blocks) if into is None else into)}
    )


@cache
def couple_spec(text: str) -> CoupleSpec:
    """The paths behind `couple_text`."""
    params = json.loads(text)
    left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
    starts: dict[int, int] = {}
    size = 0
    for block, into in zip(out, params["into"], strict=True):
        if into not in starts:
            starts[into] = size
            size += block.dim
    groups: dict[int, list[Path]] = {}
    routes = read_routes(params, left, right, out)
    for route in routes:
        a, b, c = left[route.left], right[route.right], out[route.into]
        table = wigner_3j(a.l, b.l, c.l) * route.factor
        terms = tuple(
            (x, y, z, float(table[x, y, z]))
            for x in range(a.size)
            for y in range(b.size)
            for z in range(c.size)
            if abs(table[x, y, z]) > 1e-14
        )
        start = starts[params["into"][route.into]]
        groups.setdefault(a.mul, []).append(Path(a.mul, a.start, b.start, start, route.start, terms))
    weights = sum(route.size for route in routes)
    return CoupleSpec(left.dim, right.dim, size, weights, tuple(map(tuple, groups.values())))


def couple_terms(text: str) -> int:
    """How many products of three numbers one channel of a row takes: what the length of the code goes with."""
    return sum(len(path.terms) for group in couple_spec(text).groups for path in group)


@cache
def forward_source(text: str, dtype: torch.dtype) -> str:
    """The kernel of `out`."""
    spec = couple_spec(text)
    parts, calls = [prelude(dtype)], []
    for n, group in enumerate(spec.groups):
        lines = [f"INLINE void group{n}(const T *x, const T *y, const T *w, T *o, int u, int lanes) {{"]
        lines += _loads("x", group, "left", 0) + _loads("y", group, "right", 1) + _zeros("o", group, "out", 2)
        for path in group:
            lines.append(f"{{ const V w_ = load(w + {path.weight} + u, lanes);")
            lines += [f"const V t{a} = w_ * x{path.left}_{a};" for a in path.places(0)]
            for a, b in sorted({(a, b) for a, b, _, _ in path.terms}):
                lines.append(f"{{ const V p = t{a} * y{path.right}_{b};")
                lines += [
                    f"o{path.out}_{z} += {number(value)} * p;"
                    for x, y, z, value in path.terms
                    if (x, y) == (a, b)
                ]
                lines.append("}")
            lines.append("}")
        lines += _stores("o", group, "out", 2) + ["}\n"]
        parts.append("\n".join(lines))
        calls.append(tiles(f"group{n}(x, y, W, o, @U@, @L@);", group[0].mul))
    parts.append(f"""
void forward(int64_t rows, int64_t threads, const T *X, const T *Y, const T *W, T *out) {{
#pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)
  for (int64_t e = 0; e < rows; e++) {{
    const T *x = X + e * {spec.left}, *y = Y + e * {spec.right}; T *o = out + e * {spec.out};
    {"".join(calls)}
  }}
}}
""")
    return "".join(parts)


@cache
def backward_source(text: str, dtype: torch.dtype, wanted: str) -> str:
    """The kernel of the gradients of <G, out> by those of x, y, w that `wanted` names; that by w in parts."""
    spec = couple_spec(text)
    parts, calls = [prelude(dtype)], []
    for n, group in enumerate(spec.groups):
        lines = [
            f"INLINE void group{n}(const T *x, const T *y, const T *w, const T *g, T *h, T *q, T *r, "
            "int u, int lanes) {"
        ]
        lines += _loads("x", group, "left", 0) + _loads("y", group, "right", 1) + _loads("g", group, "out", 2)
        lines += _zeros("h", group, "left", 0) if "x" in wanted else []
        lines += _zeros("q", group, "right", 1) if "y" in wanted else []
        for path in group:
            lines += ["{", *_gradients(path, wanted), "}"]
        lines += _stores("h", group, "left", 0) if "x" in wanted else []
        lines += _stores("q", group, "right", 1) if "y" in wanted else []
        parts.append("\n".join([*lines, "}\n"]))
        calls.append(tiles(f"group{n}(x, y, W, g, h, q, r, @U@, @L@);", group[0].mul))
    by_x, by_y = (
        f"{name} + e * {size}" if flag in wanted else "0"
        for flag, name, size in (("x", "GX", spec.left), ("y", "GY", spec.right))
    )
    unread = "".join(
        f"memset({row}, 0, {size} * sizeof(T));"
        for flag, row, size, side in (("x", "h", spec.left, 0), ("y", "q", spec.right, 1))
        if flag in wanted and _columns(spec, side) < size
    )
    parts.append(f"""
void backward(int64_t rows, int64_t threads, const T *X, const T *Y, const T *W, const T *G,
              T *GX, T *GY, T *GW) {{
#pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)
  for (int64_t first = 0; first < rows; first += {ROWS}) {{
    T *r = {f"GW + first / {ROWS} * {spec.weights}" if "w" in wanted else "0"};
    {f"memset(r, 0, {spec.weights} * sizeof(T));" if "w" in wanted else ""}
    for (int64_t e = first; e < rows && e < first + {ROWS}; e++) {{
      const T *x = X + e * {spec.left}, *y = Y + e * {spec.right}, *g = G + e * {spec.out};
      T *h = {by_x}, *q = {by_y};
      {unread}
      {"".join(calls)}
    }}
  }}
}}
""")
    return "".join(parts)


def _gradients(path: Path, wanted: str) -> list[str]:
    """What one path adds: v_a is the gradient by x_a over w, and by w over x_a; s_b that by y_b over w."""
    lines = [f"const V w_ = load(w + {path.weight} + u, lanes);"]
    x, y, g = f"x{path.left}", f"y{path.right}", f"g{path.out}"
    if set(wanted) & set("xw"):
        lines += _sums("v", path, 0, (1, y), (2, g))
    if "x" in wanted:
        lines += [f"h{path.left}_{a} += w_ * v{a};" for a in path.places(0)]
    if "w" in wanted:
        products = " + ".join(f"{x}_{a} * v{a}" for a in path.places(0))
        at = f"r + {path.weight} + u"
        lines.append(f"store({at}, load({at}, lanes) + ({products}), lanes);")
    if "y" in wanted:
        lines += _sums("s", path, 1, (0, x), (2, g))
        lines += [f"q{path.right}_{b} += w_ * s{b};" for b in path.places(1)]
    return lines


def _sums(name: str, path: Path, side: int, *factors: tuple[int, str]) -> list[str]:
    """The sums over couplings of two factors, for each component of a third."""
    (one, first), (other, second) = factors
    lines = [f"V {name}{at} = {{0}};" for at in path.places(side)]
    for pair in sorted({(term[one], term[other]) for term in path.terms}):
        lines.append(f"{{ const V p = {first}_{pair[0]} * {second}_{pair[1]};")
        lines += [
            f"{name}{term[side]} += {number(term[3])} * p;"
            for term in path.terms
            if (term[one], term[other]) == pair
        ]
        lines.append("}")
    return lines


def _places(group: Sequence[Path], block: str, side: int) -> list[tuple[int, int, int]]:
    """(start of block, component, offset) of everything that a group reads or writes on one side."""
    found = {(getattr(path, block), at) for path in group for at in path.places(side)}
    return [(start, at, start + at * group[0].mul) for start, at in sorted(found)]


def _columns(spec: CoupleSpec, side: int) -> int:
    """How many numbers of a row are reached on one side."""
    block = ("left", "right", "out")[side]
    return sum(len(_places(group, block, side)) * group[0].mul for group in spec.groups)


def _loads(name: str, group: Sequence[Path], block: str, side: int) -> list[str]:
    return [
        f"const V {name}{start}_{at} = load({name} + {offset} + u, lanes);"
        for start, at, offset in _places(group, block, side)
    ]


def _zeros(name: str, group: Sequence[Path], block: str, side: int) -> list[str]:
    return [f"V {name}{start}_{at} = {{0}};" for start, at, _ in _places(group, block, side)]


def _stores(name: str, group: Sequence[Path], block: str, side: int) -> list[str]:
    return [
        f"store({name} + {offset} + u, {name}{start}_{at}, lanes);"
        for start, at, offset in _places(group, block, side)
    ]
