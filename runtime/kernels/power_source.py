"""C code of the symmetric power: one sparse polynomial per output component, in Horner form.

    out_(n,w,u) = sum_t C_(z_n,t,u) prod_(i in t) a_(n,i,u)          over the monomials t of component w

A polynomial is a tree: a node is a factor put on those above it, and adds its own coefficient to the sum of its
children. Gradients walk the same tree with the product of the factors above. Three kernels: the values; the
gradient of <g, out> by a; and the derivative of values and gradients along da, for second derivatives. The
gradients by the coefficients are sums over nodes: there each thread owns some channels, so sums have one order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import torch

from .c_source import prelude, tiles

Monomial = tuple[int, ...]


@dataclass(slots=True)
class Factor:
    """One factor of monomials: which number of a, its coefficient's place (None: no monomial ends here)."""

    term: int | None = None
    children: dict[int, Factor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PowerSpec:
    """The sizes of a power and its monomials: for each, the output component and the sorted factors."""

    inputs: int
    outputs: int
    channels: int
    terms: tuple[tuple[int, Monomial], ...]

    def to_text(self) -> str:
        """As JSON, which names the kernel."""
        return json.dumps([self.inputs, self.outputs, self.channels, self.terms])


@cache
def power_spec(text: str) -> PowerSpec:
    """The spec of `PowerSpec.to_text`."""
    inputs, outputs, channels, terms = json.loads(text)
    return PowerSpec(inputs, outputs, channels, tuple((w, tuple(t)) for w, t in terms))


def trees(spec: PowerSpec) -> Mapping[int, Factor]:
    """The polynomial of each output component that has one."""
    found: dict[int, Factor] = {}
    for number, (component, monomial) in enumerate(spec.terms):
        node = found.setdefault(component, Factor())
        for factor in monomial:
            node = node.children.setdefault(factor, Factor())
        node.term = number
    return found


@cache
def forward_source(text: str, dtype: torch.dtype) -> str:
    """The kernel of the values."""
    spec = power_spec(text)
    lines = ["INLINE void channels(const T *x, const T *c, T *o, int u, int lanes) {", *_loads(spec)]
    found = trees(spec)
    for component in range(spec.outputs):
        if component in found:
            lines += ["{", *_values(found[component], "r", spec), "V out = r;"]
        else:
            lines += ["{ V out = {0};"]
        lines.append(f"store(o + {component * spec.channels} + u, out, lanes); }}")
    lines.append("}")
    return (
        prelude(dtype)
        + "\n".join(lines)
        + f"""
void forward(int64_t nodes, int64_t threads, const int64_t *species, const T *A, const T *C, T *out) {{
#pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)
  for (int64_t n = 0; n < nodes; n++) {{
    const T *x = A + n * {spec.inputs * spec.channels};
    const T *c = C + species[n] * (int64_t){len(spec.terms) * spec.channels};
    T *o = out + n * {spec.outputs * spec.channels};
    {tiles("channels(x, c, o, @U@, @L@);", spec.channels)}
  }}
}}
"""
    )


@cache
def backward_source(text: str, dtype: torch.dtype, wanted: str, tangent: bool) -> str:
    """The kernel of gradients of <g, out>.

    `wanted` names what is made: "a" the gradient by a, "c" that by the coefficients, and with `tangent` their
    derivatives along da, and "o" the derivative of out.
    """
    spec = power_spec(text)
    walk = _Walk(spec, wanted, tangent)
    code = walk.code()
    width = spec.channels
    if "c" in wanted:
        # the full tiles, then the rest: as many independent parts as there are
        body = f"""
  const int64_t parts = ({width} + LANES - 1) / LANES;
  memset(GC, 0, species_count * {len(spec.terms) * width} * sizeof(T));
#pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)
  for (int64_t p = 0; p < parts; p++)
    for (int64_t n = 0; n < nodes; n++) {{
      @ROWS@
      if ((p + 1) * LANES <= {width}) channels(x, dx, c, g, ga, gc, o, p * LANES, LANES);
      else if ({width} % LANES) channels(x, dx, c, g, ga, gc, o, p * LANES, {width} % LANES);
    }}
"""
    else:
        inner = tiles("channels(x, dx, c, g, ga, gc, o, @U@, @L@);", width)
        body = f"""
#pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)
  for (int64_t n = 0; n < nodes; n++) {{
    @ROWS@
    {inner}
  }}
"""
    rows = f"""
    const T *x = A + n * {spec.inputs * width}, *g = G + n * {spec.outputs * width};
    const T *dx = {f"DA + n * {spec.inputs * width}" if tangent else "0"};
    const T *c = C + species[n] * (int64_t){len(spec.terms) * width};
    T *ga = {f"GA + n * {spec.inputs * width}" if "a" in wanted else "0"};
    T *gc = {f"GC + species[n] * (int64_t){len(spec.terms) * width}" if "c" in wanted else "0"};
    T *o = {f"OUT + n * {spec.outputs * width}" if "o" in wanted else "0"};
"""
    return (
        prelude(dtype)
        + code
        + f"""
void backward(int64_t nodes, int64_t species_count, int64_t threads, const int64_t *species, const T *A, const T *C,
              const T *G, const T *DA, T *GA, T *GC, T *OUT) {{
{body.replace("@ROWS@", rows)}
}}
"""
    )


def _loads(spec: PowerSpec) -> Iterable[str]:
    for i in sorted({factor for _, monomial in spec.terms for factor in monomial}):
        yield f"const V x{i} = load(x + {i * spec.channels} + u, lanes);"


def _coefficient(term: int, spec: PowerSpec) -> str:
    return f"load(c + {term * spec.channels} + u, lanes)"


def _values(node: Factor, name: str, spec: PowerSpec) -> list[str]:
    """Lines that define the vector `name`, the value of a node's polynomial."""
    own = "(V){0}" if node.term is None else _coefficient(node.term, spec)
    lines = [f"V {name} = {own};"]
    for factor, child in node.children.items():
        if not child.children:
            assert child.term is not None
            lines.append(f"{name} += x{factor} * {_coefficient(child.term, spec)};")
        else:
            inner = f"{name}_{factor}"
            lines += ["{", *_values(child, inner, spec), f"{name} += x{factor} * {inner}; }}"]
    return lines


class _Walk:
    """The code of gradients: down the tree with the factors above (s, and its derivative ds), up with values.

    Each branch at the root is a function of its own, since compilers take more than linear time for long ones.
    """

    def __init__(self, spec: PowerSpec, wanted: str, tangent: bool) -> None:
        self.spec, self.wanted, self.tangent = spec, wanted, tangent
        self.width = spec.channels

    def code(self) -> str:
        spec, found = self.spec, trees(self.spec)
        used = sorted({factor for _, monomial in spec.terms for factor in monomial})
        lines: list[str] = []
        for component, tree in found.items():
            for factor, child in tree.children.items():
                lines += self._branch(f"{component}_{factor}", factor, child)
        lines.append(
            "INLINE void channels(const T *at_x, const T *at_dx, const T *c, const T *g, T *ga, T *gc, T *o,"
            " int u, int lanes) {"
        )
        lines.append(f"V x[{spec.inputs}], dx[{spec.inputs}], h[{spec.inputs}];")
        for i in used:
            lines.append(f"x[{i}] = load(at_x + {i * self.width} + u, lanes);")
            if self.tangent:
                lines.append(f"dx[{i}] = load(at_dx + {i * self.width} + u, lanes);")
        lines.append("memset(h, 0, sizeof(h));")
        for component in range(spec.outputs):
            place = f"{component * self.width} + u"
            lines.append(f"{{ V dv = {{0}}; const V s = load(g + {place}, lanes);")
            for factor in found[component].children if component in found else ():
                name = f"{component}_{factor}(x, dx, h, c, gc, s, &dv, u);"
                lines.append(f"if (lanes == LANES) full{name} else rest{name}")
            if "o" in self.wanted:
                lines.append(f"store(o + {place}, dv, lanes);")
            lines.append("}")
        if "a" in self.wanted:
            lines += [f"store(ga + {i * self.width} + u, h[{i}], lanes);" for i in range(spec.inputs)]
        return "\n".join([*lines, "}\n"])

    def _branch(self, name: str, factor: int, child: Factor) -> list[str]:
        """Everything below one factor of a component, for whole vectors and for the rest of the channels."""
        arguments = "const V *x, const V *dx, V *h, const T *c, T *gc, V s, V *sum, int u"
        lines = [f"INLINE void branch{name}({arguments}, int lanes) {{", "V v = {0}, dv = {0};"]
        lines += self._child(factor, child, "", derived=False)
        lines += ["*sum += dv; }"]
        for form, lanes in (("full", "LANES"), ("rest", f"{self.width} % LANES")):
            lines.append(f"static __attribute__((noinline)) void {form}{name}({arguments}) {{")
            lines.append(f"branch{name}(x, dx, h, c, gc, s, sum, u, {lanes}); }}")
        return lines

    def _child(self, i: int, child: Factor, name: str, *, derived: bool) -> list[str]:
        """Lines that add one child to v, dv, with s, ds given; `derived`: ds is not zero."""
        s, ds, v, dv = (part + name for part in ("s", "ds", "v", "dv"))
        inner = f"{name}_{i}"
        lines = [f"{{ const V s{inner} = {s} * x[{i}];"]
        if self.tangent:
            lines.append(f"const V ds{inner} = {f'{ds} * x[{i}] + ' if derived else ''}{s} * dx[{i}];")
        own = "(V){0}" if child.term is None else _coefficient(child.term, self.spec)
        lines.append(f"V v{inner} = {own};")
        if self.tangent:
            lines.append(f"V dv{inner} = {{0}};")
        if child.term is not None and "c" in self.wanted:
            place = f"gc + {child.term * self.width} + u"
            factor = f"ds{inner}" if self.tangent else f"s{inner}"
            lines.append(f"store({place}, load({place}, lanes) + {factor}, lanes);")
        for k, next_ in child.children.items():
            lines += self._child(k, next_, inner, derived=self.tangent)
        lines.append(f"{v} += x[{i}] * v{inner};")
        if self.tangent:
            rest = f" + x[{i}] * dv{inner}" if child.children else ""
            lines.append(f"{dv} += dx[{i}] * v{inner}{rest};")
        if "a" in self.wanted:
            terms = [f"{s} * v{inner}"] if not self.tangent else []
            terms += [f"{ds} * v{inner}"] if derived else []
            terms += [f"{s} * dv{inner}"] if self.tangent and child.children else []
            if terms:
                lines.append(f"h[{i}] += {' + '.join(terms)};")
        return [*lines, "}"]
