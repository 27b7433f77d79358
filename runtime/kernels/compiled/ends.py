"""Both ends of a compiled step in C: from positions to lengths and harmonics, from atoms' numbers to energies."""

from __future__ import annotations

import math

from equic.runtime.layers.by_species import Lookup
from equic.runtime.layers.derivatives import Grad
from equic.runtime.layers.geometry import Length, Relative, SphericalHarmonics
from equic.runtime.layers.indexing import SumSystem
from equic.runtime.layers.inputs import Embed, Input, ShiftScale
from equic.runtime.layers.radial import Radial
from equic.runtime.plan import Step

from ..geometry import harmonics_source
from .slots import ENDS, Slot
from .writer import Call, UnsupportedError, Value, Writer


def edges_of(call: Call) -> Slot:
    """The ends of the edges: sources, then targets."""
    return call.writer.given("edges", "int64_t", ENDS)


def input_field(call: Call, layer: Input) -> Value:
    """Positions and species lie where the caller has them."""
    (name,) = layer.fields
    if name == "positions":
        return Value(call.writer.given(name, "double", "node", 3), lambda g: None)
    if name == "species":
        return Value(call.writer.given(name, "int64_t", "node", None))
    raise UnsupportedError(f"input {name}")


def relative(call: Call, layer: Relative) -> Value:
    """v = r_t - r_s - S C; its gradient goes to positions, and to a strain as the virial."""
    w, edges, (r,) = call.writer, edges_of(call), call.inputs
    shifts, cell = w.given("shifts", "double"), w.given("cell", "double")
    system, v = w.given("system", "int64_t", "node"), w.buffer("edge", 3)
    w.line(f"vectors(E, threads, {edges}, {r}, {shifts}, {cell}, {system}, {v});")

    def pull(g: Slot) -> None:
        total, fresh = call.gradients.into(call.step.inputs[0], "node", 3, "double")
        if fresh:
            w.line(f"memset({total}, 0, {total.numbers} * sizeof(double));")
        w.line(f"by_positions(E, {edges}, {g}, {total});")
        if call.strains:
            virial, fresh = call.gradients.into("strain", "system", 9, "double")
            if fresh:
                w.line(f"memset({virial}, 0, {virial.numbers} * sizeof(double));")
            w.line(f"by_strain(E, {edges}, {system}, {v}, {g}, {virial});")

    return Value(v, pull, call.keep(v) if call.strains else ())


def length(call: Call, layer: Length) -> Value:
    """r = |v|."""
    w, (v,) = call.writer, call.inputs
    r = w.buffer("edge", 1)
    w.line(f"lengths(E, threads, {v}, {r});")

    def pull(g: Slot) -> None:
        total, fresh = call.gradients.into(call.step.inputs[0], "edge", 3)
        w.line(f"by_lengths(E, threads, {v}, {r}, {g}, {total}, {int(not fresh)});")

    return Value(r, pull, call.keep(v, r))


def harmonics(call: Call, layer: SphericalHarmonics) -> Value:
    """By their kernel."""
    w, (v,) = call.writer, call.inputs
    source, y = harmonics_source(layer.lmax, w.dtype), w.buffer("edge", (layer.lmax + 1) ** 2)
    w.line(f"{w.kernel(source, 'forward')}(E, threads, {v}, {y});")

    def pull(g: Slot) -> None:
        with call.gradient() as made:
            w.line(f"{w.kernel(source, 'backward')}(E, threads, {v}, {g}, {made});")

    return Value(y, pull, call.keep(v))


def radial(call: Call, layer: Radial) -> Value:
    """Bessel functions under a polynomial."""
    w, (r,) = call.writer, call.inputs
    numbers, b = bessel_numbers(w, call.step, layer), w.buffer("edge", layer.count)
    w.line(f"bessel(E, threads, {numbers}, {r}, {b});")

    def pull(g: Slot) -> None:
        total, fresh = call.gradients.into(call.step.inputs[0], "edge", 1)
        w.line(f"by_bessel(E, threads, {numbers}, {r}, {g}, {total}, {int(not fresh)});")

    return Value(b, pull, call.keep(r))


def bessel_numbers(w: Writer, step: Step, layer: Radial) -> str:
    """What the functions of C take to know a basis."""
    shape = step.params["envelope"]
    if step.params["basis"] != "bessel" or shape is None or set(shape) != {"polynomial"}:
        raise UnsupportedError("a basis that is not bessel under a polynomial")
    numbers = w.constant(layer.table) if layer.table is not None else w.weight(layer, "weight")
    norm = math.sqrt(2.0 / layer.cutoff)
    return f"{layer.count}, {layer.cutoff!r}, {int(shape['polynomial'])}, {norm!r}, {numbers}"


