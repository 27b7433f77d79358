"""Facts of one data file, as plain numbers and words that a cache can keep; what they mean is said elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .trends import Trend


@dataclass(slots=True)
class Trouble:
    """Frames whose label cannot be used: how many, the first one, and what is said of it."""

    problem: str
    count: int
    first: int
    message: str
    help: str | None = None


def count_trouble(troubles: list[Trouble], problem: str, message: str, help: str | None, frame: int) -> None:
    """Add a frame to the trouble of its kind, or a new trouble."""
    for one in troubles:
        if one.problem == problem:
            one.count += 1
            return
    troubles.append(Trouble(problem, 1, frame, message, help))


@dataclass(slots=True)
class LabelFacts:
    """One label in a file, in the units of the model.

    Attributes:
        found: frames in which it can be used.
        troubles: what is wrong in others, one entry for each kind of problem.
        rms, smallest, largest: of its components.
        varies: whether two frames differ.
        not_periodic: frames with this label that are not periodic in all directions, and the first of them.
    """

    found: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    rms: float = 0.0
    smallest: float = 0.0
    largest: float = 0.0
    varies: bool = False
    not_periodic: int = 0
    first_not_periodic: int | None = None


@dataclass(slots=True)
class FileFacts:
    """One file of structures, or of arrays.

    Attributes:
        problem, help: why it cannot be read (to its end); None where it can.
        frames: structures (isolated atoms left out), or rows of states.
        species: element → the first frame that has it.
        isolated: element → energy of its isolated atom in the model's unit, None where it has no energy.
        atoms: the fewest and the most atoms.
        labels: target → facts.
        inputs: declared input → what is wrong with it, one entry for each kind of problem.
        prints: 16 hexadecimal digits for each frame, equal where structures are; `numbers` are their places.
        compositions: (atoms of each element, frames, mean energy) of each composition, the first thousand.
        totals: median of energy / (all-electron total in Ha), in the model's unit; None beyond argon.
        nearest: nearest neighbours over sums of covalent radii.
        forces_trend, stress_trend, rates_trend: labels against each other.
    """

    problem: str | None = None
    help: str | None = None
    frames: int = 0
    species: dict[str, int] = field(default_factory=dict)
    isolated: dict[str, float | None] = field(default_factory=dict)
    atoms: tuple[int, int] = (0, 0)
    labels: dict[str, LabelFacts] = field(default_factory=dict)
    inputs: dict[str, list[Trouble]] = field(default_factory=dict)
    prints: str = ""
    numbers: list[int] = field(default_factory=list)
    compositions: list[tuple[dict[str, int], int, float]] = field(default_factory=list)
    totals: float | None = None
    nearest: float | None = None
    forces_trend: Trend | None = None
    stress_trend: Trend | None = None
    rates_trend: Trend | None = None

    def fingerprints(self) -> dict[str, int]:
        """Digits of each different structure → the frame where it first stands."""
        found: dict[str, int] = {}
        for k, number in enumerate(self.numbers):
            found.setdefault(self.prints[16 * k : 16 * k + 16], number)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data; `facts_from_json` reads it back."""
        return asdict(self)


def facts_from_json(data: Mapping[str, Any]) -> FileFacts:
    """Facts that `to_json` wrote.

    Raises:
        TypeError, KeyError, ValueError: the data is something else.
    """
    if set(data) != {one.name for one in fields(FileFacts)}:
        raise ValueError("these are no facts of a file")
    labels = {
        name: LabelFacts(**{**one, "troubles": [Trouble(**trouble) for trouble in one["troubles"]]})
        for name, one in data["labels"].items()
    }
    inputs = {name: [Trouble(**one) for one in found] for name, found in data["inputs"].items()}
    trends = {
        name: None if data[name] is None else Trend(**data[name])
        for name in ("forces_trend", "stress_trend", "rates_trend")
    }
    lowest, highest = data["atoms"]
    compositions = [(dict(counts), int(count), float(mean)) for counts, count, mean in data["compositions"]]
    if len(data["prints"]) != 16 * len(data["numbers"]):
        raise ValueError("fingerprints and frames do not agree")
    return FileFacts(
        **{
            **data,
            "labels": labels,
            "inputs": inputs,
            **trends,
            "atoms": (int(lowest), int(highest)),
            "compositions": compositions,
        }
    )
