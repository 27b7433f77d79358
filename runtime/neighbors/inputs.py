"""Structures as the input tensors of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from equic.runtime.errors import DataError
from equic.runtime.plan import Plan
from torch import Tensor

if TYPE_CHECKING:
    from ase import Atoms
    from equic.runtime.data.frame import Frame


def model_inputs(
    structures: Sequence[Atoms | Frame], plan: Plan, device: torch.device | str | None = None
) -> dict[str, Tensor]:
    """A batch of structures as the inputs of the model of `plan`.

    Args:
        structures: ASE Atoms (their neighbours are searched now) or frames (which bring theirs along); at
            least one.
        plan: of kind `atoms`.
        device: where the tensors go; the CPU if not given.

    Returns:
        `positions` [N, 3], `cell` [S, 3, 3] (zeros where nothing is periodic; whole where any direction
        is) and `shifts` [E, 3] in float64 (Å, lattice vectors); `species` [N] (place in the plan's list),
        `system` [N] and `edges` [2, E] in int64; declared inputs [S, dim] or [N, dim] in float64.

    Raises:
        DataError: no structures, an element that the plan does not know, or a structure that
            `neighbor_list` refuses; structures are counted from 0.
    """
    # the data package builds on this one, so it can be imported only now
    from equic.runtime.data.frame import Frame, frame_from_atoms

    if not plan.is_points:
        raise DataError(f"`{plan.name}` is a model of {plan.kind.replace('_', ' ')}, it takes no atoms")
    frames = [
        item if isinstance(item, Frame) else frame_from_atoms(item, plan, source=f"structure {number}")
        for number, item in enumerate(structures)
    ]
    return stack_frames(frames, device)


def stack_frames(frames: Sequence[Frame], device: torch.device | str | None = None) -> dict[str, Tensor]:
    """Frames with their neighbours as one batch of inputs (see `model_inputs`).

    Raises:
        DataError: there are no frames.
    """
    if not frames:
        raise DataError("a batch needs at least one structure")
    sizes = [len(frame) for frame in frames]
    starts = np.cumsum([0, *sizes[:-1]])
    arrays = {
        "positions": np.concatenate([frame.positions for frame in frames]),
        "species": np.concatenate([frame.species for frame in frames]),
        "cell": np.stack([frame.cell for frame in frames]),
        "system": np.repeat(np.arange(len(frames), dtype=np.int64), sizes),
        "edges": np.concatenate(
            [frame.edges + start for frame, start in zip(frames, starts, strict=True)], axis=1
        ),
        "shifts": np.concatenate([frame.shifts for frame in frames]),
    }
    for name in frames[0].inputs:
        arrays[name] = np.concatenate([frame.inputs[name] for frame in frames])
    return {name: torch.from_numpy(array).to(device or "cpu") for name, array in arrays.items()}
