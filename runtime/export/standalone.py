"""A model as a folder of readable Python and weights that runs with torch and safetensors alone."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from equic.runtime import atomic
from equic.runtime.build import Model
from equic.runtime.errors import ExportError
from equic.runtime.plan import Plan
from torch import Tensor

from .load import check_indices, check_inputs, completed
from .metadata import JsonDocument, metadata_of
from .selfcheck import check_against
from .signature import DTYPES, Port, input_ports
from .trace import recast

FORMAT = 1
FILES = ("model.py", "run.py", "weights.safetensors")


class Standalone:
    """A standalone folder, loaded: `forward(inputs) -> outputs`, as the model it was exported from.

    Attributes:
        plan: the plan of the model.
        metadata: certificate, probes, units, versions, hashes; see `export_standalone`.
        dtype: the floating-point type that the network computes in.
        device: the CPU.
    """

    def __init__(self, path: Path, metadata: dict[str, Any], module: torch.nn.Module) -> None:
        self.path = path
        self.metadata = metadata
        self.plan = Plan.from_json(metadata["plan"])
        self.dtype = DTYPES[metadata["dtype"]]
        self.device = torch.device("cpu")
        self.inputs = tuple(Port.from_json(port) for port in metadata["inputs"])
        self._module = module

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name; the arguments are those of the model's own `forward`.

        Raises:
            ExportError: an input is missing, has the wrong dtype or rank, sizes do not agree, or an index is out
                of range.
        """
        if self.plan.is_points:
            inputs = completed(self.inputs, inputs)
            check_inputs(self.inputs, inputs, self.device)
            check_indices(inputs, n_species=len(self.plan.system["species"]))
        outputs = self._module({port.name: inputs[port.name] for port in self.inputs})
        return {name: value.detach() for name, value in outputs.items()}

    __call__ = forward


def export_standalone(
    model: Model,
    path: str | Path,
    *,
    dtype: str = "float64",
    certificate: JsonDocument | Mapping[str, Any] | None = None,
    probes: Any = None,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write `model` as a folder that runs where equic is not installed.

        model.py              the plan as readable source, one class `Model`, torch alone
        weights.safetensors   its parameters and statistics
        run.py                load it; for atoms, a plain neighbour list and `evaluate`
        metadata.json         plan, units, certificate, probes, versions, SHA-256 of the other files

    The folder is checked before it takes its name: a fresh process in which equic cannot be imported runs it at
    1, 2, 17 and 1000 atoms, without edges and with several systems, and the numbers must be those of the model
    (largest difference 1e-11 of the largest value in float64). Where that fails nothing is left behind.

    Raises:
        ExportError: wrong arguments, a path that is another kind of thing already, a layer that has no source, or
            a folder that does not agree with the model.
    """
    from equic.runtime.emit import emit_torch
    from safetensors.torch import save

    path = Path(path)
    if dtype not in ("float32", "float64"):
        raise ExportError(f"a model is exported in float32 or float64, not `{dtype}`")
    if path.exists() and not (path / "metadata.json").is_file():
        raise ExportError(f"`{path}` exists, and is no standalone export", help="choose another name")
    if model.plan.is_points and model.plan.system["pairs"] != "within":
        raise ExportError(
            "a standalone folder finds all neighbours within a cutoff, and this model reads "
            + ("the nearest ones" if model.plan.system["pairs"] != "all" else "all pairs"),
            help="export it as `pt2`, which takes the edges as an input",
        )
    twin = recast(model, DTYPES[dtype], kernels="reference")
    # weights as they are kept; tables in the precision that they are read in
    kept = (model if model.exact is None else twin).state_dict()
    state = {name: value.cpu().contiguous().clone() for name, value in kept.items()}
    files = {
        "model.py": emit_torch(model.plan).encode(),
        "run.py": Path(__file__).with_name("standalone_run.py").read_bytes(),
        "weights.safetensors": save(state),
    }
    papers = metadata_of(model, dtype=dtype, certificate=certificate, probes=probes, meta=meta)
    papers |= {
        "format": FORMAT,
        "inputs": [port.to_json() for port in input_ports(model.plan)],
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    files["metadata.json"] = (
        json.dumps(papers, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    ).encode()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        for name, data in files.items():
            atomic.write_bytes(draft / name, data)
        worker = Path(__file__).with_name("standalone_worker.py")
        check_against(
            twin, input_ports(model.plan), [sys.executable, "-P", str(worker), str(draft.resolve())]
        )
        if path.exists():
            shutil.rmtree(path)
        os.replace(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def load_standalone(path: str | Path) -> Standalone:
    """Load a folder that `export_standalone` wrote. It holds code: load only what comes from people you trust.

    Raises:
        ExportError: no such folder, a file that is missing or not what the metadata says, or code that fails.
    """
    path = Path(path)
    try:
        metadata = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
        found = metadata["format"], dict(metadata["files"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ExportError(f"`{path}` is not a standalone export, or it is damaged ({problem})") from problem
    if found[0] != FORMAT:
        raise ExportError(f"`{path}` has format {found[0]}, and this version reads format {FORMAT}")
    for name in FILES:
        try:
            data = (path / name).read_bytes()
        except OSError as problem:
            raise ExportError(
                f"`{path}` lacks {name} ({problem.strerror})", help="export it again"
            ) from problem
        if hashlib.sha256(data).hexdigest() != found[1].get(name):
            raise ExportError(
                f"`{path}`: {name} is not what was exported (SHA-256 differs)", help="export it again"
            )
    return Standalone(path, metadata, _module(path, DTYPES[metadata["dtype"]]))


def _module(path: Path, dtype: torch.dtype) -> torch.nn.Module:
    """The class `Model` of model.py with its weights; the module gets a name of its own in this process."""
    from safetensors.torch import load_file

    name = f"equic_standalone_{secrets.token_hex(6)}"
    spec = importlib.util.spec_from_file_location(name, path / "model.py")
    assert spec is not None
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    sys.modules[name] = source  # dataclasses look their module up
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder holds what was exported
    try:
        spec.loader.exec_module(source)
        module: torch.nn.Module = source.Model().to(dtype)
        module.load_state_dict(load_file(path / "weights.safetensors"))
    except Exception as problem:
        sys.modules.pop(name)
        raise ExportError(f"`{path}` does not load: {type(problem).__name__}: {problem}") from problem
    finally:
        sys.dont_write_bytecode = before
    return module.requires_grad_(False).eval()
