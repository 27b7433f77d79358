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
    """A loaded file. `model` is a torch module (`.equic`) or an exported program (`.pt2`, `.standalone`).

    `closest` are the shortest distances in its training set, by pair of species (Å); None where it has none.
    """

    path: Path
    model: Any
    plan: Plan
    certificate: Any
    device: str
    closest: dict[str, float] | None = None

    def predict(self, atoms: Sequence[Atoms] | Atoms, *, batch: int = 32) -> list[dict[str, Any]]:
        """The targets of each structure, as numpy arrays in the units of the plan."""
        from equic.runtime.data import Frame
        from equic.runtime.predict import predict

        frames = [atoms] if hasattr(atoms, "get_positions") or isinstance(atoms, Frame) else list(atoms)
        return predict(self.model, frames, batch=batch, device=self.device)

    def calculator(self, **options: Any) -> Calculator:
        """An ASE calculator, which warns once where atoms come closer than in training (`warn="never"`: not)."""
        from equic.runtime.calculators import EquicCalculator

        return EquicCalculator(self.model, device=self.device, **{"closest": self.closest, **options})


def load_file(
    path: Path, *, device: str = "auto", dtype: str | None = None, tabulate: float | bool | None = None
) -> Loaded:
    """Load by suffix, as `equic.load` says.

    Raises:
        ArtifactError: the suffix is neither `.equic` nor `.pt2`, nor is it a standalone folder; or it is damaged.
    """
    if path.suffix == ".equic":
        import torch

        from equic.runtime.artifact import load_artifact
        from equic.runtime.device import pick_device
        from equic.runtime.tabulate import deployed

        place = pick_device(device)
        found = load_artifact(path, dtype=getattr(torch, dtype) if dtype else None, device=place)
        closest = (found.manifest["training"] or {}).get("closest_distances")
        model = deployed(found.model, tabulate)
        return Loaded(path, model, model.plan, found.certificate, str(place), closest)
    if tabulate is not None:
        raise ArtifactError(
            f"`{path}` is an export, and holds what it was exported with",
            help="load the artifact (.equic) that it was made from",
        )
    if path.suffix == ".pt2":
        from equic.runtime.export import load_pt2

        return _exported(path, load_pt2(path))
    if path.is_dir() and (path / "metadata.json").is_file():
        from equic.runtime.export import load_standalone

        return _exported(path, load_standalone(path))
    raise ArtifactError(
        f"`{path}` is neither an artifact (.equic) nor an export (.pt2, or a standalone folder)"
    )


def _exported(path: Path, model: Any) -> Loaded:
    papers = model.metadata
    closest = papers["meta"].get("closest_distances")
    return Loaded(path, model, model.plan, papers.get("certificate"), str(model.device), closest)
