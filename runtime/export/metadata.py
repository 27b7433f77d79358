"""The metadata of an exported file: one key, `equic`, that holds one JSON object.

It is read from the archive itself, without running the code that the archive contains.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import zipfile
from pathlib import Path
from typing import Any

import torch
from equic.runtime.errors import ExportError
from torch import nn

KEY = "equic"
FORMAT = 1


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
