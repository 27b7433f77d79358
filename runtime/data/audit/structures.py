"""The facts of a file of structures, gathered in one reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from equic.runtime.data.frame import means_isolated_atom, structure_print
from equic.runtime.data.known import InputError, read_input
from equic.runtime.data.labels import LabelError, properties, scaled_label
from equic.runtime.data.paths import existing_file
from equic.runtime.data.plausible import all_electron_total, nearest_over_radii
from equic.runtime.data.structures import read_structures
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from numpy.typing import NDArray

from .facts import FileFacts, LabelFacts, count_trouble
from .work import Labelled, force_trend, stress_trend

if TYPE_CHECKING:
    from ase import Atoms

Progress = Callable[[str, int], None]

_MOST_COMPOSITIONS = 1000
_SAMPLE = 20  # structures whose distances are measured
_COMPARED = 200  # structures whose labels are held against each other
_COMPARED_ATOMS = 20_000


@dataclass(slots=True)
class _Gathered:
    """What grows while a file is read."""

    prints: list[str] = field(default_factory=list)
    squares: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    energies: dict[tuple[tuple[str, int], ...], list[float]] = field(default_factory=dict)
    totals: list[float] = field(default_factory=list)
    sample: list[Atoms] = field(default_factory=list)
    compared: list[Labelled] = field(default_factory=list)
    atoms: int = 0


def structure_facts(plan: Plan, spec: Mapping[str, Any], *, progress: Progress | None = None) -> FileFacts:
    """The facts of the file that `spec` = {path, labels: {target: {key, factor}}} names, for this plan.

    A file that is missing or damaged has `problem` set; nothing is raised. Labels are read by the very function
    that training reads them with (`scaled_label`).
    """
    facts = FileFacts(labels={target: LabelFacts() for target in spec["labels"] if target in plan.outputs})
    seen = _Gathered()
    try:
        path = existing_file(Path(spec["path"]))
        for number, atoms in enumerate(read_structures(path)):
            _frame(facts, seen, plan, spec, number, atoms)
            if progress is not None:
                progress(path.name, number + 1)
        if not facts.frames and not facts.isolated:
            facts.problem = f"{path.name} holds no structures"
    except DataError as error:
        facts.problem, facts.help = error.message, error.help
    _finish(facts, seen)
    return facts


def _frame(
    facts: FileFacts, seen: _Gathered, plan: Plan, spec: Mapping[str, Any], number: int, atoms: Atoms
) -> None:
    isolated = len(atoms) == 1 and means_isolated_atom(str(atoms.info.get("config_type", "")))
    if isolated and atoms.get_chemical_symbols()[0] not in plan.system["species"]:
        return
    labels = _labels(facts, plan, spec, number, atoms, isolated=isolated)
    if isolated:
        energy = float(labels["energy"]) if "energy" in labels else None
        facts.isolated.setdefault(atoms.get_chemical_symbols()[0], energy)
        return
    facts.frames += 1
    for symbol in dict.fromkeys(atoms.get_chemical_symbols()):
        facts.species.setdefault(symbol, number)
    low, high = facts.atoms
    facts.atoms = (len(atoms) if low == 0 else min(low, len(atoms)), max(high, len(atoms)))
    pbc = np.array(atoms.pbc, dtype=bool)
    cell = np.array(atoms.cell, dtype=np.float64) if pbc.any() else np.zeros((3, 3))
    inputs = _inputs(facts, plan, number, atoms)
    print_ = structure_print(atoms.numbers.astype(np.int64), pbc, np.asarray(atoms.positions), cell, inputs)
    seen.prints.append(print_.hex()[:16])
    facts.numbers.append(number)
    if len(seen.sample) < _SAMPLE:
        seen.sample.append(atoms)
    for target, value in labels.items():
        _number_facts(facts.labels[target], seen, target, value)
        if target == "stress" and not pbc.all():
            facts.labels[target].not_periodic += 1
            if facts.labels[target].first_not_periodic is None:
                facts.labels[target].first_not_periodic = number
    if "energy" in labels:
        _energy(seen, atoms, float(labels["energy"]))
        if "forces" in labels and len(seen.compared) < _COMPARED and seen.atoms < _COMPARED_ATOMS:
            seen.atoms += len(atoms)
            numbers, positions = atoms.numbers.astype(np.int64), np.array(atoms.positions)
            stress = labels.get("stress") if pbc.all() else None
            energy = float(labels["energy"])
            one = Labelled(numbers, positions, cell, bool(pbc.any()), energy, labels["forces"], stress)
            seen.compared.append(one)


def _labels(
    facts: FileFacts, plan: Plan, spec: Mapping[str, Any], number: int, atoms: Atoms, *, isolated: bool
) -> dict[str, NDArray[np.float64]]:
    """The usable labels of a structure in the model's units; what is wrong with others is counted."""
    found, labels = properties(atoms), {}
    for target in facts.labels:
        label = spec["labels"][target]
        if isolated and label["key"] not in found:
            continue
        try:
            value = scaled_label(found, label, plan.outputs[target], atoms, f"frame {number}")
        except LabelError as error:
            count_trouble(facts.labels[target].troubles, error.problem, error.message, error.help, number)
            continue
        labels[target] = value
    return labels


def _inputs(facts: FileFacts, plan: Plan, number: int, atoms: Atoms) -> dict[str, NDArray[np.float64]]:
    """The usable inputs of a structure; what is wrong with others is counted."""
    declared, inputs = plan.system.get("inputs", ()), {}
    found = properties(atoms) if declared else {}
    for entry in declared:
        name = entry["name"]
        try:
            inputs[name] = read_input(found, entry, len(atoms), f"frame {number}")
        except InputError as error:
            troubles = facts.inputs.setdefault(name, [])
            count_trouble(troubles, error.problem, error.message, error.help, number)
    return inputs


def _number_facts(label: LabelFacts, seen: _Gathered, target: str, value: NDArray[np.float64]) -> None:
    low, high = float(value.min()), float(value.max())
    label.smallest = low if label.found == 0 else min(label.smallest, low)
    label.largest = high if label.found == 0 else max(label.largest, high)
    label.found += 1
    total = seen.squares.setdefault(target, [0.0, 0.0])
    total[0] += float((value**2).sum())
    total[1] += value.size
    first = seen.first.setdefault(target, value)
    label.varies = label.varies or first.shape != value.shape or bool((first != value).any())


def _energy(seen: _Gathered, atoms: Atoms, energy: float) -> None:
    counts = tuple(sorted(Counter(atoms.get_chemical_symbols()).items()))
    if counts in seen.energies or len(seen.energies) < _MOST_COMPOSITIONS:
        seen.energies.setdefault(counts, []).append(energy)
    total = all_electron_total(atoms.numbers)
    if total is not None:
        seen.totals.append(energy / total)


def _finish(facts: FileFacts, seen: _Gathered) -> None:
    for target, (squares, count) in seen.squares.items():
        facts.labels[target].rms = float(np.sqrt(squares / max(count, 1)))
    facts.prints = "".join(seen.prints)
    facts.compositions = [
        (dict(counts), len(energies), float(np.mean(energies))) for counts, energies in seen.energies.items()
    ]
    facts.totals = float(np.median(seen.totals)) if seen.totals else None
    facts.nearest = nearest_over_radii(seen.sample)
    facts.forces_trend = force_trend(seen.compared)
    facts.stress_trend = stress_trend(seen.compared)
