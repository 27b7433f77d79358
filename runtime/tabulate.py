"""A trained model as it is deployed: splines in the place of the networks that see the length of an edge alone.

The compiler says which values these are (`plan.deploy`). Each becomes a table with as many knots as the error asked
for takes, made in float64 from the steps themselves, its weights folded in. The weights of the rest, and the
artifact, stay as they are; what comes out has a plan and a certificate of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .build import build_module
from .errors import EquicError
from .export.trace import recast
from .layers.base import Layer
from .layers.filters import Filters
from .layers.mlp import Mlp
from .layers.table import Table, hermite
from .model import Model
from .plan import Plan, Step

# the first knot, in parts of the cutoff; the next where functions are too steep there
_STARTS = (0.02, 0.05, 0.1)
_FEWEST, _MOST = 16, 4096
_LARGEST = 2**28  # numbers in one table
_BETWEEN = (0.25, 0.5, 0.75)  # where in an interval the error is looked at
_ROWS = 2**14  # lengths at once


class TableError(EquicError):
    """Functions that cannot be tabulated with the error asked for."""


@dataclass(frozen=True, slots=True)
class _Functions:
    """Every column of one step as functions of the length, for each kind of edge."""

    model: Model
    steps: tuple[Step, ...]
    by: str
    species: int

    def __call__(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Values and slopes at lengths [M]: each [kind, M, columns], float64."""
        kinds = _kinds(self.by, self.species)
        lengths = r.repeat(len(kinds))
        ends = kinds.repeat_interleave(len(r), dim=0).t().contiguous()
        parts = [
            self._at(lengths[at : at + _ROWS], ends[:, at : at + _ROWS])
            for at in range(0, len(lengths), _ROWS)
        ]
        value, slope = (torch.cat(part).view(len(kinds), len(r), -1) for part in zip(*parts, strict=True))
        return value, slope

    def _at(self, r: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """For edges [2, edge] of these lengths in a structure with one atom of each species."""

        def value(lengths: Tensor) -> Tensor:
            context = {"edges": ends} | dict(self.model.statistics.named_buffers())
            values: dict[str, Tensor] = {}
            for step in self.steps:
                if step.layer == "length":
                    values[step.name] = lengths[:, None]
                elif step.layer == "input":
                    values[step.name] = torch.arange(self.species)
                else:
                    layer = self.model.layer(step.name)
                    read = [context[name] for name in (*layer.fields, *layer.statistics)]
                    values[step.name] = layer(*(values[name] for name in step.inputs), *read)
            return values[self.steps[-1].name]

        with torch.no_grad():
            return torch.func.jvp(value, (r,), (torch.ones_like(r),))


def _kinds(by: str, species: int) -> Tensor:
    """One edge of each kind as (source, target), in the order of a table: [kind, 2]."""
    every = torch.cartesian_prod(torch.arange(species), torch.arange(species))
    return {
        "length": every[:1],
        "source": every[::species],
        "target": every[:species],
        "pair": every,
    }[by]


def build_tables(model: Model, error: float | None = None) -> Model:
    """The model with tables in place of its networks of edge lengths.

    `error` (by default the one that the spec names) is the largest that a function and its slope may have, relative
    to the largest value and slope of the functions of its step. The new model keeps the given one, to be measured
    against; its weights take no gradients.

    Raises:
        TableError: the plan marks nothing (an old plan, or networks that see more than lengths), names no error,
            or the functions are too steep for the error asked for.
    """
    plan = model.plan
    if error is None:
        wanted = plan.deploy["tabulate"]
        if wanted is None:
            raise TableError("no error is asked for", help="name one, such as `tabulate=1e-6`")
        error = float(wanted["radial"])
    if not plan.deploy["radial"]:
        raise TableError(
            f"`{plan.name}` has nothing to tabulate: no network of it depends on edge lengths alone",
            help="a plan written by an earlier equic does not say; compile and train the spec again",
        )
    exact = recast(model, torch.float64, kernels="reference")
    tables = {mark["step"]: _table(exact, mark["step"], mark["by"], error) for mark in plan.deploy["radial"]}
    steps = _needed(plan, tuple(tables[s.name][0] if s.name in tables else s for s in plan.steps))
    deployed = replace(plan, steps=steps, deploy={"tabulate": {"radial": error}, "radial": []})
    made = build_module(deployed, dtype=model.dtype, kernels=model.choice)
    state = model.state_dict()
    with torch.no_grad():
        for name, value in made.state_dict().items():
            if name in state:
                value.copy_(state[name])
        for name, (_, knots, last) in tables.items():
            layer = made.layer(name)
            assert isinstance(layer, Table)
            layer.knots.copy_(knots)
            if last is not None:
                layer.last_matrix.copy_(last)
    for parameter in made.parameters():
        parameter.requires_grad_(False)
    made.remember_exact(model)
    return made.eval().to(next(iter(state.values())).device)


def deployed(model: Model, tabulate: float | bool | None = None) -> Model:
    """The model as it is used: with tables where its spec asks for them (None), to this error, or not (False).

    Raises:
        TableError: as `build_tables`.
    """
    if tabulate is None:
        return model if model.plan.deploy["tabulate"] is None else build_tables(model)
    if tabulate is True:
        raise TableError("tables have an error, and `True` is none", help="write `tabulate=1e-6`")
    return model if tabulate is False else build_tables(model, float(tabulate))


def _needed(plan: Plan, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that outputs depend on; inputs stay."""
    wanted = {output.step for output in plan.outputs.values()}
    kept: list[Step] = []
    for step in reversed(steps):
        if step.name in wanted or step.layer == "input":
            kept.append(step)
            wanted |= set(step.inputs)
    return tuple(reversed(kept))


def _table(exact: Model, name: str, by: str, error: float) -> tuple[Step, Tensor, Tensor | None]:
    """The step that reads a table in the place of one, the table's knots, and the matrix left to others."""
    plan, step = exact.plan, exact.plan.step(name)
    steps = _behind(plan, name)
    species = len(plan.system["species"])
    functions = _Functions(exact, steps, by, species)
    start, knots = _knots(functions, float(plan.system["cutoff"]), error, name)
    layer = exact.layer(name)
    last = _left_to_others(layer, step)
    length = next(one.name for one in steps if one.layer == "length")
    labels = [one.name for one in plan.steps if one.layer == "input" and one.params["field"] == "species"]
    params: dict[str, Any] = {
        "start": start,
        "end": float(plan.system["cutoff"]),
        "intervals": knots.shape[1] - 1,
        "columns": knots.shape[3],
        "by": by,
        "species": species,
        "last": None if last is None else list(last.shape),
    }
    inputs = (length,) if by == "length" else (length, labels[0])
    return replace(step, layer="table", inputs=inputs, params=params), knots, last


def _left_to_others(layer: Layer, step: Step) -> Tensor | None:
    """The numbers that other layers borrow from this one, if they do."""
    if isinstance(layer, Mlp) and not step.params.get("last", True):
        return layer.last_matrix.detach()
    return layer.unfilled.detach() if isinstance(layer, Filters) and layer.is_centred else None


def _behind(plan: Plan, name: str) -> tuple[Step, ...]:
    """A step and all that it is computed from, from the lengths and the species on."""
    wanted, found = {name}, []
    for step in reversed(plan.steps):
        if step.name in wanted:
            found.append(step)
            wanted |= set() if step.layer == "length" else set(step.inputs)
    return tuple(reversed(found))


def _knots(
    functions: Callable[[Tensor], tuple[Tensor, Tensor]], end: float, error: float, name: str
) -> tuple[float, Tensor]:
    """Where the table begins, and values, slopes and curvatures at as few knots as the error takes."""
    worst = float("inf")
    for part in _STARTS:
        start, intervals = part * end, _FEWEST
        while intervals <= _MOST:
            knots = _sampled(functions, start, end, intervals)
            if knots.numel() > _LARGEST:
                raise TableError(
                    f"a table of `{name}` would hold {knots.numel():.1e} numbers, one function for each of "
                    f"{knots.shape[0]} kinds of edges and {knots.shape[3]} columns",
                    help="use this model without `tabulate`",
                )
            worst = _error(functions, knots, start, end)
            if worst <= error:
                return start, knots
            # the error of a smooth function falls with the sixth power, that of its slope with the fifth
            grown = 1.1 * (worst / error) ** 0.2 if worst < float("inf") else 4.0
            intervals = int(intervals * min(max(grown, 1.25), 4.0)) + 1
    raise TableError(
        f"`{name}` cannot be tabulated to {error:g}: with {_MOST} intervals the error is {worst:.1e}",
        help="ask for a larger error, or use this model without `tabulate`",
    )


def _sampled(functions: Callable[..., Any], start: float, end: float, intervals: int) -> Tensor:
    """[kind, intervals + 1, 3, columns]: the curvature from slopes around, to fourth order, at a quarter of a step.

    Its error is a tenth of that of the spline between two knots. Beyond the cutoff everything is 0: what the last
    knot holds are limits from within.
    """
    step = (end - start) / intervals
    aside = step / 4.0
    places = torch.arange(intervals + 1, dtype=torch.float64) * step + start
    places[-1] = end * (1.0 - 1e-13)
    offsets, weights = torch.tensor([-2.0, -1.0, 1.0, 2.0]), torch.tensor([1.0, -8.0, 8.0, -1.0]) / 12.0
    last_offsets = torch.tensor([-4.0, -3.0, -2.0, -1.0, 0.0])
    last_weights = torch.tensor([3.0, -16.0, 36.0, -48.0, 25.0]) / 12.0
    around = (places[:-1, None] + aside * offsets).flatten()
    every = torch.cat((places, around, places[-1] + aside * last_offsets))
    value, slope = functions(every)
    count = intervals + 1
    inner = slope[:, count:-5].unflatten(1, (intervals, 4))
    curvature = torch.cat(
        (
            torch.einsum("kijc,j->kic", inner, weights.double()),
            torch.einsum("kjc,j->kc", slope[:, -5:], last_weights.double())[:, None],
        ),
        dim=1,
    )
    return torch.stack((value[:, :count], slope[:, :count] * step, curvature * (step**2 / aside)), dim=2)


def _error(functions: Callable[..., Any], knots: Tensor, start: float, end: float) -> float:
    """The largest error between the knots, of values and of slopes, each relative to the largest there is."""
    intervals = knots.shape[1] - 1
    step = (end - start) / intervals
    errors = [0.0, 0.0]
    sizes = [float(knots[:, :, d].abs().max()) for d in (0, 1)]
    for t in _BETWEEN:
        r = start + step * (torch.arange(intervals, dtype=torch.float64) + t)
        value, slope = functions(r)
        at = torch.tensor([t], dtype=torch.float64)
        factors, slopes = torch.func.jvp(lambda x: torch.stack(hermite(x)), (at,), (torch.ones_like(at),))
        pairs = torch.cat((knots[:, :-1], knots[:, 1:]), dim=2)
        for d, (weights, expected) in enumerate(((factors, value), (slopes, slope * step))):
            found = torch.einsum("kijc,j->kic", pairs, weights[:, 0])
            errors[d] = max(errors[d], float((found - expected).abs().max()))
    if not torch.isfinite(knots).all():
        return float("inf")
    return max(error / max(size, 1e-300) for error, size in zip(errors, sizes, strict=True))
