"""Frames, labels, splits, statistics, batches."""

from .arrays import ArraySet, read_arrays
from .batches import collate
from .frame import Frame, frame_from_atoms
from .frames import FrameSet, read_frames
from .sets import load_sets
from .statistics import compute_statistics

__all__ = [
    "ArraySet",
    "Frame",
    "FrameSet",
    "collate",
    "compute_statistics",
    "frame_from_atoms",
    "load_sets",
    "read_arrays",
    "read_frames",
]
