"""C code of the message: gather, couple, weigh and sum without a message per edge.

    out_(n,k,c,u) = s sum_(e -> n) sum_(a,b) C^k_abc x_(src e,a,u) Y_(e,b) w_(e,k,u)

The forward kernel goes by receiver: a section of the outputs stays in registers while its edges pass. The
backward kernel goes by sender, so that every gradient has one owner: no atomics, no copy per thread, and
the same sums in the same order however many threads there are. Both also exist as directional derivatives
along (dx, dY, dw): the map is linear in each argument, so those are what its second derivatives need.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from equic.runtime.irreps import Irreps
from equic.runtime.tables.wigner import wigner_3j

from .c_source import number, prelude, scaled, tiles, total
from .table_source import LOCATE, arguments, locate, spline

# edges whose coupling coefficients are held at a time
_CHUNK = 16
# accumulators that fit into the 32 vector registers beside what they are made from
_REGISTERS = 20


@dataclass(frozen=True, slots=True)
class Path:
    """One coupling: where its parts begin, their sizes, and C[a, b, c] as (a, b, c, value)."""

    mul: int
    left: int
    right: int
    out: int
    weight: int
    sizes: tuple[int, int, int]
    terms: tuple[tuple[int, int, int, float], ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The (a, c) that couple, in order of c."""
        return sorted({(a, c) for a, _, c, _ in self.terms}, key=lambda pair: pair[::-1])


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """The sizes of a message and its paths, grouped by multiplicity."""

    left: int
    right: int
    out: int
    weights: int
    groups: tuple[tuple[Path, ...], ...]


@cache
def message_spec(text: str) -> MessageSpec:
    """The paths of a product step, from its parameters as JSON (see layers/product.py)."""
    params = json.loads(text)
    left, right, out = (Irreps.parse(params[name]) for name in ("left", "right", "out"))
    groups: dict[int, list[Path]] = {}
    weight = 0
    for i, j, k, scale in params["paths"]:
        a, b, c = left[i], right[j], out[k]
        table = wigner_3j(a.l, b.l, c.l) * (scale * math.sqrt(c.size))
        terms = tuple(
            (x, y, z, float(table[x, y, z]))
            for x in range(a.size)
            for y in range(b.size)
            for z in range(c.size)
            if abs(table[x, y, z]) > 1e-14
        )
        path = Path(a.mul, a.start, b.start, c.start, weight, (a.size, b.size, c.size), terms)
        groups.setdefault(a.mul, []).append(path)
        weight += a.mul
    ordered = tuple(tuple(sorted(group, key=lambda path: path.out)) for group in groups.values())
    return MessageSpec(left.dim, right.dim, out.dim, weight, ordered)


