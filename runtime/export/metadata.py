"""The metadata of an exported file: one key, `equic`, that holds one JSON object.

It is read from the archive itself, without running the code that the archive contains.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from equic.runtime.build import Model
from equic.runtime.errors import ExportError
from equic.runtime.plan import Plan
from torch import nn

KEY = "equic"
FORMAT = 1


class JsonDocument(Protocol):
    """Anything that can say itself in JSON types, like a `Certificate`."""

    def to_json(self) -> dict[str, Any]: ...


def metadata_of(
    model: Model,
    *,
    dtype: str,
    certificate: JsonDocument | Mapping[str, Any] | None,
    probes: Any,
    meta: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What every export carries: plan, units, hashes, certificate, probes, versions.

    Raises:
        ExportError: certificate, probes or meta are no plain JSON.
    """
    plain = certificate is None or isinstance(certificate, Mapping)
    papers = {
        "plan": model.plan.to_json(),
        "units": _units(model.plan),
        "dtype": dtype,
        "graph_hash": model.plan.graph_hash,
        "weights_hash": weights_hash(model),
        "versions": versions(),
        "certificate": certificate if plain else certificate.to_json(),
        "probes": probes,
        "meta": dict(meta or {}),
    }
    as_json(papers)  # before the work, not after it
    return papers


def as_json(document: Mapping[str, Any]) -> str:
    """One line of JSON.

    Raises:
        ExportError: it holds what JSON cannot say.
    """
    try:
        return json.dumps(document, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as problem:
        raise ExportError(f"certificate, probes and meta must be plain JSON: {problem}") from problem


def _units(plan: Plan) -> dict[str, str]:
    """Units of the outputs; atoms' energies have that of the whole."""
    units = {name: output.unit for name, output in plan.outputs.items()}
    energy = plan.energy
    return units if energy is None else {f"node_{energy}": units[energy], **units}


def weights_hash(model: nn.Module) -> str:
    """`sha256:…` over the names, dtypes, shapes and bytes of everything in the model's state, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return "sha256:" + digest.hexdigest()


def versions() -> dict[str, str]:
    """The versions that a compiled file depends on."""
    return {
        "equic": importlib.metadata.version("equic"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def read_metadata(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Our metadata, and torch's own (device, instruction set), of an exported file.

    Raises:
        ExportError: no such file, not an archive, or an archive that equic did not write.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"`{path}` is not a file", help="export one with `equic export`")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("_metadata.json")]
            found = [json.loads(archive.read(name)) for name in sorted(names)]
    except (zipfile.BadZipFile, OSError, ValueError) as problem:
        raise ExportError(
            f"`{path}` is not a compiled package, or it is damaged ({problem})",
            help="export it again, and compare the sizes if it was copied",
        ) from problem
    for metadata in found:
        if isinstance(metadata, dict) and KEY in metadata:
            try:
                ours = json.loads(metadata[KEY])
            except ValueError as problem:
                raise ExportError(f"the metadata of `{path}` is damaged ({problem})") from problem
            if not isinstance(ours, dict) or ours.get("format") != FORMAT:
                form = ours.get("format") if isinstance(ours, dict) else None
                raise ExportError(
                    f"`{path}` has metadata of format {form}, and this version reads format {FORMAT}",
                    help="export it again with this version of equic",
                )
            return ours, {key: value for key, value in metadata.items() if key != KEY}
    raise ExportError(
        f"`{path}` carries no metadata of equic, so its inputs and units are unknown",
        help="only files that `equic export` wrote can be loaded",
    )
