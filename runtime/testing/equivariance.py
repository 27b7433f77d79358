"""How group elements act on features, and how far a function is from respecting them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..irreps import Irreps
from ..tables.wigner import wigner_D


def representation(rep: str, element: Tensor) -> Tensor:
    """The matrix of a group element on a feature, in its flat layout.

    `element` is orthogonal: 3 x 3 for reps of O(3), a rotation 2 x 2 for reps of SO(2). Plain numbers stay.

    Shapes:    -> [dim, dim] float64
    """
    irreps = Irreps.parse(rep)
    matrices = []
    for block in irreps:
        if irreps.group == "O(3)":
            sign = torch.linalg.det(element).sign().item()
            proper = (element * sign).numpy()
            matrix = torch.from_numpy(wigner_D(block.l, proper)) * (block.p if sign < 0 else 1)
        elif block.size == 2:
            matrix = torch.linalg.matrix_power(element, block.l)
        else:
            matrix = torch.eye(1, dtype=torch.float64)
        matrices.append(torch.kron(matrix, torch.eye(block.mul, dtype=torch.float64)))
    return torch.block_diag(*matrices)


def transform(x: Tensor, rep: str | None, element: Tensor) -> Tensor:
    """x under a group element; `rep` None: x does not change."""
    return x if rep is None else x @ representation(rep, element).T.to(x.dtype)


def equivariance_error(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    reps: Sequence[str | None],
    out: str,
    element: Tensor,
) -> float:
    """The largest entry of f(g x) - g f(x), relative to the largest of f(x)."""
    plain = function(*inputs)
    turned = function(*(transform(x, rep, element) for x, rep in zip(inputs, reps, strict=True)))
    difference = (turned - transform(plain, out, element)).abs().max()
    return float((difference / plain.abs().max()).detach())


def assert_equivariant(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    reps: Sequence[str | None],
    out: str,
    element: Tensor,
    tolerance: float,
) -> None:
    """Raise AssertionError where `equivariance_error` exceeds `tolerance`."""
    error = equivariance_error(function, inputs, reps, out, element)
    assert error <= tolerance, f"equivariance error {error:.2e} exceeds {tolerance:.0e}"
