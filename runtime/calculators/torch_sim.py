"""A model in torch-sim, which moves many systems at once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from equic.runtime.build import Model
from equic.runtime.errors import EquicError
from equic.runtime.export import Exported, Standalone
from equic.runtime.neighbors.pairs import edges_of
from torch import Tensor

from .ase_calculator import device_of, placed

if TYPE_CHECKING:
    from torch_sim.models.interface import ModelInterface


def torch_sim_model(
    model: Model | Exported | Standalone, *, device: str = "auto", dtype: torch.dtype = torch.float64
) -> ModelInterface:
    """A torch-sim `ModelInterface` of a model of atoms.

        energy [S] eV, energies [N] eV, forces [N, 3] eV/Å, stress [S, 3, 3] eV/Å^3

    and every other target by its name. Stress is zero without three periodic directions. `dtype` is that of the
    states that it takes and of what it gives back; the network computes in its own, and geometry in float64.

    Raises:
        EquicError: torch-sim is not installed, or a model of another kind, without energy and forces, or with inputs
            beside atoms; on calculation, elements that it does not know.
        DataError: on calculation, what `neighbor_list` refuses.
    """
    try:
        from torch_sim.models.interface import ModelInterface
    except ImportError as problem:
        raise EquicError(
            "torch-sim is not installed", help="pip install torch-sim-atomistic (Python 3.12 or later)"
        ) from problem
    forward = BatchedForward(model, device=device, dtype=dtype)

    class EquicModel(ModelInterface):
        """The forward pass on the tensors of a state; outputs carry no gradients."""

        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype = forward.device, dtype
            self._compute_forces = True
            self._compute_stress = forward.has_stress
            self._memory_scales_with = "n_atoms_x_density"

        def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
            return forward(
                state.positions, state.row_vector_cell, state.pbc, state.atomic_numbers, state.system_idx
            )

    return EquicModel()


class BatchedForward:
    """A model on many systems at once, given as torch-sim keeps them (which it does not need).

    Args:
        model: of atoms, with energy and forces.
        device, dtype: see `torch_sim_model`.

    Raises:
        EquicError: see `torch_sim_model`.
    """

    def __init__(
        self,
        model: Model | Exported | Standalone,
        *,
        device: str = "auto",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        plan = model.plan
        if plan.kind != "atoms":
            raise EquicError(f"`{plan.name}` is a model of {plan.kind.replace('_', ' ')}, not of atoms")
        if plan.energy is None or plan.forces is None:
            raise EquicError(f"torch-sim needs energy and forces, and `{plan.name}` does not give both")
        if plan.system["inputs"]:
            name = plan.system["inputs"][0]["name"]
            raise EquicError(f"`{plan.name}` needs `{name}` beside the atoms, which torch-sim does not keep")
        self.model = placed(model, device, None)
        self.device = device_of(self.model) if isinstance(self.model, Model) else self.model.device
        self.dtype = dtype
        self.has_stress = plan.stress is not None
        self._index = np.full(len(chemical_symbols), -1, dtype=np.int64)
        species = plan.system["species"]
        self._index[[atomic_numbers[symbol] for symbol in species]] = np.arange(len(species))

    def __call__(
        self, positions: Tensor, cell: Tensor, pbc: Tensor, numbers: Tensor, system: Tensor
    ) -> dict[str, Tensor]:
        """Energies, forces, stress and the other targets of all systems.

        Shapes: positions [N, 3], cell [S, 3, 3] with lattice vectors as rows, pbc [3] or [], numbers [N] atomic
            numbers, system [N] ascending
        """
        inputs = self.inputs(positions, cell, pbc, numbers, system)
        with torch.no_grad():
            outputs = self.model.forward(inputs)
        plan = self.model.plan
        names = {
            plan.energy: "energy",
            f"node_{plan.energy}": "energies",
            plan.forces: "forces",
            plan.stress: "stress",
        }
        found = {names.get(name, name): value.detach().to(self.dtype) for name, value in outputs.items()}
        if self.has_stress and not bool(torch.as_tensor(pbc).all()):
            found["stress"] = torch.zeros_like(found["stress"])
        return found

    def inputs(
        self, positions: Tensor, cell: Tensor, pbc: Tensor, numbers: Tensor, system: Tensor
    ) -> dict[str, Tensor]:
        """The inputs of the model: neighbours of every system by itself, atoms counted through."""
        points = positions.detach().double().cpu().numpy()
        cells = cell.detach().double().cpu().numpy()
        periodic = np.broadcast_to(torch.as_tensor(pbc).cpu().numpy(), 3)
        atomic = numbers.detach().cpu().numpy()
        owner = system.detach().cpu().numpy().astype(np.int64)
        species = self._index[atomic]
        if (species < 0).any():
            unknown = sorted({chemical_symbols[number] for number in atomic[species < 0]})
            raise EquicError(f"the model does not know {', '.join(unknown)}")
        if not periodic.any():
            cells = np.zeros_like(cells)
        edges, shifts = [], []
        bounds = np.searchsorted(owner, np.arange(len(cells) + 1))
        for number, (start, end) in enumerate(pairwise(bounds)):
            pairs, moved = edges_of(self.model.plan.system, points[start:end], cells[number], periodic)
            edges.append(pairs + start)
            shifts.append(moved)
        arrays = {
            "positions": points,
            "species": species,
            "cell": cells,
            "system": owner,
            "edges": np.concatenate(edges, axis=1),
            "shifts": np.concatenate(shifts),
        }
        return {name: torch.tensor(array, device=self.device) for name, array in arrays.items()}
