"""What every generated kernel begins with: the number type, vectors of it, and how they are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

C_TYPES = {torch.float32: "float", torch.float64: "double"}

_PRELUDE = """
#include <stdint.h>
#include <string.h>
typedef @T@ T;
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef T V __attribute__((vector_size(BYTES)));
enum { LANES = BYTES / sizeof(T) };
#define INLINE static inline __attribute__((always_inline))
// `lanes` is a constant wherever these are inlined: a full vector is one instruction
INLINE V load(const T *p, int lanes) { V v = {0}; memcpy(&v, p, lanes * sizeof(T)); return v; }
INLINE void store(T *p, V v, int lanes) { memcpy(p, &v, lanes * sizeof(T)); }
// the sum of all lanes, half on half while they stay in a register: as a walk over an array it is one long wait
INLINE T total(V v) {
#define FOLD(bytes) if (BYTES >= bytes && sizeof(T) < bytes / 2) { \\
    typedef T H __attribute__((vector_size(bytes / 2))); H a, b; \\
    memcpy(&a, &v, bytes / 2); memcpy(&b, (char *)&v + bytes / 2, bytes / 2); a += b; memcpy(&v, &a, bytes / 2); }
  FOLD(64) FOLD(32) FOLD(16)
  return v[0] + v[1];
}
"""


def prelude(dtype: torch.dtype) -> str:
    """The head of a kernel for numbers of `dtype`."""
    return _PRELUDE.replace("@T@", C_TYPES[dtype])


def number(value: float) -> str:
    """A constant, exact in float64, of the kernel's type."""
    return f"(T){value!r}"


def total(terms: Iterable[str]) -> str:
    """A sum of expressions; 0 where there are none."""
    return " + ".join(terms) or "(V){0}"


def scaled(terms: Sequence[tuple[float, str]]) -> str:
    """A sum of constants times expressions, ones left out."""
    return " + ".join(name if value == 1.0 else f"{number(value)} * {name}" for value, name in terms)


def tiles(call: str, channels: int) -> str:
    """`call` for all channels, a vector of them at a time; in it U stands for the first and L for how many."""

    def at(start: str, lanes: str) -> str:
        return call.replace("@U@", start).replace("@L@", lanes)

    return (
        f"for (int u = 0; u + LANES <= {channels}; u += LANES) {at('u', 'LANES')}\n"
        f"if ({channels} % LANES) {at(f'({channels} - {channels} % LANES)', f'({channels} % LANES)')}\n"
    )
