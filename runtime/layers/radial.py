"""Functions of the length of an edge: seven bases, and the envelopes that end them at the cutoff."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..errors import ArtifactError
from .base import Constant, Layer, Params

EnvelopeFunction = Callable[[Tensor], Tensor]


def envelope_of(shape: Mapping[str, float] | None, cutoff: float) -> EnvelopeFunction:
    """The function f(r) of a shape: 1 near 0, and 0 from the cutoff on.

        polynomial p:   1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2),  x = r / cutoff
        cosine:         (1 + cos pi u) / 2            u = (r - start) / (cutoff - start), held to [0, 1]
        switch:         1 + u^3 (-6 u^2 + 15 u - 10)
        bump:           (1 + tanh cot pi u) / 2
        exponential:    exp(-x^2 / (1 - x^2))
        open:           1 everywhere

    Raises:
        ArtifactError: there is no such shape.
    """
    if shape is None:
        return lambda r: (r < cutoff).to(r.dtype)
    ((name, value),) = shape.items()
    if name == "open":
        return torch.ones_like
    if name == "polynomial":
        return lambda r: _polynomial(r / cutoff, int(value))
    start = float(value) * cutoff
    forms = {"cosine": _cosine, "switch": _switch, "bump": _bump}
    if name in forms:
        return lambda r: forms[name](((r - start) / (cutoff - start)).clamp(0.0, 1.0))
    if name == "exponential":
        return lambda r: _exponential(r / cutoff)
    known = ", ".join(("polynomial", *forms, "exponential", "open"))
    raise ArtifactError(f"envelope `{name}` is not known", help=f"known: {known}")


def _polynomial(x: Tensor, p: int) -> Tensor:
    inside = 1.0 - x**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * x + (p * (p + 1) / 2) * x * x)
    return inside * (x < 1.0)


def _cosine(u: Tensor) -> Tensor:
    return 0.5 + 0.5 * torch.cos(math.pi * u)


def _switch(u: Tensor) -> Tensor:
    return 1.0 + u**3 * (-6.0 * u * u + 15.0 * u - 10.0)


def _bump(u: Tensor) -> Tensor:
    # the ends are replaced, so that no gradient is infinity times zero
    between = (u > 1e-3) & (u < 1.0 - 1e-3)
    safe = torch.where(between, u, 0.5)
    inside = 0.5 + 0.5 * torch.tanh(torch.cos(math.pi * safe) / torch.sin(math.pi * safe))
    return torch.where(between, inside, (u < 0.5).to(u.dtype))


def _exponential(x: Tensor) -> Tensor:
    between = x < 1.0 - 1e-4  # exp(-5000) is 0 in float64
    square = torch.where(between, x, 0.0).square()
    return torch.exp(-square / (1.0 - square)) * between


class Envelope(Layer):
    """The function alone that takes a message to zero at the cutoff.

        y = f(r)

    Shapes:    r [edge, 1] -> y [edge, 1]
    Units:     r in Å, y dimensionless
    Claims:    invariant; at the cutoff C2 (polynomial, switch), C1 (cosine), or smooth (bump, exponential)
    Reference: gasteiger2020dimenet, equation 8; the others as their names say
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.envelope = envelope_of(params["shape"], float(params["cutoff"]))

    def forward(self, r: Tensor) -> Tensor:
        return self.envelope(r)


