"""Compiled models: one `.pt2` file per model, forces inside, that runs without equic."""

from .load import Exported, load_pt2
from .metadata import read_metadata
from .package import export_pt2

__all__ = ["Exported", "export_pt2", "load_pt2", "read_metadata"]
