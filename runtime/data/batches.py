"""Frames and states as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from equic.runtime.errors import DataError
from equic.runtime.neighbors.inputs import stack_frames
from torch import Tensor

from .arrays import ArraySet
from .frame import Frame

Batch = tuple[dict[str, Tensor], dict[str, Tensor]]


def collate(items: Sequence[Frame] | ArraySet, dtype: torch.dtype = torch.float64) -> Batch:
    """A batch as (inputs, labels) on the CPU.

    Atoms: the inputs of `model_inputs`; labels by target, stacked over structures (energy [S], stress
    [S, 3, 3]) or joined over atoms (forces [N, 3]), and `n_atoms` [S] int64. Values of structures stay float64 (a
    total energy of 10⁴ eV leaves float32 1 meV), as does all geometry; values of atoms take `dtype`.

    Phase space: `state` [B, D] and the labels [B, dim], both in `dtype`.

    Raises:
        DataError: an empty batch, or frames with labels for different targets.
    """
    if isinstance(items, ArraySet):
        inputs = {"state": torch.from_numpy(items.state).to(dtype)}
        return inputs, {target: torch.from_numpy(value).to(dtype) for target, value in items.labels.items()}
    inputs = stack_frames(items)
    first = items[0]
    for frame in items:
        if frame.labels.keys() != first.labels.keys():
            raise DataError(
                f"{frame.source} has labels for {_names(frame)}, {first.source} for {_names(first)}; "
                "a batch needs the same for all"
            )
    labels: dict[str, Tensor] = {"n_atoms": torch.tensor([len(frame) for frame in items], dtype=torch.int64)}
    for target in first.labels:
        values = [frame.labels[target] for frame in items]
        joined = np.concatenate(values) if target in first.per_atom else np.stack(values)
        labels[target] = torch.from_numpy(joined).to(dtype if target in first.per_atom else torch.float64)
    return inputs, labels


def _names(frame: Frame) -> str:
    return ", ".join(frame.labels) or "nothing"
