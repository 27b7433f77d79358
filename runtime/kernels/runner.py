"""A model's numbers without autograd: its program forward, then backward step by step for forces and stress.

Used where outputs are plain numbers (calculators, predictions, certificates). The gradient of an energy by
positions goes through the rules of the steps in reverse; that by strain is the virial,

    dE/de_(s,ij) = sum_(e in s) (v_(e,i) g_(e,j) + v_(e,j) g_(e,i)) / 2,   g_e = dE/dv_e,

v_e the edge vectors, through which alone positions and cell enter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from equic.runtime.layers.derivatives import volumes
from equic.runtime.layers.geometry import Relative
from equic.runtime.neighbors.line_graph import with_derived
from equic.runtime.plan import Step
from torch import Tensor

from . import chunks
from .c_source import C_TYPES
from .chunks import Chunk, ChunkedRule, Segment, chunks_of, in_segments
from .compiled import CompiledStep, Trainable, UnfitError, WeightGradient, compiled_step, weight_gradient
from .linear import without_graph
from .rules import Rule, rule_for

if TYPE_CHECKING:
    from equic.runtime.model import Model

_DERIVATIVES = ("grad", "poisson")


@dataclass(frozen=True, slots=True)
class Program:
    """Steps in order, the sums among them that are segments, and which values nobody reads after a step."""

    steps: tuple[Step, ...]
    segments: Mapping[str, Segment]
    unread: Mapping[str, Sequence[str]]


@dataclass(slots=True)
class Tape:
    """What one pass has made: values, the rules that made those which move, and gradients of scalars."""

    program: Program
    values: dict[str, Tensor]
    rules: dict[str, Rule | ChunkedRule]
    gradients: dict[str, dict[str, Tensor]]
    chunks: list[Chunk]


class Runner:
    """The program of a model on kernels, for numbers only. Weights are read at each call.

    It keeps the layers, not the model: runners are found by their models and go with them.
    """

    def __init__(self, model: Model) -> None:
        self.steps = model.fused
        self.layers = {step.name: without_graph(model.kernel(step.name)) for step in self.steps}
        self.borrowed = {
            step.name: [(model.layer(owner), name) for owner, name in self.layers[step.name].borrows]
            for step in self.steps
        }
        self.wanted, self.strains, self.derived = model.output_steps, model.strains, model.derived
        self.makers = {
            step.name: rule_for(self.layers[step.name])
            for step in self.steps
            if step.layer not in _DERIVATIVES
        }
        self.moved = _moved(self.steps)
        vectors = {step.name for step in self.steps if step.layer == "relative"}
        self.scalars = {step.inputs[0] for step in self.steps if step.layer in _DERIVATIVES}
        self.kept = {*self.wanted, *vectors, *self.scalars}
        self.whole = Program(self.steps, {}, _unread(self.steps))
        steps, segments = in_segments(self.steps, self.layers, self.kept)
        self.parts = Program(steps, segments, _unread(steps))
        self.compiled: dict[torch.dtype, CompiledStep | None] = {}
        # workspaces: a step of training needs that of its outputs no more when it comes to the gradient
        self.idle: list[Tensor] = []
        self.gradients: dict[torch.dtype, WeightGradient | None] = {}
        # where one of the weights is, which tells the dtype of all
        self.weight = next(
            (
                (module._parameters, name)
                for layer in self.layers.values()
                for module in layer.modules()
                for name in module._parameters
            ),
            None,
        )

    def __call__(self, inputs: Mapping[str, Tensor], statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of the model's output steps."""
        # small graphs are made on the way, which inference mode and its tensors would not take part in
        with torch.inference_mode(False), torch.no_grad():
            return self.run(self.context(inputs, statistics))

    def context(self, inputs: Mapping[str, Tensor], statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Everything that steps read beside values and weights."""
        plain = {name: value.clone() if value.is_inference() else value for name, value in inputs.items()}
        context = {**plain, **statistics}
        return with_derived(context, self.derived) if self.derived else context

    def run(self, context: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of the output steps, from what `context` has made."""
        program, parts = self.whole, []
        nodes, edges = context["positions"].shape[0], context["edges"].shape[1]
        compiled = self._compiled()
        # few edges run as they are, and as many as leave room
        if self.parts.segments and edges > 4 * chunks.CHUNK and not _fits(compiled, nodes, edges, context):
            program, parts = self.parts, chunks_of(context["edges"], nodes)
        elif compiled is not None:
            try:
                return compiled(context)
            except UnfitError:  # inputs of other dtypes than `model_inputs` makes
                pass
        tape = Tape(program, {}, {}, {}, parts)
        for step in program.steps:
            tape.values[step.name] = self._step(step, tape, context)
            for name in program.unread.get(step.name, ()):
                # rules keep what they need; scalars and edge vectors are read again on the way back
                if name not in self.kept:
                    del tape.values[name]
        return {name: tape.values[name] for name in self.wanted}

    def trainable(self, names: Sequence[str], context: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Outputs, among them no others than a scalar and its derivatives, that know their gradient by the weights;
        None where the program has no form in C for that."""
        dtype = self._dtype()
        if dtype is None or not {*names} <= {
            *self.scalars,
            *(s.name for s in self.steps if s.layer == "grad"),
        }:
            return None
        if dtype not in self.gradients:
            self.gradients[dtype] = weight_gradient(self, dtype)
        gradient = self.gradients[dtype]
        # the way back must not find out that inputs have other dtypes than those of batches
        if gradient is None or not gradient.binding.fits(context):
            return None
        # room for the larger of both: the outputs' would not do for the gradient
        sizes = context["positions"].shape[0], context["edges"].shape[1], context["cell"].shape[0]
        gradient.binding.keep(gradient.binding.workspace(gradient.binding.bytes(*sizes)))
        found = Trainable.apply(gradient, tuple(names), context, *gradient.weights())
        return dict(zip(names, found, strict=True))

    def _dtype(self) -> torch.dtype | None:
        """What the weights are now; None where C has no such numbers."""
        weight = None if self.weight is None else self.weight[0].get(self.weight[1])
        return None if weight is None or weight.dtype not in C_TYPES else weight.dtype

    def _compiled(self) -> CompiledStep | None:
        """The whole as one program in C, for the dtype that the weights have now."""
        dtype = self._dtype()
        if dtype is None:
            return None
        if dtype not in self.compiled:
            self.compiled[dtype] = compiled_step(self, dtype)
        return self.compiled[dtype]

    def _step(self, step: Step, tape: Tape, context: Mapping[str, Tensor]) -> Tensor:
        if step.layer in _DERIVATIVES:
            gradient = self._derivative(step.inputs[0], step.params["wrt"], tape, context)
            return self.layers[step.name](gradient, *self.read(step, context))
        values = [tape.values[name] for name in step.inputs]
        wants = [name in self.moved for name in step.inputs]
        rule: Rule | ChunkedRule
        if step.name in tape.program.segments:
            segment = tape.program.segments[step.name]
            rule = ChunkedRule(segment, tape.chunks, self.makers, self.read, self.moved)
            value = rule.run(values, context)
        else:
            rule = self.makers[step.name]()
            value = rule.run(values, self.read(step, context), wants)
        if any(wants):
            tape.rules[step.name] = rule
        return value

    def read(self, step: Step, context: Mapping[str, Tensor]) -> list[Tensor]:
        """What a layer reads beside its inputs."""
        layer = self.layers[step.name]
        borrowed = [getattr(owner, name) for owner, name in self.borrowed[step.name]]
        names = (*layer.fields, *layer.statistics)
        # the volume is no input, and C makes its own
        made = {"volume": volumes(context["cell"])} if "volume" in names else {}
        return [made[name] if name in made else context[name] for name in names] + borrowed

    def _derivative(self, scalar: str, wrt: str, tape: Tape, context: Mapping[str, Tensor]) -> Tensor:
        """d(sum of scalar)/d(positions or strain), both from one pass backward."""
        if scalar not in tape.gradients:
            tape.gradients[scalar] = self._backward(scalar, tape, context)
        return tape.gradients[scalar][wrt]

    def _backward(self, scalar: str, tape: Tape, context: Mapping[str, Tensor]) -> dict[str, Tensor]:
        held = {scalar: torch.ones_like(tape.values[scalar])}
        leaf = context["positions"]
        found = {"positions": torch.zeros_like(leaf)}
        if self.strains:
            found["strain"] = torch.zeros_like(context["cell"])
        for step in reversed(tape.program.steps):
            g = held.pop(step.name, None)
            if g is None:
                continue
            if step.layer == "input":
                found["positions"] += g
                continue
            if self.strains and isinstance(self.layers[step.name], Relative):
                _add_virial(found["strain"], tape.values[step.name], g, context)
            # once nobody comes here again, what the rule holds may go
            rule = tape.rules[step.name] if len(self.scalars) > 1 else tape.rules.pop(step.name)
            for name, value in zip(step.inputs, rule.pull(g), strict=True):
                if value is not None and name in self.moved:
                    held[name] = held[name] + value if name in held else value
        return found


def _fits(step: CompiledStep | None, nodes: int, edges: int, context: Mapping[str, Tensor]) -> bool:
    """Whether all edges at once leave room in memory."""
    room = max(chunks.WHOLE, chunks.WHOLE_ATOM * nodes)
    return step is not None and step.bytes(nodes, edges, context["cell"].shape[0]) <= room


def _unread(steps: Sequence[Step]) -> dict[str, list[str]]:
    last = {name: step.name for step in steps for name in (step.name, *step.inputs)}
    found: dict[str, list[str]] = {}
    for name, reader in last.items():
        found.setdefault(reader, []).append(name)
    return found


# runners of the models that are alive
_RUNNERS: WeakKeyDictionary[Model, Runner | None] = WeakKeyDictionary()


def runner_for(model: Model) -> Runner | None:
    """The runner of a model; None where it differentiates by something else than positions and strain, or where
    a strain would reach more than the edge vectors."""
    if model not in _RUNNERS:
        _RUNNERS[model] = Runner(model) if _runs(model) else None
    return _RUNNERS[model]


def _runs(model: Model) -> bool:
    for step in model.fused:
        if step.layer in _DERIVATIVES:
            if step.layer == "poisson" or step.params["wrt"] not in ("positions", "strain"):
                return False
            continue
        strained = "cell" in model.kernel(step.name).fields or "positions" in step.inputs
        if model.strains and strained and step.layer not in ("relative", "reduce", "edge_order"):
            return False
    return bool(model.fused)


def _moved(steps: tuple[Step, ...]) -> set[str]:
    """The steps whose values depend on the positions."""
    found: set[str] = set()
    for step in steps:
        here = step.layer == "input" and step.params["field"] == "positions"
        if here or (step.layer not in ("edge_order", *_DERIVATIVES) and found & set(step.inputs)):
            found.add(step.name)
    return found


def _add_virial(total: Tensor, v: Tensor, g: Tensor, context: Mapping[str, Tensor]) -> None:
    system = context["system"].index_select(0, context["edges"][1])
    outer = v.to(total.dtype)[:, :, None] * g.to(total.dtype)[:, None, :]
    total.index_add_(0, system, (outer + outer.transpose(1, 2)) / 2)
