"""The data of a plan, checked: facts of each file from the cache or the file, then what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equic.runtime.plan import Plan

from .cache import cached_facts
from .facts import FileFacts
from .findings import Checked, Finding
from .points import point_facts
from .rules_inputs import input_findings
from .rules_labels import label_findings, unit_findings
from .rules_physics import binding_findings, contradictions
from .rules_sets import isolated_findings, shared_findings, species_findings, split_findings
from .states import state_facts
from .structures import structure_facts

Progress = Callable[[str, int], None]
Places = Mapping[str, tuple[str | int, ...]]


@dataclass(frozen=True, slots=True)
class Audit:
    """Facts of every set with a file of its own, and what they mean."""

    sets: tuple[Checked, ...] = ()
    findings: tuple[Finding, ...] = ()


def audit(plan: Plan, places: Places, *, progress: Progress | None = None) -> Audit:
    """Everything that is wrong, or looks wrong, with the data of a plan. Needs no torch; trains nothing.

    Args:
        places: set → its path in the spec, of the sets that are written there.
        progress: called as progress(file, frames read so far) while a file is read for the first time.

    Returns:
        The sets, `train` first, and findings in their order; nothing where there are no data.
    """
    if plan.data is None:
        return Audit()
    entries = plan.data["sets"]
    train = entries["train"]
    sets = []
    for name, entry in entries.items():
        if "path" in entry:
            full = {**{key: value for key, value in train.items() if key != "path"}, **entry}
            own = name in places and entry["labels"] != train["labels"]
            home = places[name] if own or name == "train" else places["train"]
            sets.append(Checked(name, places[name], home, full, facts_of(plan, full, progress=progress)))
    return Audit(tuple(sets), tuple(_findings(plan, sets, places)))


def facts_of(plan: Plan, entry: Mapping[str, Any], *, progress: Progress | None = None) -> FileFacts:
    """The facts of one file, cached by its content."""
    asked = {
        target: [label, plan.outputs[target].index, plan.outputs[target].rep]
        for target, label in entry["labels"].items()
        if target in plan.outputs
    }
    rest = {key: value for key, value in entry.items() if key not in ("path", "labels")}
    system = {key: plan.system[key] for key in ("species", "dim", "inputs", "pairs") if key in plan.system}
    request = {"kind": plan.kind, "system": system, "labels": asked, "rest": rest}

    def compute() -> FileFacts:
        if plan.kind == "atoms":
            return structure_facts(plan, entry, progress=progress)
        if plan.kind == "particles":
            return point_facts(plan, entry)
        return state_facts(plan, entry)

    return cached_facts(Path(entry["path"]), request, compute)


def _findings(plan: Plan, sets: Sequence[Checked], places: Places) -> Iterator[Finding]:
    for one in sets:
        if one.facts.problem is not None:
            path = (*one.at, "path")
            folder = f"{Path(one.entry['path']).parent}{os.sep}"
            help = (one.facts.help or "name a file that can be read").replace(folder, "")
            yield Finding("file", True, path, one.facts.problem.replace(folder, ""), help)
        yield from input_findings(plan, one)
        yield from label_findings(plan, one)
        if plan.kind == "atoms":
            yield from unit_findings(plan, one)
        yield from contradictions(plan, one)
    train = sets[0]
    if plan.kind == "atoms":
        yield from species_findings(plan, sets)
        yield from isolated_findings(plan, train)
        yield from binding_findings(plan, train)
    yield from shared_findings(plan, sets)
    yield from split_findings(plan, train, places)
