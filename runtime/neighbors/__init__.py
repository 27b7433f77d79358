"""Neighbour lists and the inputs of a model. Names load when they are used: lists need no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inputs import model_inputs, stack_frames
    from .lists import neighbor_list
    from .verlet import VerletList

__all__ = ["VerletList", "model_inputs", "neighbor_list", "stack_frames"]

_HOMES = {
    "VerletList": "verlet",
    "model_inputs": "inputs",
    "neighbor_list": "lists",
    "stack_frames": "inputs",
}


def __getattr__(name: str) -> Any:
    """Import the module that a name comes from."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
