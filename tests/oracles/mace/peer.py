"""The peer's side, to be run where mace-torch is installed: its random models and their gradients.

Nothing of equic is imported here, and equic imports nothing of mace: the two only exchange arrays. How a model
becomes arrays is `runtime/importing/peers/mace_dump.py`.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "runtime/importing/peers"))

from mace_dump import Arrays, answers, array, batch, export  # isort: skip  # mace before e3nn

import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from mace import modules

__all__ = ["answers", "array", "batch", "build", "export", "gradients", "settings_of"]


def build(
    *,
    numbers: Sequence[int],
    channels: int,
    lmax: int,
    hidden_lmax: int,
    correlation: int | list[int],
    layers: int,
    cutoff: float,
    bessel: int,
    envelope: int,
    radial: Sequence[int],
    readout: int,
    neighbors: float,
    seed: int,
    first: str = "",
    later: str = "Residual",
    heads: Sequence[str] = ("Default",),
    scaled: bool = True,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> torch.nn.Module:
    """A MACE (`scaled`: ScaleShiftMACE) with random weights, reference energies, scales and shifts.

    `first` and `later` name the interaction blocks, RealAgnostic...InteractionBlock; `options` are the peer's own.
    """
    torch.set_default_dtype(dtype)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    many = (len(heads),) if len(heads) > 1 else ()
    settings = dict(
        r_max=cutoff,
        num_bessel=bessel,
        num_polynomial_cutoff=envelope,
        max_ell=lmax,
        interaction_cls=modules.interaction_classes[f"RealAgnostic{later}InteractionBlock"],
        interaction_cls_first=modules.interaction_classes[f"RealAgnostic{first}InteractionBlock"],
        num_interactions=layers,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps([(channels, (l, (-1) ** l)) for l in range(hidden_lmax + 1)]),
        MLP_irreps=o3.Irreps(f"{readout}x0e"),
        atomic_energies=rng.uniform(-50.0, -5.0, (*many, len(numbers))),
        avg_num_neighbors=neighbors,
        atomic_numbers=list(numbers),
        correlation=correlation,
        gate=torch.nn.functional.silu,
        radial_MLP=list(radial),
        heads=list(heads),
        **options,
    )
    if not scaled:
        return modules.MACE(**settings)
    scale, shift = rng.uniform(0.5, 1.5, many), rng.uniform(-0.5, 0.5, many)
    one = not many
    return modules.ScaleShiftMACE(
        atomic_inter_scale=float(scale) if one else list(scale),
        atomic_inter_shift=float(shift) if one else list(shift),
        **settings,
    )


def gradients(
    model: torch.nn.Module,
    structures: Sequence[Atoms],
    by_energy: np.ndarray,
    by_forces: np.ndarray,
    head: str | None = None,
) -> Arrays:
    """d/dw of sum a_s E_s + sum b_i . F_i, a loss that forces enter: a second derivative, for every weight."""
    model.zero_grad(set_to_none=True)
    found = model(batch(model, structures, head), training=True, compute_force=True)
    loss = (found["energy"] * torch.tensor(by_energy)).sum()
    loss = loss + (found["forces"] * torch.tensor(by_forces)).sum()
    loss.backward()
    return {name: array(value.grad) for name, value in model.named_parameters() if value.grad is not None}


def settings_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`build`'s arguments from plain data; the dtype by name."""
    made = dict(arguments)
    if "dtype" in made:
        made["dtype"] = getattr(torch, made["dtype"])
    return made
