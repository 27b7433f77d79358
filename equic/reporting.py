"""`equic report`: gather what runs left behind, predict what was not stored, and write one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equic.runtime.errors import EquicError

if TYPE_CHECKING:
    from equic.runtime.artifact import Artifact

ROLLOUT_STEPS = 1000
MOST_COMPARED = 4  # runs whose predictions are drawn: each is computed again


def report_on(folders: Sequence[Path], out: Path, *, title: str | None = None) -> Path:
    """One HTML page about every run, search, export and trajectory found below `folders`.

    Looks for `metrics.json` with its `model.equic` (runs), `tuning.json`, `*.pt2`, and `*.md.json` (dynamics).

    Raises:
        EquicError: nothing is found.
    """
    from equic.runtime.artifact import load_artifact
    from equic.runtime.reports import read_run, write_report

    runs = _found(folders, "metrics.json")
    searches = _found(folders, "tuning.json")
    exports = _found(folders, "*.pt2")
    dynamics = _found(folders, "*.md.json")
    if not runs and not searches:
        shown = ", ".join(str(folder) for folder in folders)
        raise EquicError(
            f"there is no run below {shown}", help="give the folder of a run, such as runs/NAME/1"
        )
    artifacts = {
        "/".join(file.resolve().parent.parts[-2:]): load_artifact(file.parent / "model.equic")
        for file in runs
        if (file.parent / "model.equic").exists()
    }
    certificates = {name: found.certificate for name, found in artifacts.items() if found.certificate}
    certificates |= {file.name: paper for file in exports if (paper := _carried(file)) is not None}
    flow = next((found for found in artifacts.values() if found.plan.kind == "phase_space"), None)
    return write_report(
        out,
        title=title
        or " and ".join(dict.fromkeys(found.plan.name for found in artifacts.values()))
        or "search",
        runs=[read_run(file.parent) for file in runs],
        certificates=certificates,
        parity=_parities(artifacts),
        tuning=json.loads(searches[0].read_text(encoding="utf-8")) if searches else None,
        md={file.name.removesuffix(".md.json"): json.loads(file.read_text("utf-8")) for file in dynamics}
        or None,
        exports=exports,
        **(_phase_space(flow) if flow is not None else {}),
    )


def _found(folders: Iterable[Path], pattern: str) -> list[Path]:
    """Files below the folders, the trials of searches left out."""
    files = [file for folder in folders for file in sorted(folder.rglob(pattern))]
    return [
        file for file in dict.fromkeys(files) if not any(part.startswith("trial-") for part in file.parts)
    ]


def _carried(file: Path) -> Any:
    from equic.runtime.export import read_metadata

    metadata, _ = read_metadata(file)
    return metadata.get("certificate")


def _parities(artifacts: Mapping[str, Artifact]) -> dict[str, Any] | None:
    """Of up to `MOST_COMPARED` models of atoms, side by side."""
    found: dict[str, Any] = {}
    for name, artifact in artifacts.items():
        if artifact.plan.kind == "atoms" and len(found) < MOST_COMPARED:
            parity = _parity(artifact)
            if parity:
                found[name] = parity
    return next(iter(found.values())) if len(found) == 1 else found or None


def _parity(artifact: Artifact) -> dict[str, Any] | None:
    """Reference against prediction on the test (or validation) frames, while the data is at hand."""
    import numpy as np

    from equic.runtime.data import load_sets
    from equic.runtime.predict import predict

    try:
        sets = load_sets(artifact.plan)
    except EquicError:
        return None
    frames = sets.get("test") or sets.get("validation")
    if not frames:
        return None
    predictions = predict(artifact.model, list(frames))
    parity: dict[str, Any] = {}
    for name in artifact.plan.train["loss"]:
        unit = artifact.plan.outputs[name].unit
        divided = name in artifact.plan.per_atom
        atoms = [len(frame.positions) if divided else 1 for frame in frames]
        truth = [np.ravel(frame.labels[name]) / n for frame, n in zip(frames, atoms, strict=True)]
        guess = [np.ravel(one[name]) / n for one, n in zip(predictions, atoms, strict=True)]
        parity[name] = (
            np.concatenate(truth),
            np.concatenate(guess),
            f"{unit}/atom" if divided else unit,
        )
    return parity


def _phase_space(artifact: Artifact) -> dict[str, Any]:
    """A rollout of the model from the first test state: its energy over time, and its orbit."""
    import torch

    from equic.runtime.data import load_sets
    from equic.runtime.integrators import rollout

    plan, model = artifact.plan, artifact.model.to(torch.float64)
    if "hamiltonian" not in plan.outputs:
        return {}
    try:
        sets = load_sets(plan)
    except EquicError:
        return {}
    data = sets.get("test") or sets["train"]
    start = torch.as_tensor(data.state[:1], dtype=torch.float64)
    dt = 0.05
    orbit = rollout(model, start, dt=dt, steps=ROLLOUT_STEPS)[:, 0]
    energy = model({"state": orbit})["hamiltonian"]
    half = orbit.shape[1] // 2
    return {
        "rollout": {
            "time": [dt * k for k in range(len(orbit))],
            "energy": {f"{plan.name}, {plan.system['integrator']}": (energy - energy[0]).tolist()},
            "caption": f"The learned H along a rollout of {ROLLOUT_STEPS} steps of {dt}: it stays bounded.",
        },
        "portrait": {"series": {plan.name: (orbit[:, 0].tolist(), orbit[:, half].tolist())}},
    }
