"""Measure a file again, on the machine at hand."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from equic.runtime.errors import EquicError

from .certificate import Certificate
from .measure import certify


def verify_file(
    path: str | Path,
    *,
    frames: Iterable[Any] | None = None,
    dtypes: Sequence[str] | None = None,
    seed: int = 0,
    group_elements: int = 8,
    device: str = "cpu",
    thorough: bool = False,
) -> Certificate:
    """Load a model file and certify what it holds, as `certify` does.

    `.equic` files are measured as they are deployed, in float64 and in the dtype that they store, imported ones
    also against the answers that they carry; exports (`.pt2`, standalone folders) as they are, in theirs, and
    against the probes that they carry.

    Raises:
        EquicError: another kind of file, a file that does not load, or what `certify` raises.
    """
    path = Path(path)
    if path.suffix == ".equic":
        from equic.runtime.artifact import load_artifact
        from equic.runtime.tabulate import deployed

        artifact = load_artifact(path)
        model, probes = deployed(artifact.model), artifact.probes
    elif path.suffix == ".pt2":
        from equic.runtime.export import load_pt2

        model = load_pt2(path)
        probes, device = model.metadata["probes"], str(model.device)
    elif path.is_dir():
        from equic.runtime.export import load_standalone

        model = load_standalone(path)
        probes, device = model.metadata["probes"], "cpu"
    else:
        raise EquicError(
            f"`{path}` is neither a trained model nor an export",
            help="give a file that ends in .equic or .pt2, or a standalone folder",
        )
    return certify(
        model,
        frames=frames,
        dtypes=dtypes,
        seed=seed,
        group_elements=group_elements,
        device=device,
        thorough=thorough,
        probes=probes,
    )
