"""The symmetric power as one operator, differentiable to any order by features, to second order by weights."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from equic.runtime.layers.base import Constant, Hidden, Layer
from equic.runtime.layers.power import Power
from torch import Tensor

from .ops import LIBRARY, pointer, threads, toolchain, wanted, whole
from .power_source import PowerSpec, backward_source, forward_source, power_spec

LIBRARY.define("power(Tensor a, Tensor c, Tensor species, str spec) -> Tensor")
LIBRARY.define(
    "power_backward(Tensor g, Tensor a, Tensor c, Tensor? da, Tensor species, str spec, str wanted) "
    "-> (Tensor, Tensor, Tensor)"
)


class PowerKernel(Layer):
    """A `power` layer's function, evaluated as one sparse polynomial for each output component.

        out_(n,w,u) = sum_t C_(z_n,t,u) prod_(i in t) a_(n,i,u),    C_(z,t,u) = sum_path B_(t,path) W_(path,z,u)

    The layer keeps its weights; C is linear in them, and so are the gradients.

    Shapes:    a [node, in.dim], species [node] -> [node, out.dim]
    Units:     those of the layer
    Claims:    those of the layer
    """

    def __init__(self, power: Power) -> None:
        super().__init__()
        self.power = Hidden(power)
        spec, table = _polynomials(power)
        self.spec = spec.to_text()
        self.table = Constant(table)

    def coefficients(self) -> Tensor:
        """C [species, term, channel]."""
        power = self.power.module
        assert isinstance(power, Power)
        _, kinds, channels = power.weight.shape
        made = (self.table() @ power.weight.flatten(1)).view(-1, kinds, channels)
        return made.transpose(0, 1).contiguous()

    def forward(self, a: Tensor, species: Tensor) -> Tensor:
        return _Power.apply(a, self.coefficients(), species, self.spec)


def count_terms(power: Power) -> int:
    """How many monomials the polynomials of a layer have: what the length of the code goes with."""
    return sum(
        int(
            (power.tables[term.product].exact.split(power.pieces[term.product])[term.piece] != 0).any(0).sum()
        )
        * power.out[term.block].size
        for term in power.terms
    )


def _polynomials(power: Power) -> tuple[PowerSpec, Tensor]:
    """The monomials of each output component, and B [term, path]."""
    starts = [0]
    for block in power.out:
        starts.append(starts[-1] + block.size)
    rows: dict[tuple[int, tuple[int, ...]], dict[int, float]] = {}
    path = 0
    for term in power.terms:
        table = power.tables[term.product].exact.split(power.pieces[term.product])[term.piece]
        size = power.out[term.block].size
        for number, values in enumerate(table.view(term.paths, size, -1)):
            for m in range(size):
                for place in values[m].nonzero().flatten().tolist():
                    key = (starts[term.block] + m, power.monomials[term.product][place])
                    rows.setdefault(key, {})[path + number] = float(values[m, place])
        path += term.paths
    terms = tuple(sorted(rows))
    matrix = torch.zeros(len(terms), path, dtype=torch.float64)
    for t, term_ in enumerate(terms):
        for p, value in rows[term_].items():
            matrix[t, p] = value
    return PowerSpec(power.size, starts[-1], power.channels, terms), matrix


class _Power(torch.autograd.Function):
    """out(a, C)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, c: Tensor, species: Tensor, spec: str) -> Tensor:
        ctx.save_for_backward(a, c, species)
        ctx.spec = spec
        return torch.ops.equic.power(a, c, species, spec)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, c, species = ctx.saved_tensors
        names = "".join(name for name, want in zip("ac", wanted(ctx, 2), strict=True) if want)
        by_a, by_c = _Gradients.apply(g, a, c, species, ctx.spec, names)
        return by_a if "a" in names else None, by_c if "c" in names else None, None, None


class _Gradients(torch.autograd.Function):
    """The gradients of <g, out> by a and C; empty where not wanted."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, a: Tensor, c: Tensor, species: Tensor, spec: str, names: str
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(g, a, c, species)
        ctx.spec, ctx.names = spec, names
        ctx.set_materialize_grads(False)
        by_a, by_c, _ = torch.ops.equic.power_backward(g, a, c, None, species, spec, names)
        return by_a, by_c

    @staticmethod
    def backward(ctx: Any, da: Tensor | None, dc: Tensor | None) -> tuple[Tensor | None, ...]:
        """With S = <da, F_a> + <dC, F_C>, F = <g, out> and out linear in C: the first part's gradients are
        derivatives of out, F_a and F_C along da, the second's are out and F_a with dC in the place of C."""
        g, a, c, species = ctx.saved_tensors
        need = wanted(ctx, 3)
        if torch.is_grad_enabled():
            return (*_plain_derivatives(g, a, c, da, dc, species, ctx.spec), None, None, None)
        by_g = by_a = by_c = None
        if da is not None and "a" in ctx.names:
            names = "".join(name for name, want in zip("oac", need, strict=True) if want)
            by_a, by_c, by_g = torch.ops.equic.power_backward(g, a, c, da, species, ctx.spec, names)
        if dc is not None and "c" in ctx.names:
            value = torch.ops.equic.power(a, dc, species, ctx.spec)
            move, *_ = torch.ops.equic.power_backward(g, a, dc, None, species, ctx.spec, "a")
            by_g = value if by_g is None or not need[0] else by_g + value
            by_a = move if by_a is None or not need[1] else by_a + move
        found = (by_g, by_a, by_c)
        kept = (value if want else None for value, want in zip(found, need, strict=True))
        return (*kept, None, None, None)