@cache
def forward_source(text: str, dtype: torch.dtype, tangents: str = "", *, table: bool = False) -> str:
    """The kernel of `out`, or of its derivative along those of dx, dY, dw that `tangents` names ("xyw").

    With `table` the weights are splines of the edges' lengths, read where they are used (and there are no tangents).
    """
    spec = message_spec(text)
    names = _Coefficients(spec, "y" in tangents)
    parts = [prelude(dtype), LOCATE if table else "", f"enum {{ CHUNK = {_CHUNK}, NB = {names.count} }};\n"]
    calls = []
    for group in spec.groups:
        for section in _sections(group):
            label = f"section{len(calls)}"
            parts.append(_forward_section(label, section, names, tangents, spec.weights if table else 0))
            call = f"{label}(m, b, xs, ws, {'cs' if table else 'dxs, dws'}, o, @U@, @L@, fresh);"
            calls.append(tiles(call, section[0].mul))
    tangent_rows = "".join(
        f"{rows}[i] = {array} + {offset};\n"
        for flag, rows, array, offset in (
            ("x", "dxs", "DX", f"source[e] * {spec.left}"),
            ("w", "dws", "DW", f"e * {spec.weights}"),
        )
        if flag in tangents
    )
    weights = (
        f"{locate('cs[i]', '0', spec.weights, 'ws[i]')}" if table else f"ws[i] = W + e * {spec.weights};"
    )
    parts.append(f"""
void forward(int64_t nodes, int64_t threads, const int64_t *row, const int64_t *order, const int64_t *source,
             const double *scale, const T *X, const T *Y, {_weights(table)}, T *out) {{
  const T s = (T)*scale;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4) if(threads > 1)
  for (int64_t n = 0; n < nodes; n++) {{
    T *o = out + n * {spec.out};
    if (row[n] == row[n + 1]) {{ memset(o, 0, {spec.out} * sizeof(T)); continue; }}
    for (int64_t at = row[n]; at < row[n + 1]; at += CHUNK) {{
      const int m = row[n + 1] - at < CHUNK ? row[n + 1] - at : CHUNK, fresh = at == row[n];
      T b[CHUNK][NB]; const T *xs[CHUNK], *ws[CHUNK];
      {"T cs[CHUNK][6];" if table else "const T *dxs[CHUNK], *dws[CHUNK];"}
      for (int i = 0; i < m; i++) {{
        const int64_t e = order[at + i];
        xs[i] = X + source[e] * {spec.left}; {weights}
        {tangent_rows}{names.code("b[i]", f"Y + e * {spec.right}", f"DY + e * {spec.right}")}
      }}
      {"".join(calls)}
    }}
  }}
}}
""")
    return "".join(parts)


@cache
def backward_source(
    text: str,
    dtype: torch.dtype,
    wanted: str,
    tangents: str = "",
    *,
    table: bool = False,
    by_receiver: bool = False,
) -> str:
    """The kernel of the gradients of <G, out> by those of x, Y, w that `wanted` names, or of the derivatives of
    these gradients along the `tangents`. With `table` the gradients are by x, Y and the lengths r.

    It goes by sender, `index` the receivers of edges. Or `by_receiver`, `index` the senders: each row of G, the
    widest of all, is then read once. The gradient by x is added to the senders' rows of GX, which one thread may do;
    where there is an H it is left there for each edge, to be added up by `collect`: the same sums in the same order.
    """
    spec = message_spec(text)
    names = _Coefficients(spec, "y" in tangents)
    parts = [prelude(dtype), LOCATE if table else "", f"enum {{ NB = {names.count} }};\n"]
    columns = spec.weights if table else 0
    calls = []
    for number_, group in enumerate(spec.groups):
        parts.append(_backward_group(f"group{number_}", group, names, wanted, tangents, columns))
        rest = "c, d, h, q, &p" if table else "dx, dw, h, q, gw"
        calls.append(tiles(f"group{number_}(b, x, w, g, {rest}, @U@, @L@);", group[0].mul))
    used = sorted({path.right + b for group in spec.groups for path in group for _, b, _, _ in path.terms})
    unused = [b for b in range(spec.right) if b not in used]
    sums = "".join(f"GY[e * {spec.right} + {b}] = s * total(q[{b}]);\n" for b in used) + "".join(
        f"GY[e * {spec.right} + {b}] = 0;\n" for b in unused
    )
    if table:
        weights = f"const T *w; T c[6], d[6]; {locate('c', 'd', columns, 'w')} V p = {{0}};"
    else:
        weights = f"""const T *w = W + e * {spec.weights};
      const T *dw = {f"DW + e * {spec.weights}" if "w" in tangents else "0"};
      T *gw = {f"GW + e * {spec.weights}" if "w" in wanted else "0"};"""
    dx = f"DX + @N@ * {spec.left}" if "x" in tangents else "0"
    ends = f"""const T *x = X + @N@ * {spec.left}, *dx = {dx};
    T *h = {"@H@" if "x" in wanted else "0"};
    {f"memset(h, 0, {spec.left} * sizeof(T));" if "x" in wanted else ""}"""
    own, edge = f"GX + n * {spec.left}", f"H ? H + e * {spec.left} : local"
    sender = ends.replace("@N@", "index[e]" if by_receiver else "n").replace(
        "@H@", edge if by_receiver else own
    )
    collects = by_receiver and "x" in wanted
    add = f"""if (!H) {{
        T *to = GX + index[e] * {spec.left};
        {tiles("store(to + @U@, load(to + @U@, @L@) + load(local + @U@, @L@), @L@);", spec.left)}
      }}"""
    parts.append(f"""
void backward(int64_t nodes, int64_t threads, const int64_t *row, const int64_t *order, const int64_t *index,
              const double *scale, const T *X, const T *Y, {_weights(table)}, const T *G,
              T *GX, {"T *H, " if collects else ""}T *GY, T *GW) {{
  const T s = (T)*scale;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4) if(threads > 1)
  for (int64_t n = 0; n < nodes; n++) {{
    {"" if by_receiver else sender}
    for (int64_t at = row[n]; at < row[n + 1]; at++) {{
      const int64_t e = order[at];
      {f"T local[{spec.left}];" if collects else ""}
      {sender if by_receiver else ""}
      const T *g = G + {"n" if by_receiver else "index[e]"} * {spec.out};
      {weights}
      T b[NB]; V q[{spec.right}];
      {names.code("b", f"Y + e * {spec.right}", f"DY + e * {spec.right}")}
      {"memset(q, 0, sizeof(q));" if "y" in wanted else ""}
      {"".join(calls)}
      {sums if "y" in wanted else ""}
      {"GW[e] = total(p);" if "r" in wanted else ""}
      {add if collects else ""}
    }}
  }}
}}
""")
    if by_receiver:
        parts.append(_collect(spec.left))
    return "".join(parts)


