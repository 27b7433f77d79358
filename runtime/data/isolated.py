"""Energies of free atoms from a file of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equic.runtime.errors import DataError
from equic.runtime.plan import Plan

from .frame import Frame, frame_from_atoms
from .labels import properties, read_label
from .paths import existing_file
from .structures import read_structures


def read_isolated(plan: Plan, spec: Mapping[str, Any]) -> tuple[Frame, ...]:
    """The isolated atoms of the file that `spec` names, with their energies.

    `spec` is {path, labels: {energy: {key, factor}}}. Every frame is an isolated atom, whatever its
    `config_type` says; elements that the plan does not know are left out, because such files are shared
    between projects.

    Raises:
        DataError: a file that is missing or damaged, a frame that is not one atom, or one without an
            energy.
    """
    path = existing_file(spec["path"])
    name = plan.energy
    if name is None or name not in spec["labels"]:
        raise DataError(f"{path.name}: no key is given under which the energies are", help="add labels to it")
    label = spec["labels"][name]
    found = []
    for number, atoms in enumerate(read_structures(path)):
        source = f"{path.name}:frame {number}"
        if len(atoms) != 1:
            raise DataError(
                f"{source} has {len(atoms)} atoms, expected an isolated one",
                help="leave only frames of one atom",
            )
        if atoms.get_chemical_symbols()[0] not in plan.system["species"]:
            continue
        energy = read_label(properties(atoms), label["key"], plan.outputs[name], 1, source)
        labels = {name: energy * float(label["factor"])}
        found.append(frame_from_atoms(atoms, plan, source=source, labels=labels, config_type="IsolatedAtom"))
    return tuple(found)