def _plain_derivatives(
    g: Tensor, a: Tensor, c: Tensor, da: Tensor | None, dc: Tensor | None, species: Tensor, text: str
) -> tuple[Tensor | None, ...]:
    """The gradients of <da, F_a> + <dC, F_C> by g, a and C from torch's own operations, for derivatives of
    third and higher order: those are rare, and need not be fast."""
    spec = power_spec(text)
    with torch.enable_grad():
        # partial derivatives: g may itself depend on a, and must not be followed there
        g, a, c = (value.view_as(value) for value in (g, a, c))
        x = a.unflatten(1, (spec.inputs, spec.channels))
        parts = [a.new_zeros(a.shape[0], spec.channels) for _ in range(spec.outputs)]
        for number, (component, monomial) in enumerate(spec.terms):
            value = c[:, number].index_select(0, species)
            for factor in monomial:
                value = value * x[:, factor]
            parts[component] = parts[component] + value
        out = torch.stack(parts, 1).flatten(1)
        first = torch.autograd.grad(
            (out * g).sum(), (a, c), create_graph=True, allow_unused=True, materialize_grads=True
        )
        along = [
            (m * f).sum() for m, f in zip((da, dc), first, strict=True) if m is not None and f.requires_grad
        ]
        if not along:
            return None, None, None
        inputs = [value for value in (g, a, c) if value.requires_grad]
        made = iter(torch.autograd.grad(sum(along), inputs, create_graph=True, materialize_grads=True))
        return tuple(next(made) if value.requires_grad else None for value in (g, a, c))


def _check(spec: PowerSpec, a: Tensor, c: Tensor, species: Tensor) -> None:
    """The kernel reads what these say is there."""
    if a.ndim != 2 or a.shape[1] != spec.inputs * spec.channels or species.shape != a.shape[:1]:
        raise ValueError(f"a power of {spec.inputs} x {spec.channels} numbers got {list(a.shape)}")
    if len(species) and not 0 <= int(species.min()) <= int(species.max()) < c.shape[0]:
        raise IndexError(f"a species is not among the {c.shape[0]} of the model")


def _forward(a: Tensor, c: Tensor, species: Tensor, text: str) -> Tensor:
    spec, found = power_spec(text), toolchain()
    _check(spec, a, c, species)
    out = a.new_empty((a.shape[0], spec.outputs * spec.channels))
    held = [whole(value) for value in (species, a, c)]
    found.load(forward_source(text, a.dtype)).forward(
        ctypes.c_int64(a.shape[0]), threads(found), *(pointer(value) for value in (*held, out))
    )
    return out


def _backward(
    g: Tensor, a: Tensor, c: Tensor, da: Tensor | None, species: Tensor, text: str, wanted: str
) -> tuple[Tensor, Tensor, Tensor]:
    spec, found = power_spec(text), toolchain()
    _check(spec, a, c, species)
    made = _fake_backward(g, a, c, da, species, text, wanted)
    if wanted:
        held = [whole(value) for value in (species, a, c, g, da)]
        found.load(backward_source(text, a.dtype, wanted, da is not None)).backward(
            ctypes.c_int64(a.shape[0]),
            ctypes.c_int64(c.shape[0]),
            threads(found),
            *(pointer(value) for value in (*held, *made)),
        )
    return made


def _fake_forward(a: Tensor, c: Tensor, species: Tensor, text: str) -> Tensor:
    spec = power_spec(text)
    return a.new_empty((a.shape[0], spec.outputs * spec.channels))


def _fake_backward(
    g: Tensor, a: Tensor, c: Tensor, da: Tensor | None, species: Tensor, text: str, wanted: str
) -> tuple[Tensor, Tensor, Tensor]:
    by_a, by_c, by_g = (
        value.new_empty(value.shape if name in wanted else (0,))
        for name, value in zip("aco", (a, c, g), strict=True)
    )
    return by_a, by_c, by_g


LIBRARY.impl("power", _forward, "CPU")
LIBRARY.impl("power_backward", _backward, "CPU")
torch.library.register_fake("equic::power", _fake_forward, lib=LIBRARY)
torch.library.register_fake("equic::power_backward", _fake_backward, lib=LIBRARY)