def _collect(width: int) -> str:
    """Rows of edges added up by sender."""
    return f"""
void collect(int64_t nodes, int64_t threads, const int64_t *row, const int64_t *order, const T *H, T *out) {{
#pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)
  for (int64_t n = 0; n < nodes; n++) {{
    T *o = out + n * {width};
    memset(o, 0, {width} * sizeof(T));
    for (int64_t at = row[n]; at < row[n + 1]; at++) {{
      const T *h = H + order[at] * {width};
      {tiles("store(o + @U@, load(o + @U@, @L@) + load(h + @U@, @L@), @L@);", width)}
    }}
  }}
}}
"""


def _weights(table: bool) -> str:
    """The arguments that weights come from: one for each edge, or lengths and a table."""
    return arguments() if table else "const T *W, const T *DX, const T *DY, const T *DW"


class _Coefficients:
    """sum_b C_abc Y_b for each path and (a, c), and after them the same of dY."""

    def __init__(self, spec: MessageSpec, tangent: bool) -> None:
        self.tangent = tangent
        self.index: dict[tuple[Path, int, int], int] = {}
        self.sums: list[list[tuple[float, str]]] = []
        for group in spec.groups:
            for path in group:
                for a, c in path.pairs:
                    self.index[path, a, c] = len(self.sums)
                    self.sums.append(
                        [(v, f"[{path.right + j}]") for i, j, k, v in path.terms if (i, k) == (a, c)]
                    )
        self.right = spec.right

    @property
    def count(self) -> int:
        return len(self.sums) * (2 if self.tangent else 1)

    def code(self, array: str, y: str, dy: str) -> str:
        rows = [("y", y, 0)] + ([("dy", dy, len(self.sums))] if self.tangent else [])
        lines = []
        for name, pointer, start in rows:
            lines.append(
                f"T {name}[{self.right}]; {{ const T *r = {pointer}; "
                f"for (int j = 0; j < {self.right}; j++) {name}[j] = s * r[j]; }}"
            )
            for i, terms in enumerate(self.sums):
                lines.append(f"{array}[{start + i}] = {scaled([(v, name + at) for v, at in terms])};")
        return "\n".join(lines) + "\n"

    def of(self, array: str, path: Path, a: int, c: int, *, tangent: bool = False) -> str:
        return f"{array}[{self.index[path, a, c] + (len(self.sums) if tangent else 0)}]"


