"""How generated code reads a table: where an edge lies between the knots, and the spline there."""

from __future__ import annotations

# c: factors of the six rows around an edge (two knots; value, slope and curvature at each), d: their derivatives
# by the length. Below the first knot they are NaN, from the last on 0 (see layers/table.py).
LOCATE = """
INLINE const T *locate(int64_t e, const T *R, const int64_t *kind, const T *KNOTS, int64_t intervals,
                       int64_t columns, double start, double end, T *c, T *d) {
  const T per = (T)(intervals / (end - start)), s = (R[e] - (T)start) * per;
  int64_t k = s > 0 ? (int64_t)s : 0;
  if (k > intervals - 1) k = intervals - 1;
  const T t = s - k, u = 1 - t, tt = t * t, uu = u * u;
  c[0] = u * uu * (1 + t * (3 + 6 * t)); c[1] = u * uu * t * (1 + 3 * t); c[2] = u * uu * tt / 2;
  c[3] = t * tt * (1 + u * (3 + 6 * u)); c[4] = -t * tt * u * (1 + 3 * u); c[5] = t * tt * uu / 2;
  if (d) {
    d[0] = -30 * tt * uu * per; d[1] = uu * (1 + t * (2 - 15 * t)) * per; d[2] = t * uu * (2 - 5 * t) / 2 * per;
    d[3] = -d[0]; d[4] = tt * (1 + u * (2 - 15 * u)) * per; d[5] = -u * tt * (2 - 5 * u) / 2 * per;
  }
  if (!(R[e] >= (T)start)) for (int i = 0; i < 6; i++) { c[i] = __builtin_nan(""); if (d) d[i] = c[i]; }
  if (R[e] >= (T)end) for (int i = 0; i < 6; i++) { c[i] = 0; if (d) d[i] = 0; }
  return KNOTS + ((kind ? kind[e] : 0) * (intervals + 1) + k) * 3 * columns;
}
"""


def spline(rows: str, factors: str, start: str, columns: int, lanes: str = "lanes") -> str:
    """The sum of the six rows at some columns, by their factors."""
    return " + ".join(f"{factors}[{j}] * load({rows} + {j * columns} + {start}, {lanes})" for j in range(6))


def arguments() -> str:
    """What `locate` reads, as arguments of a kernel."""
    return "const T *R, const int64_t *kind, const T *KNOTS, int64_t intervals, double start, double end"


def locate(values: str, slopes: str, columns: int, rows: str) -> str:
    """A statement that finds the rows of edge e and their factors; `slopes` is "0" where none are wanted."""
    return f"{rows} = locate(e, R, kind, KNOTS, intervals, {columns}, start, end, {values}, {slopes});"
