"""The device that a model runs on."""

import torch

from .errors import EquicError


def pick_device(name: str = "auto") -> torch.device:
    """The torch device of this name; `auto` is CUDA where present, else the CPU.

    Raises:
        EquicError: `name` asks for CUDA, but torch sees no CUDA device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EquicError(
            f"device `{name}` was asked for, but torch sees no CUDA device", help="use `--device auto`"
        )
    return device
