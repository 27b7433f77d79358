"""The model's answers on the frames as they are: what every error is relative to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry
from .judge import EPSILON
from .subject import Response, Subject

Array = NDArray[np.float64]

# Below these a model says nothing, and errors relative to what it says mean nothing.
ENERGY_FLOOR = 1e-6  # eV
FORCE_FLOOR = 1e-6  # eV/Å
STRESS_FLOOR = 1e-9  # eV/Å^3

_BALANCED = 1e-3  # 1/Å

Back = Callable[[int, Array], Array]


def keep(_: int, value: Array) -> Array:
    """The back-transformation of what the group element does not move."""
    return value


@dataclass(frozen=True, slots=True)
class Baseline:
    """The frames, the model's answers on them, and the scales of its errors.

    `scales` has for energy the standard deviation of E minus the isolated-atom energies over the frames, for
    forces and stress the RMS of a component; `words` says which, for the certificate to print.
    """

    subject: Subject
    frames: tuple[Geometry, ...]
    response: Response
    isolated: Array
    scales: Mapping[str, float]
    words: Mapping[str, str]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets measured here, in order."""
        return tuple(self.scales)

    @property
    def silent(self) -> bool:
        """The model says nothing about these frames, so that nothing can be measured on them."""
        floors = {"energy": ENERGY_FLOOR, "forces": FORCE_FLOOR, "stress": STRESS_FLOOR}
        return all(scale <= floors[target] for target, scale in self.scales.items())

    @property
    def balanced(self) -> bool:
        """Forces cancel by the frames' own symmetry: they are tiny beside the binding energy per atom and Å."""
        if "forces" not in self.scales:
            return False
        sums = np.array([self.isolated[frame.species].sum() for frame in self.frames])
        sizes = np.array([len(frame) for frame in self.frames])
        return self.scales["forces"] < _BALANCED * rms((self.response.energy - sums) / sizes)

    @property
    def energy_rounding(self) -> float:
        """What rounding the energies to float64 alone may give, relative to their spread."""
        return 16.0 * EPSILON["float64"] * float(np.abs(self.response.energy).max()) / self.scales["energy"]

    def of(self, chosen: Sequence[int]) -> "Baseline":
        """Some of the frames only, in this order; the scales stay those of all."""
        return replace(self, frames=tuple(self.frames[i] for i in chosen), response=self.response.of(chosen))

    def deviations(
        self,
        response: Response,
        forces_back: Back = keep,
        stress_back: Back = keep,
    ) -> dict[str, float]:
        """RMS difference, per target and relative, between another response on the frames and this one.

        The backs take a frame's number and its forces [n, 3] or stress [3, 3] to what they are here.
        """
        found = {"energy": rms(response.energy - self.response.energy)}
        if "forces" in self.scales:
            found["forces"] = rms(
                np.concatenate(
                    [
                        forces_back(i, response.forces_of(i)) - self.response.forces_of(i)
                        for i in range(len(self.frames))
                    ]
                )
            )
        if "stress" in self.scales:
            assert response.stress is not None
            found["stress"] = rms(
                np.array([stress_back(i, response.stress[i]) for i in self._cells]) - self._stresses
            )
        return {name: value / self.scales[name] for name, value in found.items()}

    @property
    def _cells(self) -> list[int]:
        """The frames that have a volume."""
        return [i for i, frame in enumerate(self.frames) if frame.volume > 0]

    @property
    def _stresses(self) -> Array:
        assert self.response.stress is not None
        return self.response.stress[self._cells]


def measure_baseline(subject: Subject, frames: Sequence[Geometry], *, where: str = "") -> Baseline:
    """Run the model on the frames and on isolated atoms; `where` (such as "in random cells") joins the words."""
    species = sorted({int(kind) for frame in frames for kind in frame.species})
    alone = [_isolated(kind) for kind in species]
    energy = subject.respond(alone).energy
    isolated = np.zeros(len(subject.plan.system["species"]))
    isolated[species] = energy
    response = subject.respond(frames)
    scales, words = _energy_scale(frames, response, isolated)
    if response.forces is not None and "forces" in subject.outputs:
        scales["forces"] = max(rms(response.forces), FORCE_FLOOR)
        words["forces"] = f"of the RMS force, {scales['forces']:.3g} eV/Å"
    cells = [i for i, frame in enumerate(frames) if frame.volume > 0]
    if response.stress is not None and "stress" in subject.outputs and cells:
        scales["stress"] = max(rms(response.stress[cells]), STRESS_FLOOR)
        words["stress"] = f"of the RMS stress, {scales['stress']:.3g} eV/Å^3"
    if where:
        words = {target: f"{text}, {where}" for target, text in words.items()}
    return Baseline(subject, tuple(frames), response, isolated, scales, words)


def _energy_scale(
    frames: Sequence[Geometry], response: Response, isolated: Array
) -> tuple[dict[str, float], dict[str, str]]:
    bound = response.energy - np.array([isolated[frame.species].sum() for frame in frames])
    spread = float(bound.std())
    if spread > ENERGY_FLOOR:
        return {"energy": spread}, {"energy": f"of the spread of E - E(isolated atoms), {spread:.3g} eV"}
    size = rms(bound)
    if size > ENERGY_FLOOR:
        why = "one frame" if len(frames) == 1 else "no spread"
        return {"energy": size}, {"energy": f"of the RMS of E - E(isolated atoms), {size:.3g} eV ({why})"}
    words = f"of {ENERGY_FLOOR:g} eV, because E - E(isolated atoms) is less in every frame"
    return {"energy": ENERGY_FLOOR}, {"energy": words}


def _isolated(species: int) -> Geometry:
    return Geometry(np.array([species]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool))


def rms(values: Array) -> float:
    """Root mean square of all numbers; 0 of none."""
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
