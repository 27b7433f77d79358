"""The optimiser that a plan asks for, with weight decay on the parameters that it is meant for."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from .errors import TrainingError


def build_optimizer(model: nn.Module, train: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Adam, AdamW or AMSGrad with two groups of parameters: decayed and not.

    adam and amsgrad add `weight_decay · w` to the gradient; adamw shrinks the weights beside it.

    Reference: kingma2015adam, loshchilov2019decoupled, reddi2018convergence
    """
    decayed, free = parameter_groups(model.named_parameters())
    groups = [
        {"params": decayed, "weight_decay": train["weight_decay"]},
        {"params": free, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = float(train["learning_rate"])
    # fused: one kernel for all parameters; hundreds of small tensors would pay hundreds of launches
    match train["optimizer"]:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)
        case "amsgrad":
            return torch.optim.Adam(groups, lr=rate, amsgrad=True, fused=True)
    raise TrainingError(f"unknown optimizer `{train['optimizer']}`", help="write adam, adamw or amsgrad")


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
