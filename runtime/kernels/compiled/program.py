"""A compiled step at work: parts in C, rules in Python between them, derivatives by their layers at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from equic.runtime.plan import Step
from torch import Tensor

from ..gemm import has_blas
from ..ops import threads, toolchain
from .binding import Binding, Run
from .build import Builder, Rule

if TYPE_CHECKING:
    from ..runner import Runner

DERIVATIVES = ("grad", "poisson")


class CompiledStep:
    """One program in C for numbers of one dtype.

    Raises:
        KernelError: there is no compiler, or it refuses.
    """

    def __init__(self, runner: Runner, dtype: torch.dtype) -> None:
        self.runner = runner
        self.ends = [step for step in runner.steps if step.layer in DERIVATIVES]
        steps = [step for step in runner.steps if step.layer not in DERIVATIVES]
        wanted = set(runner.wanted) - {step.name for step in self.ends}
        scalar = next(iter(runner.scalars), None)
        # what belongs to edges must follow them where they change places, and inputs derived from edges do not
        builder = Builder(
            steps,
            runner.layers,
            runner.moved,
            wanted,
            scalar,
            runner.strains,
            runner.borrowed,
            dtype,
            ends=self.ends,
            blocks=not runner.derived,
        )
        self.text = builder.write()
        done = [step for step in self.ends if step.name in self.text.values]
        self.by_strain = [step.name for step in done if step.params["wrt"] != "positions"]
        self.ends = [step for step in self.ends if step not in done]
        self.of_edges = [step.name for step in steps if step.index == "edge" and step.name in wanted]
        self.leaf = builder.leaf
        self.binding = Binding(self.text.source, dtype, runner.idle)

    def bytes(self, nodes: int, edges: int, systems: int) -> int:
        """How much room a step of these sizes takes."""
        return self.binding.bytes(nodes, edges, systems)

    def __call__(self, context: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of the runner's output steps.

        Raises:
            UnfitError: the inputs or weights are not of the dtypes and shapes that the program reads.
            DataError, IndexError: an edge names a node that does not exist, or a node a species.
        """
        count = threads(toolchain()).value
        order, context = self._in_order(context, count)
        run = _Run(self, context, count)
        try:
            found = run.values()
        finally:
            self.binding.keep(run.workspace)
        if order is not None:
            for name in self.of_edges:
                found[name] = torch.empty_like(found[name]).index_copy_(0, order, found[name])
        return found

    def _in_order(
        self, context: Mapping[str, Tensor], count: int
    ) -> tuple[Tensor | None, Mapping[str, Tensor]]:
        """What blocks of nodes need: edges by their targets, where they are not yet; with the order that it took."""
        edges, nodes = context["edges"], context["positions"].shape[0]
        if edges.ndim != 2 or self.binding.block(nodes, edges.shape[1], count) >= nodes:
            return None, context
        targets = edges[1].numpy()
        # edges that lead outside are named by the program as they are
        if (targets[1:] >= targets[:-1]).all() or bool(((edges < 0) | (edges >= nodes)).any()):
            return None, context
        order = torch.argsort(edges[1], stable=True)
        return order, {**context, "edges": edges[:, order], "shifts": context["shifts"][order]}


class _Run(Run):
    """One call, with the rules that run in it."""

    def __init__(self, program: CompiledStep, context: Mapping[str, Tensor], count: int) -> None:
        super().__init__(program.binding, context, count)
        self.program = program
        self.rules: dict[str, object] = {}

    def values(self) -> dict[str, Tensor]:
        """Everything in order."""
        program = self.program
        for item in program.text.order:
            if isinstance(item, Rule):
                self._rule(item)
                continue
            self.part(item)
            for slot in program.text.freed.get(item, ()):
                self.made.pop(slot.number, None)
        found = {name: self.tensor(slot) for name, slot in program.text.values.items()}
        for step in program.ends:
            found[step.name] = self._derivative(step)
        for name in program.by_strain:
            found[name] = found[name].view_as(self.context["cell"])
        return {name: found[name] for name in program.runner.wanted}

    def _rule(self, rule: Rule) -> None:
        runner, step = self.program.runner, rule.step
        if rule.back is None:
            made = runner.makers[step.name]()
            values = [self.tensor(slot) for slot in rule.inputs]
            wants = [name in runner.moved for name in step.inputs]
            value = made.run(values, runner.read(step, self.context), wants)
            self.rules[step.name] = made
            self.take(rule.value, value)
            return
        g, slots = rule.back
        gradient = self.tensor(g).clone()
        found = self.rules.pop(step.name).pull(gradient)  # type: ignore[attr-defined]
        for slot, value, read in zip(slots, found, rule.inputs, strict=True):
            if slot is not None:
                self.take(slot, torch.zeros_like(self.tensor(read)) if value is None else value)

    def _derivative(self, step: Step) -> Tensor:
        runner = self.program.runner
        wrt = step.params["wrt"]
        slot = self.program.text.gradients.get(self.program.leaf if wrt == "positions" else "strain")
        like = self.context["positions" if wrt == "positions" else "cell"]
        gradient = torch.zeros_like(like) if slot is None else self.tensor(slot).view(like.shape)
        return runner.layers[step.name](gradient, *runner.read(step, self.context))


def compiled_step(runner: Runner, dtype: torch.dtype) -> CompiledStep | None:
    """The program of a runner; None where it differentiates more than one scalar, reads derivatives again, or where
    torch hides its BLAS."""
    ends = {step.name for step in runner.steps if step.layer in DERIVATIVES}
    if not has_blas() or len(runner.scalars) > 1 or any(ends & set(step.inputs) for step in runner.steps):
        return None
    return CompiledStep(runner, dtype)