def embed(call: Call, layer: Embed) -> Value:
    """The rows of the nodes' species; of all species, the table itself."""
    w, (species,) = call.writer, call.inputs
    count, out = layer.weight.shape
    table = w.weight(layer, "weight", count, out)
    if call.step.index == "species":
        return Value(table)
    return Value(_rows(call, table, species))


def lookup(call: Call, layer: Lookup) -> Value:
    """The row of each node's species."""
    if any(call.moves):
        raise UnsupportedError("a table that moves")
    return Value(_rows(call, *call.inputs))


def _rows(call: Call, table: Slot, species: Slot) -> Slot:
    if species.rows != "node" or not isinstance(table.rows, int):
        raise UnsupportedError("rows of no nodes")
    w, y = call.writer, call.writer.buffer("node", table.dim)
    call.species(table.rows)
    w.line(f"rows_of(N, threads, {table.width}, {species}, {table}, {y});")
    return y


def shift_scale(call: Call, layer: ShiftScale) -> Value:
    """E_i = E0[z_i] + scale x_i + shift."""
    w, (x, species) = call.writer, call.inputs
    isolated, scale, shift = (w.given(name, "double") for name in layer.statistics)
    energies, per = w.buffer("node", None, "double"), int(layer.per_species)
    call.species(int(call.step.params["species"]))
    w.line(f"shift_scale(N, {species}, {isolated}, {scale}, {shift}, {per}, {x}, {energies});")

    def pull(g: Slot) -> None:
        with call.gradient() as made:
            w.line(f"by_scaled(N, {species}, {scale}, {per}, {g}, {made});")

    return Value(energies, pull)


def sum_system(call: Call, layer: SumSystem) -> Value:
    """Sums in float64."""
    w, (x,) = call.writer, call.inputs
    if layer.mean or x.dim not in (None, 1):
        raise UnsupportedError("means, or rows of several numbers")
    system, total = w.given("system", "int64_t", "node"), w.buffer("system", x.dim, "double")
    kind = {"T": "", "double": "_double"}[x.ctype]
    w.line(f"sums{kind}(N, S, FIRST, {system}, {x}, {total});", "nodes", reads=(system, x), sums=(total,))

    def pull(g: Slot) -> None:
        with call.gradient() as made:
            w.line(f"by_sums{kind}(N, {system}, {g}, {made});", "nodes", reads=(system, g))

    return Value(total, pull)


def derivative(w: Writer, layer: Grad, gradient: Slot, name: str) -> Slot:
    """scale times the gradient by positions, or by the strain of each system, that by request per volume."""
    y = w.made(("value", name), "double", gradient.rows, gradient.dim, own=True)
    if layer.per_volume:
        w.line(f"per_volume(S, {layer.scale!r}, {w.given('cell', 'double')}, {gradient}, {y});")
    else:
        w.line(f"for (int64_t i = 0; i < {y.numbers}; i++) {y}[i] = {layer.scale!r} * {gradient}[i];")
    return y