def _sections(group: Sequence[Path]) -> list[list[Path]]:
    """Paths whose outputs stay in registers together."""
    made: list[list[Path]] = []
    filled = _REGISTERS
    for path in group:
        if filled + path.sizes[2] > _REGISTERS:
            made.append([])
            filled = 0
        made[-1].append(path)
        filled += path.sizes[2]
    return made


def _lefts(paths: Sequence[Path]) -> dict[tuple[int, int], str]:
    """A name for each component of x that some path reads: (start of block, component)."""
    found = sorted({(path.left, a) for path in paths for a, _ in path.pairs})
    return {key: f"{key[0]}_{key[1]}" for key in found}


def _forward_section(label: str, paths: list[Path], names: _Coefficients, tangents: str, columns: int) -> str:
    mul = paths[0].mul
    lefts = _lefts(paths)
    outs = [(n, path, c) for n, path in enumerate(paths) for c in range(path.sizes[2])]
    head = (
        f"INLINE void {label}(int m, T b[][NB], const T **xs, const T **ws, "
        f"{'T cs[][6]' if columns else 'const T **dxs, const T **dws'},\n"
        "  T *o, int u, int lanes, int fresh) {\n"
    )
    lines = [
        f"V o{n}_{c} = {{0}}; if (!fresh) o{n}_{c} = load(o + {path.out + c * mul} + u, lanes);"
        for n, path, c in outs
    ]
    lines.append("for (int i = 0; i < m; i++) {\nconst T *r = b[i];")
    lines += [
        f"const V x{name} = load(xs[i] + {start + a * mul} + u, lanes);" for (start, a), name in lefts.items()
    ]
    if "x" in tangents:
        lines += [
            f"const V dx{name} = load(dxs[i] + {start + a * mul} + u, lanes);"
            for (start, a), name in lefts.items()
        ]
    for n, path in enumerate(paths):
        at = f"{path.weight} + u"
        weight = spline("ws[i]", "cs[i]", at, columns) if columns else f"load(ws[i] + {at}, lanes)"
        lines.append(f"{{ const V w = {weight};")
        if "w" in tangents:
            lines.append(f"const V dw = load(dws[i] + {path.weight} + u, lanes);")
        for a in sorted({a for a, _ in path.pairs}):
            x = lefts[path.left, a]
            if not tangents or "y" in tangents:
                lines.append(f"const V t{a} = w * x{x};")
            if moved := _moved(tangents, x):
                lines.append(f"const V dt{a} = {moved};")
        for a, c in path.pairs:
            if not tangents:
                lines.append(f"o{n}_{c} += {names.of('r', path, a, c)} * t{a};")
            if _moved(tangents, ""):
                lines.append(f"o{n}_{c} += {names.of('r', path, a, c)} * dt{a};")
            if "y" in tangents:
                lines.append(f"o{n}_{c} += {names.of('r', path, a, c, tangent=True)} * t{a};")
        lines.append("}")
    lines.append("}")
    lines += [f"store(o + {path.out + c * mul} + u, o{n}_{c}, lanes);" for n, path, c in outs]
    return head + "\n".join(lines) + "\n}\n"


def _moved(tangents: str, x: str) -> str:
    """The derivative of w x along dx and dw."""
    parts = (["dw * x" + x] if "w" in tangents else []) + (["w * dx" + x] if "x" in tangents else [])
    return " + ".join(parts)


