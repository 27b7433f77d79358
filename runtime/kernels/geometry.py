"""Rules of the steps at both ends of a program, from vectors to harmonics and from atoms to energies.

They take little time for many edges, and most of it for one molecule: a small autograd graph each costs more
than what it computes there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from equic.runtime.layers.geometry import SphericalHarmonics
from equic.runtime.tables.spherical import harmonic_polynomials, monomials
from torch import Tensor

from .c_source import number, prelude
from .ops import pointer, threads, toolchain

Gradients = Sequence[Tensor | None]


class HarmonicsRule:
    """Spherical harmonics and their gradients as straight-line code."""

    def __init__(self, layer: SphericalHarmonics) -> None:
        self.lmax = layer.lmax

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.v = values[0].contiguous()
        y = self.v.new_empty(self.v.shape[0], (self.lmax + 1) ** 2)
        self._call("forward", self.v, y)
        return y

    def pull(self, g: Tensor) -> Gradients:
        out = torch.empty_like(self.v)
        self._call("backward", self.v, g.contiguous(), out)
        return [out]

    def _call(self, name: str, *tensors: Tensor) -> None:
        found = toolchain()
        kernel = getattr(found.load(harmonics_source(self.lmax, self.v.dtype)), name)
        kernel(ctypes.c_int64(self.v.shape[0]), threads(found), *(pointer(value) for value in tensors))


class LengthRule:
    """r = |v|, and v / r; 0 where v is."""

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.v = values[0]
        self.r = torch.linalg.vector_norm(self.v, dim=-1, keepdim=True)
        return self.r

    def pull(self, g: Tensor) -> Gradients:
        return [self.v * (g / self.r.clamp_min(torch.finfo(self.r.dtype).tiny))]


class SumRule:
    """The sum over the nodes of each system: every node has the gradient of its system."""

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        self.dtype = values[0].dtype
        self.system, cell = context
        x = values[0].to(torch.float64)
        return x.new_zeros((cell.shape[0], *x.shape[1:])).index_add_(0, self.system, x)

    def pull(self, g: Tensor) -> Gradients:
        return [g.index_select(0, self.system).to(self.dtype)]


class ShiftScaleRule:
    """Atomic energies from the network's number: its gradient is the scale."""

    def run(self, values: Sequence[Tensor], context: Sequence[Tensor], wants: Sequence[bool]) -> Tensor:
        x, species = values
        isolated, self.scale, shift = context
        if self.scale.ndim:  # one for each species
            self.scale, shift = self.scale.index_select(0, species), shift.index_select(0, species)
        self.dtype = x.dtype
        return isolated.index_select(0, species) + self.scale * x.squeeze(-1).to(self.scale.dtype) + shift

    def pull(self, g: Tensor) -> Gradients:
        return [(g * self.scale).to(self.dtype).unsqueeze(-1), None]


@cache
def harmonics_source(lmax: int, dtype: torch.dtype) -> str:
    """Y(v / |v|) up to a degree, the gradient by v of what is given by Y, and how Y changes as v moves; at v = 0 as
    the layer has it."""
    values, slopes, moves = [], [], []
    for l in range(1, lmax + 1):
        table, names = harmonic_polynomials(l), monomials(3, l)
        for m in range(2 * l + 1):
            at = l * l + m
            terms = [(float(table[t, m]), name) for t, name in enumerate(names) if table[t, m] != 0.0]
            values.append(f"y[{at}] = {_polynomial(terms)};")
            along = []
            for axis in range(3):
                moved = [
                    (value * name.count(axis), _without(name, axis)) for value, name in terms if axis in name
                ]
                if moved:
                    slopes.append(f"q{axis} += g[{at}] * ({_polynomial(moved)});")
                    along.append(f"d{axis} * ({_polynomial(moved)})")
            moves.append(f"o[{at}] = {' + '.join(along)};")
    powers = [f"const T u{a}_1 = u{a};" for a in range(3)]
    powers += [f"const T u{a}_{n} = u{a}_{n - 1} * u{a};" for n in range(2, lmax + 1) for a in range(3)]
    unit = f"""const T *v = V_ + 3 * e;
    const T square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    const T per = square == 0 ? 1 : 1 / ROOT(square);
    const T u0 = v[0] * per, u1 = v[1] * per, u2 = v[2] * per;
    {" ".join(powers)}"""
    loop = """#pragma omp parallel for num_threads(threads) schedule(static) if(threads > 1)
  for (int64_t e = 0; e < edges; e++) {"""
    root = "sqrtf" if dtype is torch.float32 else "sqrt"
    size = (lmax + 1) ** 2
    lines = "\n    "
    return f"""{prelude(dtype)}
#include <math.h>
#define ROOT {root}
void forward(int64_t edges, int64_t threads, const T *V_, T *Y) {{
{loop}
    {unit}
    T *y = Y + e * {size};
    y[0] = 1;
    {lines.join(values)}
  }}
}}
void backward(int64_t edges, int64_t threads, const T *V_, const T *G, T *GV) {{
{loop}
    {unit}
    const T *g = G + e * {size};
    T q0 = 0, q1 = 0, q2 = 0;
    {lines.join(slopes)}
    const T along = u0 * q0 + u1 * q1 + u2 * q2;
    GV[3 * e] = (q0 - u0 * along) * per;
    GV[3 * e + 1] = (q1 - u1 * along) * per;
    GV[3 * e + 2] = (q2 - u2 * along) * per;
  }}
}}
void tangent(int64_t edges, int64_t threads, const T *V_, const T *DV, T *DY) {{
{loop}
    {unit}
    const T *dv = DV + 3 * e;
    const T along = u0 * dv[0] + u1 * dv[1] + u2 * dv[2];
    const T d0 = (dv[0] - u0 * along) * per, d1 = (dv[1] - u1 * along) * per, d2 = (dv[2] - u2 * along) * per;
    T *o = DY + e * {size};
    o[0] = 0;
    {lines.join(moves)}
  }}
}}
"""


def _without(name: tuple[int, ...], axis: int) -> tuple[int, ...]:
    at = name.index(axis)
    return name[:at] + name[at + 1 :]


def _polynomial(terms: Sequence[tuple[float, tuple[int, ...]]]) -> str:
    parts = []
    for value, name in terms:
        factors = [f"u{axis}_{name.count(axis)}" for axis in range(3) if axis in name]
        parts.append(" * ".join([number(value), *factors]))
    return " + ".join(parts)