SOURCE = """
static void per_volume(int64_t systems, double scale, const double *cell, const double *G, double *out) {
  for (int64_t s = 0; s < systems; s++) {
    const double *c = cell + 9 * s;
    const double volume = fabs(c[0] * (c[4] * c[8] - c[5] * c[7]) + c[1] * (c[5] * c[6] - c[3] * c[8])
                               + c[2] * (c[3] * c[7] - c[4] * c[6]));
    for (int k = 0; k < 9; k++) out[9 * s + k] = volume > 0 ? scale * G[9 * s + k] / volume : 0;
  }
}
static void vectors(int64_t count, int64_t threads, const int64_t *edges, const double *R, const double *shifts,
                    const double *cell, const int64_t *system, T *V_) {
  LOOP for (int64_t e = 0; e < count; e++) {
    const int64_t s = edges[e], t = edges[count + e];
    const double *a = R + 3 * s, *b = R + 3 * t, *n = shifts + 3 * e, *c = cell + 9 * system[t];
    for (int k = 0; k < 3; k++) V_[3 * e + k] = (T)(b[k] - a[k] - (n[0] * c[k] + n[1] * c[3 + k] + n[2] * c[6 + k]));
  }
}
static void by_positions(int64_t edges_, const int64_t *edges, const T *G, double *out) {
  for (int64_t e = 0; e < edges_; e++) {
    double *a = out + 3 * edges[e], *b = out + 3 * edges[edges_ + e];
    for (int k = 0; k < 3; k++) { b[k] += G[3 * e + k]; a[k] -= G[3 * e + k]; }
  }
}
static void by_strain(int64_t edges_, const int64_t *edges, const int64_t *system, const T *V_, const T *G,
                      double *out) {
  for (int64_t e = 0; e < edges_; e++) {
    double *o = out + 9 * system[edges[edges_ + e]];
    const T *v = V_ + 3 * e, *g = G + 3 * e;
    for (int i = 0; i < 3; i++) for (int j = 0; j < 3; j++)
      o[3 * i + j] += ((double)v[i] * g[j] + (double)v[j] * g[i]) / 2;
  }
}
static void lengths(int64_t count, int64_t threads, const T *V_, T *R) {
  LOOP for (int64_t e = 0; e < count; e++) {
    const T *v = V_ + 3 * e;
    R[e] = ROOT(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
  }
}
static void by_lengths(int64_t count, int64_t threads, const T *V_, const T *R, const T *G, T *out, int add) {
  LOOP for (int64_t e = 0; e < count; e++) {
    const T by = R[e] > 0 ? G[e] / R[e] : 0;
    for (int k = 0; k < 3; k++) { const T q = V_[3 * e + k] * by; out[3 * e + k] = add ? out[3 * e + k] + q : q; }
  }
}
// the polynomial 1 - x^p (a - b x + c x^2) and its derivative by r; 0 from the cutoff on
static void envelope(T r, double cutoff, int p, T *f, T *d) {
  const T x = r / (T)cutoff, a = (T)(p + 1) * (p + 2) / 2, b = (T)p * (p + 2), c = (T)p * (p + 1) / 2;
  T power = 1;
  for (int i = 0; i < p - 1; i++) power *= x;
  const T inside = a - b * x + c * x * x;
  *f = x < 1 ? 1 - power * x * inside : 0;
  *d = x < 1 ? -power * (p * inside + x * (2 * c * x - b)) / (T)cutoff : 0;
}
static void bessel(int64_t count, int64_t threads, int64_t functions, double cutoff, int p, double norm, const T *W,
                   const T *R, T *out) {
  LOOP for (int64_t e = 0; e < count; e++) {
    T f, d; const T r = R[e];
    envelope(r, cutoff, p, &f, &d);
    for (int64_t n = 0; n < functions; n++)
      out[e * functions + n] = (T)norm * f * (r == 0 ? W[n] : SIN(r * W[n]) / r);
  }
}
static void by_bessel(int64_t count, int64_t threads, int64_t functions, double cutoff, int p, double norm, const T *W,
                      const T *R, const T *G, T *out, int add) {
  LOOP for (int64_t e = 0; e < count; e++) {
    T f, d, q = 0; const T r = R[e], *g = G + e * functions;
    envelope(r, cutoff, p, &f, &d);
    if (r != 0) for (int64_t n = 0; n < functions; n++) {
      const T wave = SIN(r * W[n]) / r;
      q += g[n] * (d * wave + f * (W[n] * COS(r * W[n]) - wave) / r);
    }
    out[e] = (add ? out[e] : 0) + (T)norm * q;
  }
}
static void shift_scale(int64_t count, const int64_t *species, const double *isolated, const double *scale,
                        const double *shift, int per, const T *x, double *out) {
  for (int64_t n = 0; n < count; n++) {
    const int64_t z = species[n], k = per ? z : 0;
    out[n] = isolated[z] + scale[k] * x[n] + shift[k];
  }
}
static void by_scaled(int64_t count, const int64_t *species, const double *scale, int per, const double *g, T *out) {
  for (int64_t n = 0; n < count; n++) out[n] = (T)(g[n] * scale[per ? species[n] : 0]);
}
#define SUMS(name, N) \\
static void sums##name(int64_t count, int64_t systems, int64_t first, const int64_t *system, const N *x, \\
                       double *out) { \\
  if (!first) memset(out, 0, systems * sizeof(double)); \\
  for (int64_t n = 0; n < count; n++) out[system[n]] += x[n]; } \\
static void by_sums##name(int64_t count, const int64_t *system, const double *g, N *out) { \\
  for (int64_t n = 0; n < count; n++) out[n] = g[system[n]]; }
SUMS(, T)
SUMS(_double, double)
"""
