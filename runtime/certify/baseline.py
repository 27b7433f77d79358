"""The model's answers on the frames as they are: what every error is relative to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from equic.runtime.irreps import Irreps
from numpy.typing import NDArray

from .geometry import Geometry, given_inputs
from .judge import EPSILON
from .subject import Response, Subject

Array = NDArray[np.float64]

# Below these a model says nothing, and errors relative to what it says mean nothing.
ENERGY_FLOOR = 1e-6  # eV
FORCE_FLOOR = 1e-6  # eV/Å
STRESS_FLOOR = 1e-9  # eV/Å^3
FLOOR = 1e-9  # of anything else, in its own unit

_BALANCED = 1e-3  # 1/Å

Back = Callable[[str, int, Array], Array]


def keep(target: str, index: int, value: Array) -> Array:
    """The back-transformation of what the group element does not move."""
    return value


@dataclass(frozen=True, slots=True)
class Baseline:
    """The frames, the model's answers on them, and the scales of its errors.

    `scales` has for the energy the standard deviation of E minus the isolated-atom energies over the frames, for
    what turns (forces, dipoles, stress) the RMS of a component, for other invariants the deviation from their mean;
    `floors` what each must exceed to mean something; `words` says which, for the certificate to print.
    """

    subject: Subject
    frames: tuple[Geometry, ...]
    response: Response
    isolated: Array
    scales: Mapping[str, float]
    floors: Mapping[str, float]
    words: Mapping[str, str]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets measured here, in order."""
        return tuple(self.scales)

    @property
    def silent(self) -> bool:
        """The model says nothing about these frames, so that nothing can be measured on them."""
        return all(scale <= self.floors[target] for target, scale in self.scales.items())

    @property
    def balanced(self) -> bool:
        """Forces cancel by the frames' own symmetry: they are tiny beside the binding energy per atom and Å."""
        forces = self.subject.plan.forces
        if forces not in self.scales or self.response.energy is None:
            return False
        sums = np.array([self.isolated[frame.species].sum() for frame in self.frames])
        sizes = np.array([len(frame) for frame in self.frames])
        return self.scales[forces] < _BALANCED * rms((self.response.energy - sums) / sizes)

    def rounding(self, target: str) -> float:
        """What rounding a sum to float64 alone may give, relative to its spread; zero of what is no sum."""
        if not self.subject.plan.outputs[target].extensive:
            return 0.0
        largest = float(np.abs(self.response.values[target]).max(initial=0.0))
        return 16.0 * EPSILON["float64"] * largest / self.scales[target]

    @property
    def worst_rounding(self) -> float:
        """The largest `rounding` of a target."""
        return max(map(self.rounding, self.scales))

    def of(self, chosen: Sequence[int]) -> "Baseline":
        """Some of the frames only, in this order; the scales stay those of all."""
        return replace(self, frames=tuple(self.frames[i] for i in chosen), response=self.response.of(chosen))

    def deviations(self, response: Response, back: Back = keep) -> dict[str, float]:
        """RMS difference, per target and relative, between another response on the frames and this one.

        `back` takes a target, a frame's number and its value (or rows of values) to what they are here.
        """
        found = {}
        for target, scale in self.scales.items():
            differences = [
                back(target, i, response.at(target, i)) - self.response.at(target, i)
                for i in self.measured(target)
            ]
            found[target] = rms(np.concatenate([np.ravel(one) for one in differences])) / scale
        return found

    def measured(self, target: str) -> list[int]:
        """The frames that a target is measured on: for a stress those with a volume, else all."""
        frames = range(len(self.frames))
        return [i for i in frames if target != self.subject.plan.stress or self.frames[i].volume > 0]


def measure_baseline(subject: Subject, frames: Sequence[Geometry], *, where: str = "") -> Baseline:
    """Run the model on the frames and on isolated atoms; `where` (such as "in random cells") joins the words."""
    species = sorted({int(kind) for frame in frames for kind in frame.species})
    isolated = np.zeros(len(subject.plan.system["species"]))
    alone = subject.respond([_isolated(kind, subject.plan) for kind in species]).energy
    if alone is not None:
        isolated[species] = alone
    response = subject.respond(frames)
    scales, floors, words = {}, {}, {}
    for target, values in response.values.items():
        if target == subject.plan.stress:
            values = values[[i for i, frame in enumerate(frames) if frame.volume > 0]]
        if not values.size:
            continue
        floors[target] = _floor(subject.plan, target)
        if target == subject.plan.energy:
            scales[target], words[target] = _energy_scale(frames, values, isolated)
        else:
            scales[target], words[target] = _scale(subject.plan, target, values, floors[target])
    if where:
        words = {target: f"{text}, {where}" for target, text in words.items()}
    return Baseline(subject, tuple(frames), response, isolated, scales, floors, words)


def _floor(plan: Any, target: str) -> float:
    if target == plan.energy:
        return ENERGY_FLOOR
    if target == plan.forces:
        return FORCE_FLOOR
    return STRESS_FLOOR if target == plan.stress else FLOOR


def _scale(plan: Any, target: str, values: Array, floor: float) -> tuple[float, str]:
    """The RMS of a component, less its mean where it has invariants: what all values share is no news."""
    output = plan.outputs[target]
    unit = "" if output.unit == "1" else f" {output.unit}"
    irreps = Irreps.parse(output.rep)
    if any(block.irrep == (0, 1) for block in irreps):
        spread = rms(values - values.mean(axis=0))
        if spread > floor:
            return spread, f"of the spread of the {target}, {spread:.3g}{unit}"
    size = max(rms(values), floor)
    return size, f"of the RMS {_singular(target)}, {size:.3g}{unit}"


def _singular(target: str) -> str:
    return "force" if target == "forces" else target


def _energy_scale(frames: Sequence[Geometry], energy: Array, isolated: Array) -> tuple[float, str]:
    bound = energy - np.array([isolated[frame.species].sum() for frame in frames])
    spread = float(bound.std())
    if spread > ENERGY_FLOOR:
        return spread, f"of the spread of E - E(isolated atoms), {spread:.3g} eV"
    size = rms(bound)
    if size > ENERGY_FLOOR:
        why = "one frame" if len(frames) == 1 else "no spread"
        return size, f"of the RMS of E - E(isolated atoms), {size:.3g} eV ({why})"
    return ENERGY_FLOOR, f"of {ENERGY_FLOOR:g} eV, because E - E(isolated atoms) is less in every frame"


def _isolated(species: int, plan: Any) -> Geometry:
    """One atom without others, in no field."""
    inputs = {one["name"]: np.zeros((1, Irreps.parse(one["rep"]).dim)) for one in plan.system["inputs"]}
    nothing, nowhere = np.zeros((3, 3)), np.zeros(3, dtype=bool)
    return Geometry(np.array([species]), np.zeros((1, 3)), nothing, nowhere, given_inputs(inputs, plan))


def rms(values: Array) -> float:
    """Root mean square of all numbers; 0 of none."""
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
