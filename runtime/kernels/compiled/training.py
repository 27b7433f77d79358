"""Training steps in C: energies, forces and stress as numbers, and on the way back the gradient by the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from equic.runtime.errors import EquicError
from torch import Tensor

from ..gemm import has_blas
from .binding import Binding, Run
from .dual import DualBuilder
from .program import DERIVATIVES
from .slots import Weight
from .writer import UnsupportedError

if TYPE_CHECKING:
    from ..runner import Runner


class WeightGradient:
    """dL/dw from the derivatives of a loss by energies, forces and stresses (see dual/builder.py).

    Raises:
        UnsupportedError: a layer of the model has no such form.
        KernelError: there is no compiler, or it refuses.
    """

    def __init__(self, runner: Runner, dtype: torch.dtype) -> None:
        self.runner = runner
        self.ends = [step for step in runner.steps if step.layer in DERIVATIVES]
        (self.scalar,) = runner.scalars
        steps = [step for step in runner.steps if step.layer not in DERIVATIVES]
        builder = DualBuilder(steps, runner.layers, self.scalar, runner.strains, runner.borrowed, dtype)
        source = builder.write()
        self.binding = Binding(source, dtype, runner.idle)
        self.to: list[tuple[Weight, int]] = []
        for slot, made in builder.weights.values():
            assert isinstance(slot.origin, Weight)
            self.to.append((slot.origin, made.number))

    def weights(self) -> list[Tensor]:
        """The weights that have a gradient, as they are now."""
        found = [origin.store[origin.key] for origin, _ in self.to]
        return [weight for weight in found if weight is not None]

    def __call__(self, context: Mapping[str, Tensor], by: Mapping[str, Tensor | None]) -> list[Tensor]:
        """The gradients by `weights`, from those by the scalar and by its derivatives (their steps' names)."""
        n, s = context["positions"].shape[0], context["cell"].shape[0]
        like = {"dtype": torch.float64}
        along = {"positions": torch.zeros(n, 3, **like), "strain": torch.zeros(s, 3, 3, **like)}
        for step in self.ends:
            g = by.get(step.name)
            if g is not None:
                # a derivative is a multiple of the gradient: its own adjoint
                direction = self.runner.layers[step.name](
                    g.to(torch.float64), *self.runner.read(step, context)
                )
                along[step.params["wrt"]] += direction
        energy = by.get(self.scalar)
        energy = torch.zeros(s, **like) if energy is None else energy.to(torch.float64).reshape(s)
        more = {
            "by_energy": energy,
            "along_positions": along["positions"],
            "along_strain": (along["strain"] + along["strain"].transpose(1, 2)) / 2,
        }
        run = Run(self.binding, {**context, **more})
        try:
            run.part(0)
        finally:
            self.binding.keep(run.workspace)
        return [
            run.made[number].view_as(weight)
            for (_, number), weight in zip(self.to, self.weights(), strict=True)
        ]


class Trainable(torch.autograd.Function):
    """The outputs of a model as numbers that know their gradient by the weights, once."""

    @staticmethod
    def forward(
        ctx: Any,
        gradient: WeightGradient,
        names: Sequence[str],
        context: Mapping[str, Tensor],
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.gradient, ctx.names, ctx.context = gradient, names, context
        ctx.save_for_backward(*weights)
        ctx.set_materialize_grads(False)
        found = gradient.runner.run(context)
        return tuple(found[name] for name in names)

    @staticmethod
    def backward(ctx: Any, *by: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise EquicError(
                "these outputs know their gradient by the weights, and no second derivatives",
                help="take them from `model(inputs, create_graph=True)`",
            )
        # torch looks here whether weights were changed since: the gradient would be that at another place
        assert len(ctx.saved_tensors) == len(ctx.gradient.to)
        found = ctx.gradient(ctx.context, dict(zip(ctx.names, by, strict=True)))
        kept = (value if need else None for value, need in zip(found, ctx.needs_input_grad[3:], strict=True))
        return None, None, None, *kept


def weight_gradient(runner: Runner, dtype: torch.dtype) -> WeightGradient | None:
    """What trains a model in C; None where something of it has no such form."""
    plain = {step.params["wrt"] for step in runner.steps if step.layer == "grad"} <= {"positions", "strain"}
    if not has_blas() or len(runner.scalars) != 1 or runner.derived or not plain:
        return None
    try:
        return WeightGradient(runner, dtype)
    except UnsupportedError:
        return None
