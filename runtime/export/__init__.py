"""Exported models: files that run without equic: compiled (`.pt2`), or as readable source (`.standalone`)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .load import Exported, load_pt2
from .metadata import read_metadata
from .package import export_pt2
from .standalone import Standalone, export_standalone, load_standalone


@dataclass(frozen=True, slots=True)
class Target:
    """A form of export: the ending of its files, and what writes one."""

    suffix: str
    write: Callable[..., Path]


TARGETS = {"pt2": Target(".pt2", export_pt2), "standalone": Target(".standalone", export_standalone)}

__all__ = [
    "TARGETS",
    "Exported",
    "Standalone",
    "export_pt2",
    "export_standalone",
    "load_pt2",
    "load_standalone",
    "read_metadata",
]
