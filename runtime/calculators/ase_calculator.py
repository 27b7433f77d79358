"""A model as an ASE calculator."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.data import atomic_numbers, chemical_symbols
from equic.runtime.build import Model
from equic.runtime.data.distances import edge_lengths
from equic.runtime.data.known import read_known
from equic.runtime.data.labels import properties
from equic.runtime.device import pick_device
from equic.runtime.errors import EquicError
from equic.runtime.export import Exported, Standalone
from equic.runtime.neighbors import VerletList
from equic.runtime.neighbors.pairs import edges_of

from .distance_watch import DistanceWatch, Warn

# Voigt order of ASE: xx, yy, zz, yz, xz, xy
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
# of ASE when it asks whether atoms are still the same
_TOLERANCE = 1e-15


class EquicCalculator(Calculator):
    """Energy, forces and stress of a model, for everything that ASE does.

        energy, free_energy   eV (the same number: there are no electrons to excite)
        energies              [N] eV per atom, isolated-atom energies included; they sum to the energy
        forces                [N, 3] eV/Å
        stress                [6] eV/Å^3, xx yy zz yz xz xy, (dE/dstrain)/V: positive under tension

    Stress exists where the cell is periodic in three directions; elsewhere asking for it raises ASE's
    `PropertyNotImplementedError`. Neighbours are kept in a Verlet list: they are searched anew only when an
    atom has moved by more than half of `skin` (Å), or numbers, cell or periodicity changed, and the results
    do not depend on it. The nearest, of a model that reads no others, are picked among them at
    every step. Charges and magnetic moments of the atoms play no part. Results are copies.

    Args:
        model: a `Model`, or an exported one (which has one dtype and one device).
        skin: Å. Larger saves searches and costs candidates; 0 searches at every step.
        device: `auto`, `cpu` or `cuda`.
        dtype: `float32` or `float64` for the network; None keeps the model's. Geometry is always float64.
        closest: the shortest distance of training by pair of species, {"C-H": 1.08} (Å), as files of models carry
            it (`equic.load(FILE).calculator()` passes it on).
        warn: with `closest`, where atoms come closer than that, or species meet that never met, `once` for every pair,
            `always`, or `never`, with an `OutsideRangeWarning`.

    Example:
        >>> from ase.build import molecule
        >>> from equic.runtime.build import build_module
        >>> from equic.runtime.testing.plans import mace_plan
        >>> atoms = molecule("CH3OH")
        >>> atoms.calc = EquicCalculator(build_module(mace_plan(channels=2, layers=1)), device="cpu")
        >>> atoms.get_forces().shape
        (6, 3)

    Raises:
        EquicError: a model of another kind than atoms, or a dtype or device that an exported file does not
            have; on calculation, atoms of elements that the model does not know, or no atoms.
        DataError: on calculation, positions that are not finite, two atoms in one place, a degenerate cell, or a
            periodic one where all atoms see each other.
    """

    name = "equic"
    implemented_properties = [  # noqa: RUF012  ASE declares it so
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]
    # what the model does not see must not throw its results away
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        model: Model | Exported | Standalone,
        *,
        skin: float = 0.5,
        device: str = "auto",
        dtype: str | None = None,
        closest: Mapping[str, float] | None = None,
        warn: Warn = "once",
    ) -> None:
        super().__init__()
        plan = model.plan
        if plan.kind != "atoms":
            raise EquicError(
                f"`{plan.name}` is a model of {plan.kind.replace('_', ' ')}, and ASE moves atoms"
            )
        self.model = placed(model, device, dtype)
        self.device = device_of(self.model) if isinstance(self.model, Model) else self.model.device
        self.species: tuple[str, ...] = tuple(plan.system["species"])
        self._last: dict[str, np.ndarray] | None = None
        cutoff, pairs = plan.system["cutoff"], plan.system["pairs"]
        self.cutoff = None if cutoff is None else float(cutoff)
        nearest = pairs if isinstance(pairs, int) else None
        # where all atoms see each other there is nothing to search
        self.neighbors = None if self.cutoff is None else VerletList(self.cutoff, skin, nearest)
        self._watch = None if closest is None else DistanceWatch(self.species, closest, warn)
        # index of the species by atomic number, -1 for elements that the model does not know
        self._index = np.full(len(chemical_symbols), -1, dtype=np.int64)
        self._index[[atomic_numbers[symbol] for symbol in self.species]] = np.arange(len(self.species))
        # energy, forces and stress by what they are, everything else by its name; found once, not at every step
        self._energy, self._forces, self._stress = plan.energy, plan.forces, plan.stress
        roles = {self._forces: "forces", self._stress: "stress"}
        others = [name for name in plan.outputs if name not in (self._energy, f"node_{self._energy}")]
        energies = ["energy", "free_energy", "energies"] if self._energy is not None else []
        self.implemented_properties = energies + [roles.get(name, name) for name in others]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute everything the model gives, whatever was asked: it all comes from one pass."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        assert atoms is not None
        solid = bool(atoms.pbc.all())
        if "stress" in properties and not solid:
            raise PropertyNotImplementedError("stress needs a cell that is periodic in all three directions")
        self.results = {}
        self._last = self._known(atoms)
        with torch.no_grad():
            outputs = self.model.forward(self._inputs(atoms))
        values = {name: value.detach().double().cpu().numpy() for name, value in outputs.items()}
        plan = self.model.plan
        results: dict[str, Any] = {}
        for name, value in values.items():
            if name == self._energy:
                results |= {"energy": float(value[0]), "free_energy": float(value[0])}
            elif name == f"node_{self._energy}":
                results["energies"] = value.reshape(-1).copy()
            elif name == self._stress:
                tensor = value[0]
                if solid:
                    results["stress"] = np.array([(tensor[i, j] + tensor[j, i]) / 2 for i, j in _VOIGT])
            else:
                one = value if plan.outputs[name].index == "node" else value[0]
                results["forces" if name == self._forces else name] = one.copy()
        self.results = results

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation; ASE itself does not look at `info` and `arrays`.

        Without a tolerance to speak of, numbers are compared as they are: ASE's comparison takes as long as a
        step of a small molecule.
        """
        last = self.atoms
        if last is None or tol > _TOLERANCE:
            changes: list[str] = super().check_state(atoms, tol=tol)
        else:
            changes = [
                name
                for name, old, new in (
                    ("positions", last.positions, atoms.positions),
                    ("numbers", last.numbers, atoms.numbers),
                    ("cell", last.cell.array, atoms.cell.array),
                    ("pbc", last.pbc, atoms.pbc),
                )
                if not np.array_equal(old, new)
            ]
        if self.model.plan.system["inputs"] and self._last is not None:
            now = self._known(atoms)
            if any(not np.array_equal(now[name], value) for name, value in self._last.items()):
                changes.append("info")
        return changes

    def _known(self, atoms: Atoms) -> dict[str, np.ndarray]:
        """The inputs that the model declares, from where data has them."""
        plan = self.model.plan
        if not plan.system["inputs"]:
            return {}
        return dict(read_known(properties(atoms), plan, len(atoms), "these atoms"))

    def _inputs(self, atoms: Atoms) -> dict[str, torch.Tensor]:
        numbers = atoms.get_atomic_numbers()
        species = self._index[numbers]
        if len(species) == 0:
            raise EquicError("there are no atoms to compute")
        if (species < 0).any():
            unknown = sorted({chemical_symbols[number] for number in numbers[species < 0]})
            raise EquicError(
                f"the model does not know {', '.join(unknown)}",
                help=f"it was trained on {', '.join(self.species)}",
            )
        # ASE's cell is whole wherever any direction repeats; without periodicity it plays no part
        cell = atoms.cell.array if atoms.pbc.any() else np.zeros((3, 3))
        if self.neighbors is None:
            edges, shifts = edges_of(self.model.plan.system, atoms.positions, cell, atoms.pbc)
        else:
            edges, shifts = self.neighbors.update(atoms.positions, cell, atoms.pbc, numbers)
        if self._watch is not None:
            self._watch.look(species, edge_lengths(atoms.positions, cell, edges, shifts), edges)
        arrays = {
            "positions": atoms.positions,
            "species": species,
            "cell": cell[None],
            "system": np.zeros(len(species), dtype=np.int64),
            "edges": edges,
            "shifts": shifts,
        }
        arrays |= self._known(atoms)
        # tensors of their own: ASE moves atoms in place
        return {
            name: torch.from_numpy(np.array(array, order="C")).to(self.device)
            for name, array in arrays.items()
        }


def placed(
    model: Model | Exported | Standalone, device: str, dtype: str | None
) -> Model | Exported | Standalone:
    """The model in the dtype and on the device asked for; the caller's own stays as it is."""
    if dtype not in (None, "float32", "float64"):
        raise EquicError(f"a model computes in float32 or float64, not `{dtype}`")
    own = str(model.dtype).removeprefix("torch.")
    if not isinstance(model, Model):
        if dtype not in (None, own):
            raise EquicError(f"the exported file computes in {own}, not {dtype}", help="export it again")
        if device != "auto" and torch.device(device).type != model.device.type:
            raise EquicError(
                f"the exported file is for {model.device.type}, not {device}",
                help="export it again",
            )
        return model
    place = pick_device(device)
    if dtype not in (None, own):
        from equic.runtime.export.trace import recast

        return recast(model, {"float32": torch.float32, "float64": torch.float64}[str(dtype)], place)
    if device_of(model).type != place.type:
        model = copy.deepcopy(model).to(place)
    return model


def device_of(model: Model) -> torch.device:
    """Where the weights are."""
    return next(iter(model.state_dict().values())).device
