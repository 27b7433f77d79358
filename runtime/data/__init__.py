"""Frames, labels, splits, statistics, batches. Names load when they are used: the data check runs without torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arrays import ArraySet, read_arrays
    from .batches import collate
    from .frame import Frame, frame_from_atoms
    from .frames import FrameSet, read_frames
    from .sets import load_sets
    from .statistics import compute_statistics, label_variance

__all__ = [
    "ArraySet",
    "Frame",
    "FrameSet",
    "collate",
    "compute_statistics",
    "frame_from_atoms",
    "label_variance",
    "load_sets",
    "read_arrays",
    "read_frames",
]

_HOMES = {
    "ArraySet": "arrays",
    "Frame": "frame",
    "FrameSet": "frames",
    "collate": "batches",
    "compute_statistics": "statistics",
    "frame_from_atoms": "frame",
    "label_variance": "statistics",
    "load_sets": "sets",
    "read_arrays": "arrays",
    "read_frames": "frames",
}


def __getattr__(name: str) -> Any:
    """Import the module that a name comes from."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
