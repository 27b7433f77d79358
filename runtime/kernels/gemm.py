"""Lists of matrix products on the blocks of rows, in place: what a linear map is without copies around it.

torch's own BLAS does the work; what is spared is the cutting, joining and copying of blocks between its calls.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from .c_source import prelude
from .ops import pointer, toolchain

# a list of products one after the other
PRODUCTS = """
typedef void (*gemm_t)(const char *, const char *, const int *, const int *, const int *, const T *, const T *,
                       const int *, const T *, const int *, const T *, T *, const int *);
// tasks: x, y, w (offsets), rows of w used, columns used, width of w, begin (1: y is overwritten)
static void all(gemm_t gemm, int64_t count, const int64_t *tasks, const double *scales, int back, int64_t rows,
                int64_t ldx, int64_t ldy, const T *X, const T *W, T *Y) {
  for (int64_t i = 0; i < count; i++) {
    const int64_t *t = tasks + 7 * i;
    const int k = t[3], c = t[4], ldw = t[5], n = rows, lx = ldx, ly = ldy;
    const T alpha = scales[i], beta = t[6] ? 0 : 1;
    if (back) gemm("T", "N", &k, &n, &c, &alpha, W + t[2], &ldw, X + t[0], &lx, &beta, Y + t[1], &ly);
    else gemm("N", "N", &c, &n, &k, &alpha, W + t[2], &ldw, X + t[0], &lx, &beta, Y + t[1], &ly);
  }
}
"""
_SOURCE = """
#include <stdlib.h>
int64_t gemms(gemm_t gemm, int64_t count, const int64_t *tasks, const double *scales, int64_t back, int64_t rows,
              int64_t ldx, int64_t ldy, const T *X, const T *W, T *Y,
              const int64_t *species, int64_t kinds, int64_t size) {
  if (!rows) return 0;
  if (!species) { all(gemm, count, tasks, scales, back, rows, ldx, ldy, X, W, Y); return 0; }
  // rows of one species side by side, there and back
  int64_t *start = calloc(kinds + 1, sizeof(int64_t)), *place = malloc(rows * sizeof(int64_t));
  for (int64_t n = 0; n < rows; n++) {
    if (species[n] < 0 || species[n] >= kinds) { free(start); free(place); return n + 1; }
    start[species[n] + 1]++;
  }
  for (int64_t s = 0; s < kinds; s++) start[s + 1] += start[s];
  for (int64_t n = 0; n < rows; n++) place[n] = start[species[n]]++;
  // columns that no task writes are zero
  T *x = malloc(rows * ldx * sizeof(T)), *y = calloc(rows * ldy, sizeof(T));
  for (int64_t n = 0; n < rows; n++) memcpy(x + place[n] * ldx, X + n * ldx, ldx * sizeof(T));
  for (int64_t s = 0, from = 0; s < kinds; from = start[s++])
    if (start[s] > from)
      all(gemm, count, tasks, scales, back, start[s] - from, ldx, ldy, x + from * ldx, W + s * size, y + from * ldy);
  for (int64_t n = 0; n < rows; n++) memcpy(Y + n * ldy, y + place[n] * ldy, ldy * sizeof(T));
  free(start); free(place); free(x); free(y);
  return 0;
}
static void weights(gemm_t gemm, int64_t count, const int64_t *tasks, const double *scales, int64_t rows, int64_t ldx,
                    int64_t ldg, const T *X, const T *G, T *W) {
  const T beta = 1;
  for (int64_t i = 0; i < count; i++) {
    const int64_t *t = tasks + 7 * i;
    const int k = t[3], c = t[4], ldw = t[5], n = rows, lx = ldx, lg = ldg;
    const T alpha = scales[i];
    gemm("N", "T", &c, &k, &n, &alpha, G + t[1], &lg, X + t[0], &lx, &beta, W + t[2], &ldw);
  }
}
// the gradient of sum(G * Y) by W, which starts at zero
int64_t outer(gemm_t gemm, int64_t count, const int64_t *tasks, const double *scales, int64_t rows, int64_t ldx,
              int64_t ldg, const T *X, const T *G, T *W, const int64_t *species, int64_t kinds, int64_t size) {
  if (!rows) return 0;
  if (!species) { weights(gemm, count, tasks, scales, rows, ldx, ldg, X, G, W); return 0; }
  int64_t *start = calloc(kinds + 1, sizeof(int64_t)), *place = malloc(rows * sizeof(int64_t));
  for (int64_t n = 0; n < rows; n++) {
    if (species[n] < 0 || species[n] >= kinds) { free(start); free(place); return n + 1; }
    start[species[n] + 1]++;
  }
  for (int64_t s = 0; s < kinds; s++) start[s + 1] += start[s];
  for (int64_t n = 0; n < rows; n++) place[n] = start[species[n]]++;
  T *x = malloc(rows * ldx * sizeof(T)), *g = malloc(rows * ldg * sizeof(T));
  for (int64_t n = 0; n < rows; n++) {
    memcpy(x + place[n] * ldx, X + n * ldx, ldx * sizeof(T));
    memcpy(g + place[n] * ldg, G + n * ldg, ldg * sizeof(T));
  }
  for (int64_t s = 0, from = 0; s < kinds; from = start[s++])
    if (start[s] > from)
      weights(gemm, count, tasks, scales, start[s] - from, ldx, ldg, x + from * ldx, g + from * ldg, W + s * size);
  free(start); free(place); free(x); free(g);
  return 0;
}
"""


@dataclass(frozen=True, slots=True)
class Task:
    """Y[:, y:] (+)= scale X[:, x:] W,  W [rows, columns] inside a matrix of some width, starting at w."""

    x: int
    y: int
    w: int
    rows: int
    columns: int
    width: int
    scale: float

    @property
    def matrix(self) -> tuple[int, int, int, int]:
        """Where the matrix lies, its rows and columns, and the length of the rows that it is a part of."""
        return self.w, self.rows, self.columns, self.width


class Gemms:
    """Products that go from rows of length `source` to rows of length `out`, and back.

    Columns that no task writes are zero.
    """

    def __init__(self, tasks: Sequence[Task], source: int, out: int) -> None:
        self.sizes = source, out
        self.scales = torch.tensor([task.scale for task in tasks], dtype=torch.float64)
        self.tables, self.whole = [], []
        for back in (False, True):
            rows, written = [], set()
            for task in tasks:
                x, y = (task.y, task.x) if back else (task.x, task.y)
                first = y not in written
                written.add(y)
                rows.append([x, y, task.w, task.rows, task.columns, task.width, int(first)])
            filled = sum({row[1]: row[3] if back else row[4] for row in rows}.values())
            self.tables.append(torch.tensor(rows, dtype=torch.int64).view(-1, 7))
            self.whole.append(filled == (source if back else out))

    def __call__(
        self, x: Tensor, weights: Tensor, *, species: Tensor | None = None, back: bool = False
    ) -> Tensor:
        """y [rows, out] of x [rows, source], or with `back` x of y by the transposed matrices.

        `weights`: flat, for each species one after the other where there are species [rows].

        Raises:
            IndexError: a species has no weights.
        """
        length, width = reversed(self.sizes) if back else self.sizes
        x, weights = x.contiguous(), weights.contiguous()
        if x.shape[1] != length:
            raise ValueError(f"rows of {length} numbers were expected, not {x.shape[1]}")
        y = x.new_empty(x.shape[0], width) if self.whole[back] else x.new_zeros(x.shape[0], width)
        table = self.tables[back]
        kinds = 1 if species is None else weights.shape[0]
        wrong = _kernel(x.dtype, "gemms")(
            blas(x.dtype),
            ctypes.c_int64(len(table)),
            pointer(table),
            pointer(self.scales),
            ctypes.c_int64(back),
            *(ctypes.c_int64(number) for number in (x.shape[0], length, width)),
            *(pointer(value) for value in (x, weights, y)),
            pointer(species),
            ctypes.c_int64(kinds),
            ctypes.c_int64(weights.numel() // max(kinds, 1)),
        )
        if wrong:
            raise IndexError(f"row {wrong - 1} is of a species that is not among the {kinds} of the model")
        return y

    def outer(self, x: Tensor, g: Tensor, shape: Sequence[int], *, species: Tensor | None = None) -> Tensor:
        """The gradient of sum(g y) by weights of this shape.

        Raises:
            IndexError: a species has no weights.
        """
        x, g = x.contiguous(), g.contiguous()
        if (x.shape[1], g.shape[1]) != self.sizes or x.shape[0] != g.shape[0]:
            raise ValueError(f"rows of {self.sizes} numbers were expected, not {x.shape} and {g.shape}")
        made = x.new_zeros(tuple(shape))
        kinds = 1 if species is None else shape[0]
        wrong = _kernel(x.dtype, "outer")(
            blas(x.dtype),
            ctypes.c_int64(len(self.tables[0])),
            pointer(self.tables[0]),
            pointer(self.scales),
            *(ctypes.c_int64(number) for number in (x.shape[0], *self.sizes)),
            *(pointer(value) for value in (x, g, made)),
            pointer(species),
            ctypes.c_int64(kinds),
            ctypes.c_int64(made.numel() // max(kinds, 1)),
        )
        if wrong:
            raise IndexError(f"row {wrong - 1} is of a species that is not among the {kinds} of the model")
        return made


def has_blas() -> bool:
    """Whether torch's BLAS can be called directly; some builds of torch hide it."""
    return blas(torch.float32) is not None and blas(torch.float64) is not None


@cache
def blas(dtype: torch.dtype) -> ctypes.c_void_p | None:
    """Its product of two matrices, by the interface of Fortran; None where torch hides it."""
    return _found({torch.float32: "sgemm_", torch.float64: "dgemm_"}[dtype])


@cache
def alone() -> ctypes.c_void_p | None:
    """`int alone(int)`: how many threads a product may take that the calling thread asks for; 0 for as many as there
    are. It returns what held before. None where torch's BLAS is not MKL, which alone can tell threads apart."""
    return _found("MKL_Set_Num_Threads_Local")


def _found(name: str) -> ctypes.c_void_p | None:
    for library in Path(torch.__file__).parent.glob("lib/libtorch_cpu.*"):
        try:
            found = getattr(ctypes.CDLL(str(library)), name)
        except (OSError, AttributeError):
            continue
        return ctypes.cast(found, ctypes.c_void_p)
    return None


@cache
def _kernel(dtype: torch.dtype, name: str):  # type: ignore[no-untyped-def]  # a foreign function
    kernel = toolchain().load(prelude(dtype) + PRODUCTS + _SOURCE)[name]
    kernel.restype = ctypes.c_int64
    return kernel
