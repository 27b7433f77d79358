"""C that the compiled step is put together from, beside the kernels: loops over rows, and activations."""

from __future__ import annotations

import math

import torch

# exp x = 2^k exp(f), |f| <= log(2) / 2, k rounded by adding what leaves no place for a fraction
_EXPONENTS = {
    torch.float32: {
        "F": "f",
        "I": "int32_t",
        "SHIFT": "23",
        "BIAS": "127",
        "BIG": "12582912.0",
        "LIMIT": "87.0",
        # log 2 in two parts, the first so short that its multiples are exact
        "HIGH": "0.693359375",
        "LOW": "-2.12194440e-4",
    },
    torch.float64: {
        "F": "",
        "I": "int64_t",
        "SHIFT": "52",
        "BIAS": "1023",
        "BIG": "6755399441055744.0",
        "LIMIT": "708.0",
        "HIGH": "6.93145751953125e-1",
        "LOW": "1.42860682030941723212e-6",
    },
}
# terms of the series of exp(f): what follows is below the rounding of the type
_TERMS = {torch.float32: 7, torch.float64: 13}

_SOURCE = """
#include <math.h>
#include <stdlib.h>
typedef void (*kernel_t)();
typedef @I@ I;
typedef I VI __attribute__((vector_size(BYTES)));
enum { FEW = 8192 };
#define ROOT sqrt@F@
#define SIN sin@F@
#define COS cos@F@
#define LOOP _Pragma("omp parallel for num_threads(threads) schedule(static) if(threads > 1 && count > FEW)")

INLINE V exponential(V x) {
  const V low = (V){0} - (T)@LIMIT@, high = (V){0} + (T)@LIMIT@;
  VI under = x < low, over = x > high;
  x = (V)(((VI)x & ~under) | ((VI)low & under)); x = (V)(((VI)x & ~over) | ((VI)high & over));
  const V k = x * (T)1.4426950408889634074 + (T)@BIG@, whole = k - (T)@BIG@;
  const V f = (x - whole * (T)@HIGH@) - whole * (T)@LOW@;
  V y = (V){0} + (T)@LAST@;
  @HORNER@
  // the low bits of k hold the whole number
  const VI power = (((VI)k << @SHIFT@) + ((VI){0} + ((I)@BIAS@ << @SHIFT@)));
  return y * (V)power;
}
INLINE V sigmoid(V x) { return 1 / (1 + exponential(-x)); }
INLINE V silu(V x) { return x * sigmoid(x); }
// 1 - s as e s: a difference of numbers near 1 would leave little of it
INLINE V silu_slope(V x) { const V e = exponential(-x), s = 1 / (1 + e); return s * (1 + x * (e * s)); }
INLINE V sigmoid_slope(V x) { const V e = exponential(-x), s = 1 / (1 + e); return s * (e * s); }

// BODY for a row of numbers, u the first of them and l how many: as a constant but for the last ones
#define ROW(u, count, BODY) { \\
  for (int64_t u = 0; u + LANES <= (count); u += LANES) { enum { l = LANES }; BODY } \\
  if ((count) % LANES) { const int64_t u = (count) - (count) % LANES; const int l = (count) % LANES; BODY } }
// BODY for all numbers, LANES at a time from i on, the last ones with fewer lanes
#define EACH(BODY) { \\
  const int64_t count = numbers, blocks = count / LANES; \\
  LOOP for (int64_t block = 0; block < blocks; block++) { \\
    const int64_t i = block * LANES; const int lanes = LANES; BODY } \\
  if (count % LANES) { const int64_t i = blocks * LANES; const int lanes = count % LANES; BODY } }

static void add(int64_t numbers, int64_t threads, const T *a, const T *b, T *out)
EACH(store(out + i, load(a + i, lanes) + load(b + i, lanes), lanes);)
static void multiply(int64_t numbers, int64_t threads, T by, const T *a, T *out)
EACH(store(out + i, by * load(a + i, lanes), lanes);)
#define ACTIVATION(f) \\
static void act_##f(int64_t numbers, int64_t threads, T by, const T *x, T *out) \\
EACH(store(out + i, by * f(load(x + i, lanes)), lanes);) \\
static void slope_##f(int64_t numbers, int64_t threads, T by, const T *x, const T *g, T *out) \\
EACH(store(out + i, by * load(g + i, lanes) * f##_slope(load(x + i, lanes)), lanes);)
ACTIVATION(silu)
ACTIVATION(sigmoid)

static void add_double(int64_t numbers, int64_t threads, const double *a, const double *b, double *out) {
  for (int64_t i = 0; i < numbers; i++) out[i] = a[i] + b[i];
}
// columns [from, from + width) of rows, into columns of others
static void columns(int64_t count, int64_t threads, int64_t width, const T *x, int64_t ldx, T *y, int64_t ldy,
                    int add) {
  LOOP for (int64_t n = 0; n < count; n++)
    if (add) for (int64_t i = 0; i < width; i++) y[n * ldy + i] += x[n * ldx + i];
    else memcpy(y + n * ldy, x + n * ldx, width * sizeof(T));
}
static void spread(int64_t count, int64_t threads, int64_t width, const T *row, T *y) {
  LOOP for (int64_t n = 0; n < count; n++) memcpy(y + n * width, row, width * sizeof(T));
}
static void rows_of(int64_t count, int64_t threads, int64_t width, const int64_t *index, const T *x, T *y) {
  LOOP for (int64_t n = 0; n < count; n++) memcpy(y + n * width, x + index[n] * width, width * sizeof(T));
}
static void place_rows(int64_t count, int64_t threads, int64_t width, const int64_t *place, const T *x, T *y) {
  LOOP for (int64_t n = 0; n < count; n++) memcpy(y + place[n] * width, x + n * width, width * sizeof(T));
}
static void take_rows(int64_t count, int64_t threads, int64_t width, const int64_t *place, const T *x, T *y,
                      int add) {
  LOOP for (int64_t n = 0; n < count; n++)
    if (add) for (int64_t i = 0; i < width; i++) y[n * width + i] += x[place[n] * width + i];
    else memcpy(y + n * width, x + place[n] * width, width * sizeof(T));
}
// the first number that names none of `kinds`, from 1; 0 where all do
static int64_t outside(int64_t count, const int64_t *index, int64_t kinds) {
  for (int64_t n = 0; n < count; n++) if (index[n] < 0 || index[n] >= kinds) return n + 1;
  return 0;
}
// where each row goes so that rows of one species lie side by side, and after them where each species ends
static void sort_rows(int64_t nodes, int64_t kinds, const int64_t *species, int64_t *place) {
  int64_t *end = place + nodes, from = 0;
  memset(end, 0, kinds * sizeof(int64_t));
  for (int64_t n = 0; n < nodes; n++) end[species[n]]++;
  for (int64_t s = 0; s < kinds; s++) { const int64_t size = end[s]; end[s] = from; from += size; }
  for (int64_t n = 0; n < nodes; n++) place[n] = end[species[n]]++;
}
"""


def pieces(dtype: torch.dtype) -> str:
    """The helpers for numbers of a dtype; they follow the prelude."""
    terms = _TERMS[dtype]
    horner = " ".join(f"y = y * f + (T){1.0 / math.factorial(n)!r};" for n in reversed(range(terms)))
    text = _SOURCE.replace("@HORNER@", horner).replace("@LAST@", repr(1.0 / math.factorial(terms)))
    for name, value in _EXPONENTS[dtype].items():
        text = text.replace(f"@{name}@", value)
    return text
