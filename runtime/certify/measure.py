"""Measure a model: every item of its certificate, in every dtype asked for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from equic.runtime.errors import EquicError
from numpy.typing import NDArray

from .approximations import approximation_items
from .atoms_derivatives import derivative_items, response_items, stress_item
from .atoms_dynamics import dynamics_items
from .atoms_locality import extensivity_item, smoothness_items
from .atoms_symmetry import lattice_item, symmetry_items
from .baseline import Baseline, measure_baseline
from .certificate import Certificate, Item
from .frames import random_cells, random_frames
from .geometry import Geometry, as_geometries
from .judge import EPSILON, not_applicable
from .phase_conserved import conservation_items
from .phase_flow import structure_items, symplectic_item
from .phase_symmetry import symmetry_items as phase_symmetry_items
from .probes import kernel_item, parity_item, reproduction_item
from .subject import Subject, dtype_of
from .tables import table_items

Array = NDArray[np.float64]

_FRAMES = 8  # of the given ones, spread over them; more make no certificate better
_ATOMS = 512  # in all frames together, but for two
_STATES = 32
_RATTLE = 0.05  # Å


def certify(
    model: Any,
    *,
    frames: Iterable[Any] | None = None,
    dtypes: Sequence[str] | None = None,
    seed: int = 0,
    group_elements: int = 8,
    device: str | torch.device = "cpu",
    thorough: bool = False,
    probes: Mapping[str, Any] | None = None,
) -> Certificate:
    """Measure what a model claims.

    `model` is a `Model`, measured in float64 (weights cast up) and in its own dtype unless `dtypes` says
    otherwise, or an exported model, which has its own dtype only and is compared with its `probes`.
    An imported model is compared with its probes too: what the program that it comes from answers.

    `frames` are structures like those the model is for (ASE Atoms or data frames; for phase space an array of
    states [M, D]); without them random ones are made from the plan. At most 8 frames (32 states), spread over
    those given, are used. `thorough` searches for the worst rotation from three starts and on all frames, not from
    one and on the smallest. The same arguments give the same certificate on the same machine.

    Errors are relative: to the standard deviation of E minus the isolated-atom energies, to the RMS of forces
    and stress, over the frames. An item that a claim covers holds or fails; other values are reported.

    Raises:
        EquicError: no frames, an element that the model does not know, too few group elements, an unknown
            dtype, or one that an exported model was not made for.

    Example:
        >>> from equic.runtime.build import build_module
        >>> from equic.runtime.testing.plans import mlp_plan
        >>> certificate = certify(build_module(mlp_plan(dim=2)), dtypes=["float64"])
        >>> certificate.ok, certificate.item("field against H", "float64").status
        (True, 'not applicable')
    """
    if group_elements < 2:
        raise EquicError(f"a spread needs at least 2 group elements, not {group_elements}")
    plan, own = model.plan, dtype_of(model)
    exported = not isinstance(model, torch.nn.Module)
    if dtypes is None:
        dtypes = (own,) if exported or own == "float64" else ("float64", own)
    on_atoms = plan.is_points
    geometries = structures_for(plan, frames, seed) if on_atoms else []
    states = np.empty((0, 0)) if on_atoms else states_for(plan, frames, seed)
    items: list[Item] = []
    for dtype in dtypes:
        subject = Subject(model, dtype, device)
        # the same group elements, directions and velocities in every dtype, so that the numbers compare
        rng = np.random.default_rng(seed)
        if on_atoms:
            exact = None if exported else model.exact
            items += _atoms_items(subject, geometries, rng, group_elements, thorough, exact)
        else:
            items += _phase_space_items(subject, states, rng, group_elements)
        items += approximation_items(subject, np.random.default_rng([seed, 2]))
        items.append(parity_item(model, probes) if exported else kernel_item(subject, rng))
        if probes is not None and not exported:
            items.append(reproduction_item(subject, probes))
    count, what = (len(geometries), "frame") if on_atoms else (len(states), "state")
    meta = {
        "name": plan.name,
        "graph_hash": plan.graph_hash,
        "measured_on": f"{count} {'random' if frames is None else 'given'} {what}{'' if count == 1 else 's'}",
        "seed": seed,
        "group_elements": group_elements,
        "thorough": thorough,
        "device": str(device),
        "torch": torch.__version__,
    }
    return Certificate(tuple(tell_rounding_from_faults(items)), meta)


def tell_rounding_from_faults(items: Sequence[Item]) -> list[Item]:
    """Failures in lower precision with the reason why, read off the same item in float64.

    Where float64 holds, float32 fails by rounding alone; where both fail, the fault is in the model.
    """
    exact = {item.name: item for item in items if item.dtype == "float64"}
    return [_explained(item, exact.get(item.name)) for item in items]


def _explained(item: Item, exact: Item | None) -> Item:
    if item.status != "fails":
        return item
    if item.dtype == "float64":
        why = "structural: far beyond rounding in float64"
    elif exact is None or exact.value is None:
        why = "not told apart: there is no float64 measurement to compare with"
    elif exact.status == "holds":
        why = f"rounding: float64 holds at {exact.value:.1e} with the same weights"
        assert item.value is not None
        if not item.value <= 1e4 * EPSILON[item.dtype]:
            why += ", so the network amplifies it"
    else:
        why = f"structural: float64 is off by {exact.value:.1e} too"
    return replace(item, reason="; ".join(text for text in (why, item.reason) if text))


def _atoms_items(
    subject: Subject,
    frames: Sequence[Geometry],
    rng: np.random.Generator,
    elements: int,
    thorough: bool,
    exact: Any | None,
) -> list[Item]:
    baseline = measure_baseline(subject, frames)
    if baseline.balanced:
        frames = [frame.moved(_RATTLE * rng.normal(size=(len(frame), 3))) for frame in frames]
        where = f"with atoms moved by {_RATTLE:g} Å, because forces cancel in the frames as they are"
        baseline = measure_baseline(subject, frames, where=where)
    cells = [frame for frame in frames if frame.periodic]
    if len(cells) == len(frames):
        crystals = baseline
    elif cells:
        crystals = measure_baseline(subject, cells)
    elif subject.plan.kind == "particles" or subject.plan.system["pairs"] == "all":  # nothing repeats
        crystals = baseline
    else:
        crystals = measure_baseline(subject, random_cells(subject.plan, rng), where="in random cells")
    strained = baseline if subject.plan.stress in baseline.scales else crystals
    return [
        *_unless_silent(baseline, symmetry_items(baseline, crystals, rng, elements, thorough)),
        *_unless_silent(crystals, [lattice_item(crystals, rng)]),
        *_unless_silent(baseline, derivative_items(baseline, rng)),
        *_unless_silent(baseline, response_items(baseline, rng)),
        *_unless_silent(strained, [stress_item(strained)]),
        *_unless_silent(baseline, [*smoothness_items(baseline, rng), extensivity_item(baseline, rng)]),
        *_unless_silent(baseline, dynamics_items(baseline, rng)),
        *_unless_silent(baseline, table_items(baseline, exact)),
    ]


def _unless_silent(baseline: Baseline, items: Sequence[Item]) -> list[Item]:
    """The items, or, where the model gives nothing (no forces, no binding energy), that nothing was measured."""
    if not baseline.silent:
        return list(items)
    plan = baseline.subject.plan
    what = "no forces and no binding energy" if plan.energy is not None else "zeros only"
    why = f"the model gives {what} in these frames"
    return [not_applicable(item.name, item.dtype, why, item.measure) for item in items]


def _phase_space_items(
    subject: Subject, states: Array, rng: np.random.Generator, elements: int
) -> list[Item]:
    return [
        *phase_symmetry_items(subject, states, rng, elements),
        *structure_items(subject, states),
        *conservation_items(subject, states),
        symplectic_item(subject, states),
    ]


def structures_for(plan: Any, frames: Iterable[Any] | None, seed: int) -> list[Geometry]:
    """The structures to measure on: some of the given ones, spread over them, or random ones."""
    if frames is None:
        periodic = plan.stress is not None
        return random_frames(plan, np.random.default_rng([seed, 1]), periodic=periodic)
    given = as_geometries(frames, plan)
    # isolated atoms, which data sets carry along, show nothing; they count only where there is nothing else
    chosen = _spread([frame for frame in given if frame.periodic or len(frame) > 1] or given, _FRAMES)
    affordable = int(np.searchsorted(np.cumsum([len(frame) for frame in chosen]), _ATOMS, side="right"))
    return _spread(chosen, max(affordable, 2))


def states_for(plan: Any, states: Any, seed: int) -> Array:
    """The states to measure on [M, D]: some of the given ones, spread over them, or random ones."""
    dim = int(plan.system["dim"])
    if states is None:
        return np.random.default_rng([seed, 1]).normal(size=(_STATES, dim))
    array = np.asarray(states, dtype=float)
    if array.ndim != 2 or array.shape[1] != dim or not len(array):
        raise EquicError(
            f"states of `{plan.name}` are an array [M, {dim}], not one of shape {list(array.shape)}",
            help="coordinates in their order, then momenta in the same order",
        )
    return array[_places(len(array), _STATES)]


def _spread(frames: list[Geometry], count: int) -> list[Geometry]:
    return [frames[i] for i in _places(len(frames), count)]


def _places(length: int, count: int) -> NDArray[np.int64]:
    """At most `count` places, evenly over `length`."""
    return np.unique(np.linspace(0, length - 1, min(length, count)).round().astype(np.int64))