def _backward_group(
    label: str, paths: Sequence[Path], names: _Coefficients, wanted: str, tangents: str, columns: int
) -> str:
    mul = paths[0].mul
    lefts = _lefts(paths)
    lines = [
        f"INLINE void {label}(const T *b, const T *x, const T *ws, const T *g, "
        + ("const T *cs, const T *ds,\n" if columns else "const T *dx, const T *dws,\n")
        + f"  T *h, V *q, {'V *p' if columns else 'T *gw'}, int u, int lanes) {{"
    ]
    for (start, a), name in lefts.items():
        lines.append(f"const V x{name} = load(x + {start + a * mul} + u, lanes);")
        if "x" in tangents:
            lines.append(f"const V dx{name} = load(dx + {start + a * mul} + u, lanes);")
        if "x" in wanted:
            lines.append(f"V h{name} = load(h + {start + a * mul} + u, lanes);")
    for path in paths:
        lines += ["{"] + _backward_path(path, names, lefts, wanted, tangents, columns) + ["}"]
    if "x" in wanted:
        lines += [f"store(h + {start + a * mul} + u, h{name}, lanes);" for (start, a), name in lefts.items()]
    return "\n".join(lines) + "\n}\n"


def _backward_path(
    path: Path,
    names: _Coefficients,
    lefts: dict[tuple[int, int], str],
    wanted: str,
    tangents: str,
    columns: int,
) -> list[str]:
    mul, rows = path.mul, sorted({a for a, _ in path.pairs})
    at = f"{path.weight} + u"
    lines = [f"const V w = {spline('ws', 'cs', at, columns) if columns else f'load(ws + {at}, lanes)'};"]
    if "r" in wanted:
        lines.append(f"const V dw = {spline('ws', 'ds', at, columns)};")
    if "w" in tangents:
        lines.append(f"const V dw = load(dws + {path.weight} + u, lanes);")
    lines += [
        f"const V g{c} = load(g + {path.out + c * mul} + u, lanes);"
        for c in sorted({c for _, c in path.pairs})
    ]
    # v_a: the gradient by x_a over w, and by w over x_a
    for a in rows if wanted != "y" else ():
        columns = [c for i, c in path.pairs if i == a]
        if not tangents or set(tangents) & set("xw"):
            products = [f"{names.of('b', path, a, c)} * g{c}" for c in columns]
            lines.append(f"const V v{a} = {total(products)};")
        if "y" in tangents:
            products = [f"{names.of('b', path, a, c, tangent=True)} * g{c}" for c in columns]
            lines.append(f"const V dv{a} = {total(products)};")
    if "x" in wanted:
        for a in rows:
            terms = [f"w * v{a}"] if not tangents else []
            terms += [f"dw * v{a}"] if "w" in tangents else []
            terms += [f"w * dv{a}"] if "y" in tangents else []
            if terms:
                lines.append(f"h{lefts[path.left, a]} += {total(terms)};")
    if "r" in wanted:
        lines.append(f"*p += dw * ({total(f'x{lefts[path.left, a]} * v{a}' for a in rows)});")
    if "w" in wanted:
        terms = []
        for a in rows:
            name = lefts[path.left, a]
            terms += [f"x{name} * v{a}"] if not tangents else []
            terms += [f"dx{name} * v{a}"] if "x" in tangents else []
            terms += [f"x{name} * dv{a}"] if "y" in tangents else []
        lines.append(f"store(gw + {path.weight} + u, {total(terms)}, lanes);")
    if "y" in wanted:
        for a in rows:
            name = lefts[path.left, a]
            value = _moved(tangents, name) if tangents else f"w * x{name}"
            if not value:
                continue
            lines.append(f"const V t{a} = {value};")
            for c in (c for i, c in path.pairs if i == a):
                products = [(j, v) for i, j, k, v in path.terms if (i, k) == (a, c)]
                lines.append(f"{{ const V p = t{a} * g{c};")
                lines += [f"q[{path.right + j}] += {number(v)} * p;" for j, v in products]
                lines.append("}")
    return lines
