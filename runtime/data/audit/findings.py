"""What a check of the data has to say, as values: which kind, how grave, where in `data:`, in which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .facts import FileFacts

Kind = Literal[
    "file",
    "missing",
    "shape",
    "finite",
    "species",
    "unseen",
    "unit",
    "shared",
    "isolated",
    "binding",
    "contradiction",
    "periodic",
    "constant",
    "split",
    "input",
]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say. `path` is a path of the spec; `related` are further ones, each with a sentence."""

    kind: Kind
    error: bool
    path: Path
    message: str
    help: str
    related: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A set of the plan with a file of its own: where it stands in the spec, its plan entry, and its facts.

    `home` is the path of the set that its labels are written in: its own, or that of `train`.
    """

    name: str
    at: Path
    home: Path
    entry: Mapping[str, Any]
    facts: FileFacts

    @property
    def file(self) -> str:
        """The name of the file, without its folder."""
        return str(self.entry["path"]).replace("\\", "/").rsplit("/", 1)[-1]

    def label(self, target: str, *keys: str) -> tuple[Path, tuple[tuple[Path, str], ...]]:
        """Where to point for a label: at it, or, where it is inherited, at the file, with the label beside."""
        place = (*self.home, "labels", target, *keys)
        if self.home == self.at:
            return place, ()
        return (*self.at, "path"), ((place, "the label, as for `train`"),)
