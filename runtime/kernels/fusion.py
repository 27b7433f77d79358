"""Which steps of a plan run as one kernel.

    gather(source) → product(uvu) → reduce(edge to node)      a message, where nobody else reads the two before
    weigh(copies) → reduce(edge to node)                      a message of ones
    product(uuu) [→ sum_blocks]                               channels coupled with channels
    power                                                     a polynomial
    density                                                   sums of outer products
    linear                                                    where one of the others is, without copies

In one of two forms: generated C, on the CPU; plain torch without scatter, anywhere, where powers stay the layers
that they are. The plan stays as it is, and so do its weights and hashes: an artifact written anywhere runs on
whatever the machine at hand can do, and every step can still be looked at by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from equic.runtime.layers.base import Layer
from equic.runtime.layers.density import Density
from equic.runtime.layers.power import Power
from equic.runtime.layers.product_channelwise import Channelwise
from equic.runtime.layers.table import Table
from equic.runtime.plan import Plan, Step

from .around import Around, is_around
from .couple import Couple
from .couple_source import couple_terms, couple_text
from .density import DensityKernel
from .edges import EdgeOrder
from .linear import LinearKernel, has_kernel
from .message import NORMS, Message, message_terms
from .padded import PaddedDensity, PaddedMessage
from .power import PowerKernel, count_terms
from .slots import EdgeSlots
from .table import TableKernel, TableMessage

# Code longer than this takes the compiler many seconds; the reference layers serve such steps.
MAX_TERMS = 4000
ORDER = "~edge_order"

Form = Literal["c", "torch"]

_PRODUCT_KEYS = {"left", "right", "out", "mode", "paths"}


@dataclass(frozen=True, slots=True)
class Fused:
    """A program that computes the steps of a plan which it holds, with the layers that are new in it."""

    steps: tuple[Step, ...]
    layers: Mapping[str, Layer]
    form: Form


def fuse(plan: Plan, layers: Mapping[str, Layer], form: Form = "c") -> Fused | None:
    """The plan's program on kernels; None where no step has one.

    Steps that several others read, outputs, and products whose code would be too long stay as they are.
    """
    readers = Counter(name for step in plan.steps for name in step.inputs)
    outputs = {output.step for output in plan.outputs.values()}
    by_name = {step.name: step for step in plan.steps}
    made: dict[str, Layer] = {}
    replaced: dict[str, Step] = {}
    for step in plan.steps:
        if step.layer == "power" and form == "c":
            layer = layers[step.name]
            if isinstance(layer, Power) and count_terms(layer) <= MAX_TERMS:
                made[step.name] = PowerKernel(layer)
                replaced[step.name] = step
        elif step.layer == "density":
            layer = layers[step.name]
            assert isinstance(layer, Density)
            hidden = by_name[step.inputs[2]].dim
            made[step.name] = DensityKernel(layer, hidden) if form == "c" else PaddedDensity(layer)
            replaced[step.name] = replace(step, inputs=(*step.inputs, ORDER))
        elif step.layer == "table" and form == "c":
            layer = layers[step.name]
            assert isinstance(layer, Table)
            made[step.name] = TableKernel(layer)
            replaced[step.name] = step
        elif step.layer in ("product", "sum_blocks") and form == "c":
            product = step if step.layer == "product" else by_name[step.inputs[0]]
            alone = step is product or (readers[product.name] == 1 and product.name not in outputs)
            layer = layers[product.name]
            if alone and isinstance(layer, Channelwise) and layer.weight is not None and not layer.weightless:
                spec = couple_text(product.params, None if step is product else step.params["into"])
                if couple_terms(spec) <= MAX_TERMS:
                    if step is not product:
                        made.pop(product.name, None)
                        replaced.pop(product.name, None)
                    made[step.name] = Couple(layer, spec)
                    replaced[step.name] = replace(step, inputs=product.inputs)
        elif step.layer == "reduce" and step.params["from"] == "edge" and step.params["to"] == "node":
            product = by_name[step.inputs[0]]
            alone = readers[product.name] == 1 and product.name not in outputs
            scaled = step.params["norm"] in NORMS
            if product.layer == "weigh" and form == "c" and alone and scaled and is_around(product.params):
                made[step.name] = Around(product.params, step.params["norm"])
                replaced[step.name] = replace(step, inputs=(*product.inputs, ORDER))
            if product.layer == "product" and alone and scaled and _is_message(product, by_name, form):
                x, y, w = product.inputs
                inputs, table = (*by_name[x].inputs, y, w, ORDER), layers[w]
                kind = Message if form == "c" else PaddedMessage
                message = made[step.name] = kind(product.params, step.params["norm"])
                if isinstance(message, Message) and isinstance(table, Table):
                    made[step.name] = TableMessage(message, table)
                    inputs = (*by_name[x].inputs, y, *by_name[w].inputs, ORDER)
                replaced[step.name] = replace(step, inputs=inputs)
    if not made:
        return None
    if form == "c":
        made |= {name: LinearKernel(layer) for name, layer in layers.items() if has_kernel(layer)}
    program = [replaced.get(step.name, step) for step in plan.steps]
    first = next((i for i, step in enumerate(program) if ORDER in step.inputs), None)
    if first is not None:
        made[ORDER] = EdgeOrder() if form == "c" else EdgeSlots()
        nodes = next(step.name for step in program if step.layer == "input" and step.index == "node")
        program.insert(first, Step(ORDER, "edge_order", (nodes,), {}, "edge", "", "1", 0))
    tables = {name for name, step in replaced.items() if step.layer == "table"}
    steps = _needed(program, outputs | (set(replaced) - tables))
    kept = {step.name for step in steps}
    return Fused(steps, {name: layer for name, layer in made.items() if name in kept}, form)


def _is_message(product: Step, by_name: Mapping[str, Step], form: Form) -> bool:
    gather = by_name[product.inputs[0]]
    return (
        product.params["mode"] == "uvu"
        and set(product.params) == _PRODUCT_KEYS
        and gather.layer == "gather"
        and gather.params["role"] == "source"
        and (form == "torch" or message_terms(product.params) <= MAX_TERMS)
    )


def _needed(program: list[Step], roots: set[str]) -> tuple[Step, ...]:
    """The steps that the roots and whatever is read by nobody in the plan either depend on."""
    read = {name for step in program for name in step.inputs}
    kept: list[Step] = []
    wanted = set(roots)
    for step in reversed(program):
        if step.name in wanted or (
            step.name not in read and step.layer not in ("gather", "product", "weigh", "table")
        ):
            kept.append(step)
            wanted |= set(step.inputs)
    return tuple(reversed(kept))
