"""Errors by chemical species (of targets that atoms have) and by kind of frame (`config_type`)."""

import math
from typing import Any

import torch
from equic.runtime.plan import Plan
from torch import Tensor

from .batches import Batch, FrameSamples, Samples
from .ranks import Ranks

Row = list[float]  # Σ|e|, Σe², count


class Breakdown:
    """Sums of the errors of one set, one row for every species and every kind of frame."""

    def __init__(self, plan: Plan, samples: Samples) -> None:
        self._plan = plan
        self._frames = samples.frames if isinstance(samples, FrameSamples) else None
        self._sums: dict[tuple[str, str, str], Row] = {}

    def add(self, batch: Batch, target: str, error: Tensor) -> None:
        """The errors of a target over a batch: its label's shape; energies are counted per atom."""
        if self._frames is None or batch.atoms is None:
            return
        counts = batch.atoms.to(torch.int64)
        frame = torch.arange(len(counts), device=counts.device)
        per_node = self._plan.outputs[target].index == "node"
        if per_node:
            species = batch.inputs["species"]
            for k, symbol in enumerate(self._plan.system.get("species", ())):
                self._count("species", target, symbol, error[species == k])
            frame = torch.repeat_interleave(frame, counts)
        elif target in self._plan.per_atom:
            error = error / batch.atoms.view(-1, *[1] * (error.ndim - 1))
        kinds = [self._frames[sample].config_type for sample in batch.samples]
        if any(kinds):
            for kind in dict.fromkeys(kinds):
                chosen = torch.tensor([one == kind for one in kinds], device=frame.device)
                self._count("config_type", target, kind or "none", error[chosen[frame]])

    def _count(self, what: str, target: str, name: str, error: Tensor) -> None:
        if error.numel() == 0:
            return
        row = self._sums.setdefault((what, target, name), [0.0, 0.0, 0.0])
        row[0] += float(error.abs().sum())
        row[1] += float(error.square().sum())
        row[2] += error.numel()

    def tables(self, ranks: Ranks) -> dict[str, Any]:
        """{"species" or "config_type": {target: {name: {"mae", "rmse", "count"}}}}; one kind alone is no table."""
        sums = self._sums
        if ranks.size > 1:
            names = ranks.union(list(sums))
            table = torch.tensor([sums.get(name, [0.0, 0.0, 0.0]) for name in names], dtype=torch.float64)
            ranks.add([table])
            sums = dict(zip(names, table.tolist(), strict=True))
        found: dict[str, Any] = {}
        for (what, target, name), (absolute, squared, count) in sums.items():
            entry = {"mae": absolute / count, "rmse": math.sqrt(squared / count), "count": round(count)}
            found.setdefault(what, {}).setdefault(target, {})[name] = entry
        return {
            what: kept
            for what, targets in found.items()
            if (kept := {target: rows for target, rows in targets.items() if len(rows) > 1})
        }