class Radial(Layer):
    """A basis of functions of the length, under an envelope that ends them at the cutoff c.

        bessel:     sqrt(2 / c) sin(n pi r / c) / r                      n = 1..count
        gaussian:   exp(-(r - m_n)^2 / (2 w_n^2)), m_n from 0 to c, w_n their distance
        chebyshev:  T_n(2 r / c - 1)                                     n = 0..count - 1
        monomial:   (r / c)^n                                            n = 0..count - 1
        bernstein:  C(N, n) y^n (1 - y)^(N - n), y = exp(-a r)           n = 0..N = count - 1
        inverse:    (1 Å / r)^n                                          n = 1..count
        spline:     B((count r / c + 3 - n)),  B the cubic B-spline on [0, 4], n = 0..count - 1

    Trainable: n pi / c; m_n and w_n; a = softplus(parameter), 1 / Å.

    Shapes:    r [edge, 1] -> b [edge, count]
    Units:     r in Å, b dimensionless by convention
    Claims:    invariant; the zeros at the cutoff of basis (bessel 1, spline 3) and envelope add up
    Reference: gasteiger2020dimenet; schutt2017schnet; drautz2019ace; unke2021spookynet
    Reference: zhang2018deeppotse (inverse); boor1978guide (spline)
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.cutoff, self.count = float(params["cutoff"]), int(params["count"])
        self.envelope = envelope_of(params["envelope"], self.cutoff)
        bases = {
            "bessel": self._bessel,
            "gaussian": self._gaussian,
            "chebyshev": self._chebyshev,
            "monomial": self._monomial,
            "bernstein": self._bernstein,
            "inverse": self._inverse,
            "spline": self._spline,
        }
        name = params["basis"]
        if name not in bases:
            raise ArtifactError(f"radial basis `{name}` is not known", help=f"known: {', '.join(bases)}")
        self.basis = bases[name]
        numbers = torch.arange(self.count, dtype=torch.float64)
        start = {
            "bessel": lambda: (numbers + 1.0) * math.pi / self.cutoff,
            "gaussian": lambda: torch.stack(
                (numbers * _spacing(self), torch.full_like(numbers, _spacing(self)))
            ),
            "bernstein": lambda: torch.tensor(math.log(math.expm1(0.5)), dtype=torch.float64),
        }
        self.table: Constant | None = None
        self.start = start[name]() if name in start else None
        self.weight: torch.nn.Parameter | None = None
        if self.start is not None and params.get("trainable", False):
            self.weight = torch.nn.Parameter(self.start.clone())
        elif self.start is not None:
            self.table = Constant(self.start)
        if name == "bernstein":
            top = self.count - 1
            self.binomials = Constant(torch.tensor([float(math.comb(top, n)) for n in range(self.count)]))
        if name in ("bernstein", "monomial", "inverse", "spline", "chebyshev"):
            self.numbers = Constant(numbers)

    def initialise(self, generator: torch.Generator) -> None:
        if self.weight is not None and self.start is not None:
            with torch.no_grad():
                self.weight.copy_(self.start)

    def values(self) -> Tensor:
        """Frequencies, centres and widths, or the exponent: trained or fixed."""
        if self.weight is not None:
            return self.weight
        assert self.table is not None
        return self.table.value

    def forward(self, r: Tensor) -> Tensor:
        return self.basis(r) * self.envelope(r)

    def _bessel(self, r: Tensor) -> Tensor:
        # at r = 0 the quotient is replaced by its limit, so that no gradient divides by 0
        frequencies = self.values()
        zero = (r == 0.0).to(r.dtype)
        waves = torch.sin(r * frequencies) / (r + zero) + zero * frequencies
        return waves * math.sqrt(2.0 / self.cutoff)

    def _gaussian(self, r: Tensor) -> Tensor:
        centres, widths = self.values().unbind()
        return torch.exp(-0.5 * ((r - centres) / widths).square())

    def _chebyshev(self, r: Tensor) -> Tensor:
        # by recursion: the cosine of an arc cosine has no derivative at the ends
        x = 2.0 * r / self.cutoff - 1.0
        terms = [torch.ones_like(x), x]
        while len(terms) < self.count:
            terms.append(2.0 * x * terms[-1] - terms[-2])
        return torch.cat(terms[: self.count], dim=-1)

    def _monomial(self, r: Tensor) -> Tensor:
        return _powers(r / self.cutoff, self.count)

    def _bernstein(self, r: Tensor) -> Tensor:
        decay = torch.exp(-torch.nn.functional.softplus(self.values()) * r)
        rising, falling = _powers(decay, self.count), _powers(1.0 - decay, self.count)
        return self.binomials.value * rising * falling.flip(-1)

    def _inverse(self, r: Tensor) -> Tensor:
        zero = (r == 0.0).to(r.dtype)
        return _powers((1.0 - zero) / (r + zero), self.count + 1)[..., 1:]

    def _spline(self, r: Tensor) -> Tensor:
        x = r * (self.count / self.cutoff) + 3.0 - self.numbers.value
        return _cubic_spline(x)


def _spacing(layer: Radial) -> float:
    return layer.cutoff / max(layer.count - 1, 1)


def _powers(x: Tensor, count: int) -> Tensor:
    """x^0 .. x^(count - 1), by multiplication: x ** 0 has no second derivative at 0."""
    terms = [torch.ones_like(x)]
    for _ in range(count - 1):
        terms.append(terms[-1] * x)
    return torch.cat(terms, dim=-1)


def _cubic_spline(x: Tensor) -> Tensor:
    """The cubic B-spline on the knots 0, 1, 2, 3, 4: a sum of truncated powers."""
    total = torch.zeros_like(x)
    for knot, weight in enumerate((1.0, -4.0, 6.0, -4.0)):
        total = total + weight * (x - knot).clamp(min=0.0) ** 3
    return torch.where(x < 4.0, total / 6.0, 0.0)
