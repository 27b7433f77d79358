"""What every layer is: a torch module that says what it needs beside the values of earlier steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Params = Mapping[str, Any]


class Layer(nn.Module):
    """One kind of step. Built from the step's parameters, called on the step's inputs.

    `fields` are read from the model's inputs (`edges`, `system`, ...), `statistics` from its statistics;
    `borrows` names parameters of other steps as (step, parameter). All are passed to `forward` after the
    step's inputs, in this order. Parameters are made in float64,
    filled by `initialise`, and cast with the model: one seed gives the same weights in every precision.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    statistics: ClassVar[tuple[str, ...]] = ()
    borrows: tuple[tuple[str, str], ...] = ()

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the parameters. A layer without any has nothing to do."""


class Constant(nn.Module):
    """A table that follows the model's device and dtype, always rounded from its float64 values.

    A plain buffer would keep float32's rounding when a float32 model is cast to float64 to be measured.
    """

    exact: Tensor
    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.exact = value.detach().to("cpu", torch.float64)
        self.register_buffer("value", self.exact.clone(), persistent=False)

    def forward(self) -> Tensor:
        """The table in the model's dtype."""
        return self.value

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Constant:
        like = fn(self.value)
        self.value = self.exact.to(device=like.device, dtype=like.dtype)
        return self


class Hidden:
    """A reference to a module that is not registered as a part: its parameters have one name only."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module


def parameter(*shape: int) -> nn.Parameter:
    """A float64 parameter, zero until it is initialised."""
    return nn.Parameter(torch.zeros(shape, dtype=torch.float64))


def fill_normal(weight: nn.Parameter, generator: torch.Generator, deviation: float = 1.0) -> None:
    """Draw every entry from N(0, deviation^2)."""
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, dtype=weight.dtype, generator=generator) * deviation)
