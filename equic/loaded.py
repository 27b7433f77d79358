"""A model from a file, whatever the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equic.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from equic.runtime.plan import Plan


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded file. `model` is a torch module (`.equic`) or an exported program (`.pt2`, `.standalone`)."""

    path: Path
    model: Any
    plan: Plan
    certificate: Any
    device: str

    def predict(self, atoms: Sequence[Atoms] | Atoms, *, batch: int = 32) -> list[dict[str, Any]]:
        """The targets of each structure, as numpy arrays in the units of the plan."""
        from equic.runtime.data import Frame
        from equic.runtime.predict import predict

        frames = [atoms] if hasattr(atoms, "get_positions") or isinstance(atoms, Frame) else list(atoms)
        return predict(self.model, frames, batch=batch, device=self.device)

    def calculator(self, **options: Any) -> Calculator:
        """An ASE calculator."""
        from equic.runtime.calculators import EquicCalculator

        return EquicCalculator(self.model, device=self.device, **options)


def load_file(path: Path, *, device: str = "auto", dtype: str | None = None) -> Loaded:
    """Load by suffix.

    Raises:
        ArtifactError: the suffix is neither `.equic` nor `.pt2`, nor is it a standalone folder; or it is damaged.
    """
    if path.suffix == ".equic":
        import torch

        from equic.runtime.artifact import load_artifact
        from equic.runtime.device import pick_device

        place = pick_device(device)
        found = load_artifact(path, dtype=getattr(torch, dtype) if dtype else None, device=place)
        return Loaded(path, found.model, found.plan, found.certificate, str(place))
    if path.suffix == ".pt2":
        from equic.runtime.export import load_pt2

        exported = load_pt2(path)
        return Loaded(path, exported, exported.plan, exported.metadata.get("certificate"), "cpu")
    if path.is_dir() and (path / "metadata.json").is_file():
        from equic.runtime.export import load_standalone

        standalone = load_standalone(path)
        return Loaded(path, standalone, standalone.plan, standalone.metadata.get("certificate"), "cpu")
    raise ArtifactError(
        f"`{path}` is neither an artifact (.equic) nor an export (.pt2, or a standalone folder)"
    )
