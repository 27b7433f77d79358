"""C of the gradients by weights: directional derivatives beside values, and pairs of gradients on the way back."""

SOURCE = """
// dv = t_target - t_source + strain v
static void moved_vectors(int64_t count, int64_t threads, const int64_t *edges, const double *t, const double *strain,
                          const int64_t *system, const T *V_, T *out) {
  LOOP for (int64_t e = 0; e < count; e++) {
    const int64_t s = edges[e], n = edges[count + e];
    const double *a = t + 3 * s, *b = t + 3 * n, *c = strain ? strain + 9 * system[n] : 0;
    const T *v = V_ + 3 * e;
    for (int k = 0; k < 3; k++)
      out[3 * e + k] = (T)(b[k] - a[k] + (c ? c[3 * k] * v[0] + c[3 * k + 1] * v[1] + c[3 * k + 2] * v[2] : 0));
  }
}
static void moved_lengths(int64_t count, int64_t threads, const T *V_, const T *R, const T *DV, T *out) {
  LOOP for (int64_t e = 0; e < count; e++) {
    const T *v = V_ + 3 * e, *d = DV + 3 * e;
    out[e] = R[e] > 0 ? (v[0] * d[0] + v[1] * d[1] + v[2] * d[2]) / R[e] : 0;
  }
}
static void moved_bessel(int64_t count, int64_t threads, int64_t functions, double cutoff, int p, double norm,
                         const T *W, const T *R, const T *DR, T *out) {
  LOOP for (int64_t e = 0; e < count; e++) {
    T f, d; const T r = R[e], by = (T)norm * DR[e];
    envelope(r, cutoff, p, &f, &d);
    for (int64_t n = 0; n < functions; n++) {
      const T wave = r == 0 ? W[n] : SIN(r * W[n]) / r;
      out[e * functions + n] = by * (d * wave + (r == 0 ? 0 : f * (W[n] * COS(r * W[n]) - wave) / r));
    }
  }
}
INLINE V silu_bend(V x) {
  const V e = exponential(-x), s = 1 / (1 + e), q = e * s, slope = s * q;
  return slope * (2 + x * (q - s));
}
INLINE V sigmoid_bend(V x) { const V e = exponential(-x), s = 1 / (1 + e), q = e * s; return s * q * (q - s); }
// the gradients by x and dx of what is given by y = c f(x) and dy = c f'(x) dx
#define BEND(f) \\
static void bend_##f(int64_t numbers, int64_t threads, T by, const T *x, const T *dx, const T *h, const T *g, \\
                     T *out, T *dout) \\
EACH( \\
  const V z = load(x + i, lanes); const V slope = by * f##_slope(z); const V q = load(g + i, lanes); \\
  store(dout + i, slope * q, lanes); \\
  store(out + i, slope * load(h + i, lanes) + by * f##_bend(z) * load(dx + i, lanes) * q, lanes);)
BEND(silu)
BEND(sigmoid)
#define MOVED_GATE(f, h) \\
static void moved_gate_##f##_##h(int64_t count, int64_t threads, int64_t from, int64_t to, int64_t scalars, \\
    int64_t gates, int64_t blocks, const int64_t *B, T cf, T ch, const T *X, const T *DX, T *DY) { \\
  LOOP for (int64_t n = 0; n < count; n++) { \\
    const T *x = X + n * from; const T *d = DX + n * from; const T *z = x + scalars; const T *dz = d + scalars; \\
    T *y = DY + n * to; \\
    ROW(u, scalars, store(y + u, cf * f##_slope(load(x + u, l)) * load(d + u, l), l);) \\
    for (int64_t b = 0; b < blocks; b++) { \\
      const int64_t at = B[3 * b]; const int64_t size = B[3 * b + 1]; const int64_t mul = B[3 * b + 2]; \\
      ROW(u, mul, \\
        const V s = load(z + u, l); const V scale = ch * h(s); \\
        const V move = ch * h##_slope(s) * load(dz + u, l); \\
        for (int64_t m = 0; m < size; m++) { const int64_t k = at + m * mul + u; \\
          store(y + k, scale * load(d + gates + k, l) + move * load(x + gates + k, l), l); }) \\
      z += mul; dz += mul; } } } \\
static void bend_gate_##f##_##h(int64_t count, int64_t threads, int64_t from, int64_t to, int64_t scalars, \\
    int64_t gates, int64_t blocks, const int64_t *B, T cf, T ch, const T *X, const T *DX, const T *H, const T *G, \\
    T *OUT, T *DOUT) { \\
  LOOP for (int64_t n = 0; n < count; n++) { \\
    const T *x = X + n * from; const T *d = DX + n * from; const T *z = x + scalars; const T *dz = d + scalars; \\
    const T *eta = H + n * to; const T *g = G + n * to; T *o = OUT + n * from; T *p = DOUT + n * from; \\
    T *oz = o + scalars; T *pz = p + scalars; \\
    ROW(u, scalars, \\
      const V a = load(x + u, l); const V slope = cf * f##_slope(a); const V q = load(g + u, l); \\
      store(p + u, slope * q, l); \\
      store(o + u, slope * load(eta + u, l) + cf * f##_bend(a) * load(d + u, l) * q, l);) \\
    for (int64_t b = 0; b < blocks; b++) { \\
      const int64_t at = B[3 * b]; const int64_t size = B[3 * b + 1]; const int64_t mul = B[3 * b + 2]; \\
      ROW(u, mul, \\
        const V s = load(z + u, l); const V scale = ch * h(s); const V slope = ch * h##_slope(s); \\
        const V move = slope * load(dz + u, l); const V bend = ch * h##_bend(s) * load(dz + u, l); \\
        V along = {0}; V across = {0}; \\
        for (int64_t m = 0; m < size; m++) { const int64_t k = at + m * mul + u; \\
          const V q = load(g + k, l); const V r = load(eta + k, l); const V value = load(x + gates + k, l); \\
          store(p + gates + k, scale * q, l); store(o + gates + k, scale * r + move * q, l); \\
          along += value * q; across += value * r + load(d + gates + k, l) * q; } \\
        store(pz + u, slope * along, l); store(oz + u, slope * across + bend * along, l);) \\
      z += mul; dz += mul; oz += mul; pz += mul; } } }
MOVED_GATE(silu, silu) MOVED_GATE(silu, sigmoid) MOVED_GATE(sigmoid, silu) MOVED_GATE(sigmoid, sigmoid)

// W += scale X^T G for each product of a list: the gradient by its matrices
static void by_matrices(gemm_t gemm, int64_t count, const int64_t *tasks, const double *scales, int64_t rows,
                        int64_t ldx, int64_t ldy, const T *X, const T *G, T *W) {
  const int n = rows, lx = ldx, ly = ldy; const T beta = 1;
  if (rows) for (int64_t i = 0; i < count; i++) {
    const int64_t *t = tasks + 7 * i;
    const int k = t[3], c = t[4], ldw = t[5]; const T alpha = scales[i];
    gemm("N", "T", &c, &k, &n, &alpha, G + t[1], &ly, X + t[0], &lx, &beta, W + t[2], &ldw);
  }
}
static void sum_rows(int64_t count, int64_t width, const T *x, T *out) {
  for (int64_t n = 0; n < count; n++) ROW(i, width, store(out + i, load(out + i, l) + load(x + n * width + i, l), l);)
}
static void add_columns(int64_t count, int64_t width, const int64_t *columns, int64_t numbers, const T *x, T *out) {
  for (int64_t n = 0; n < count; n++) for (int64_t i = 0; i < numbers; i++) out[i] += x[n * width + columns[i]];
}
// weight[path, kind] += sum of table[term, path] C[kind, term]
static void by_coefficients(int64_t entries, const int64_t *where, const T *table, int64_t terms, int64_t kinds,
                            int64_t channels, const T *C, T *weight) {
  for (int64_t i = 0; i < entries; i++)
    for (int64_t k = 0; k < kinds; k++) {
      const T *c = C + (k * terms + where[2 * i]) * channels; const T by = table[i];
      T *w = weight + (where[2 * i + 1] * kinds + k) * channels;
      ROW(u, channels, store(w + u, load(w + u, l) + by * load(c + u, l), l);)
    }
}
"""
