"""The optimiser that a plan asks for, with weight decay on the parameters that it is meant for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from .errors import TrainingError

# Smaller matrices have no direction worth orthogonalising.
MUON_FROM = 8


def build_optimizers(model: nn.Module, train: Mapping[str, Any]) -> list[torch.optim.Optimizer]:
    """Adam, AdamW (schedule-free or not) or AMSGrad with two groups of parameters: decayed and not; Muon for
    matrices, beside AdamW.

    adam and amsgrad add `weight_decay · w` to the gradient; adamw and muon shrink the weights beside it. Muon
    takes the weights of networks (two axes of 8 or more), with steps as large as AdamW's, which takes the
    rest: linear maps between irreps are stored as vectors, one block after another. Weights that do not
    require a gradient are left alone. Schedule-free AdamW is that of its authors' package, in training mode.

    Raises:
        TrainingError: an optimiser that is not known, or whose package is not installed.

    Reference: kingma2015adam, loshchilov2019decoupled, reddi2018convergence, liu2025muon, defazio2024road
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    decay, rate = float(train["weight_decay"]), float(train["learning_rate"])
    found: list[torch.optim.Optimizer] = []
    if train["optimizer"] == "muon":
        matrices = [w for _, w in named if w.ndim == 2 and min(w.shape) >= MUON_FROM]
        chosen = {id(w) for w in matrices}
        named = [(name, w) for name, w in named if id(w) not in chosen]
        if matrices:
            found.append(
                torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            )
    decayed, free = parameter_groups(named)
    groups = [{"params": decayed, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if not groups:
        return found
    # fused: one kernel for all parameters; hundreds of small tensors would pay hundreds of launches
    match train["optimizer"]:
        case "adam":
            return [torch.optim.Adam(groups, lr=rate, fused=True)]
        case "adamw" | "muon":
            return [*found, torch.optim.AdamW(groups, lr=rate, fused=True)]
        case "amsgrad":
            return [torch.optim.Adam(groups, lr=rate, amsgrad=True, fused=True)]
        case "schedule_free":
            return [_schedule_free(groups, rate)]
    raise TrainingError(
        f"unknown optimizer `{train['optimizer']}`", help="write adam, adamw, amsgrad, muon or schedule_free"
    )


def _schedule_free(groups: list[dict[str, Any]], rate: float) -> torch.optim.Optimizer:
    try:
        from schedulefree import AdamWScheduleFree
    except ModuleNotFoundError:
        raise TrainingError(
            "`optimizer: schedule_free` needs the package schedulefree, which is not installed",
            help='pip install "equic[schedule-free]"',
        ) from None
    optimizer: torch.optim.Optimizer = AdamWScheduleFree(groups, lr=rate)
    optimizer.train()  # type: ignore[attr-defined]
    return optimizer


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]],
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split parameters into those that weight decay pulls to zero and those that it leaves alone.

    Decayed: matrices and tensors, and every `breaking` weight of a relaxed linear whatever its shape, because
    the strength of a relaxed symmetry is defined as a ratio of prior scales. Free: biases and vectors.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in named:
        last = name.rpartition(".")[2]
        matrix = parameter.ndim >= 2 and last != "bias"
        (decayed if last == "breaking" or matrix else free).append(parameter)
    return decayed, free
