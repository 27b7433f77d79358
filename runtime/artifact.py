"""`NAME.equic`: one file that holds a trained model and everything that is claimed of it.

A zip of stored (uncompressed) entries with fixed dates and order, so that equal inputs give equal bytes:

    manifest.json         versions, SHA-256 and size of every other entry, units, claims, citations, ...
    spec.yaml             the resolved spec
    plan.json             what the model is built from (no compiler needed)
    weights.safetensors   every parameter and buffer; nothing in an artifact is ever unpickled
    certificate.json      what was measured, when it was
    probes.json           of an imported model: what the program that it comes from answers

Reading trusts nothing: names, sizes, hashes and versions are checked before anything is built.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .build import Model, build_module
from .container import NEW_FILE, decode, json_bytes, parse_json, read_container, write_container
from .errors import ArtifactError, EquicError
from .plan import Plan


class JsonDocument(Protocol):
    """Anything that can say itself in JSON types, like a `Certificate`."""

    def to_json(self) -> dict[str, Any]: ...


_KERNELS = "kernels."  # buffers of generated code


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model read from a file, with the papers that came with it.

    `certificate` is the JSON form of the stored certificate (`Certificate.from_json` reads it), or None.
    """

    model: Model
    plan: Plan
    manifest: dict[str, Any]
    certificate: dict[str, Any] | None
    spec_text: str
    probes: dict[str, Any] | None = None


def save_artifact(
    path: str | Path,
    model: Model,
    *,
    spec_text: str,
    certificate: JsonDocument | Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    diagnostics: Sequence[Mapping[str, Any]] = (),
    probes: Mapping[str, Any] | None = None,
) -> Path:
    """Write `model` to `path`, whole or not at all; equal inputs give equal bytes.

    `training` and `diagnostics` are JSON data and go into the manifest as they are; `probes` are the answers of
    the program that an imported model comes from (`equic.runtime.importing.answer_probes`).

    Raises:
        OSError: the folder cannot be written.
        ValueError: `certificate`, `training`, `diagnostics` or `probes` hold NaN or infinity, which JSON cannot
            say.
    """
    from safetensors.torch import save

    tensors = _state(model)
    entries = {
        "spec.yaml": spec_text.encode(),
        "plan.json": json_bytes(model.plan.to_json()),
        "weights.safetensors": save(tensors),
    }
    if certificate is not None:
        entries["certificate.json"] = _certificate_bytes(certificate)
    if probes is not None:
        entries["probes.json"] = json_bytes(dict(probes))
    return write_container(path, _describe(model, training, diagnostics), entries)


def load_artifact(
    path: str | Path, *, dtype: torch.dtype | None = None, device: str | torch.device = "cpu"
) -> Artifact:
    """Read, check and build what `save_artifact` wrote.

    `dtype` (default: the stored one) is the type of the parameters; geometry and statistics stay float64, and
    constant tables are computed anew at the precision asked for.

    Raises:
        ArtifactError: the file is missing, damaged, tampered with, of another format version, or
            was built with constants that this version computes differently.
    """
    path = Path(path)
    manifest, entries = read_container(path)
    plan_json = parse_json(path, "plan.json", entries["plan.json"])
    stored = _read_weights(path, entries["weights.safetensors"])
    try:
        plan = Plan.from_json(plan_json)
        model = build_module(plan, seed=0, dtype=dtype or _stored_dtype(manifest))
    except EquicError as error:
        raise ArtifactError(f"{path}: plan.json does not build: {error.message}", help=error.help) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise ArtifactError(f"{path}: plan.json does not build: {error}", help=NEW_FILE) from error
    _restore(path, model, manifest, stored)
    certificate = None
    if "certificate.json" in entries:
        certificate = parse_json(path, "certificate.json", entries["certificate.json"])
    return Artifact(
        model=model.to(device),
        plan=plan,
        manifest=manifest,
        certificate=certificate,
        spec_text=decode(path, "spec.yaml", entries["spec.yaml"]),
        probes=parse_json(path, "probes.json", entries["probes.json"]) if "probes.json" in entries else None,
    )


def update_certificate(path: str | Path, certificate: JsonDocument | Mapping[str, Any] | None) -> Path:
    """Replace (with None: remove) the certificate of the artifact at `path`; the rest keeps its bytes.

    Raises:
        ArtifactError: the file is not a whole artifact.
    """
    path = Path(path)
    manifest, entries = read_container(path)
    entries.pop("certificate.json", None)
    if certificate is not None:
        entries["certificate.json"] = _certificate_bytes(certificate)
    return write_container(path, manifest, entries)


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of the artifact at `path`, after every check that needs no model.

    Raises:
        ArtifactError: the file is missing, damaged or of another format version.
    """
    return read_container(Path(path))[0]


def _state(model: Model) -> dict[str, Tensor]:
    # clones: safetensors refuses tensors that share memory, and a view would drag its base along
    return {name: t.detach().to("cpu").contiguous().clone() for name, t in model.state_dict().items()}


def _describe(
    model: Model, training: Mapping[str, Any] | None, diagnostics: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    plan = model.plan.to_json()
    return {
        "equic": _equic_version(),
        "torch": torch.__version__,
        "name": plan["name"],
        "kind": plan["kind"],
        "architecture": plan["architecture"],
        "dtype": str(model.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in model.parameters()),
        "graph_hash": plan["graph_hash"],
        "spec_hash": plan["spec_hash"],
        "units": {name: output["unit"] for name, output in plan["outputs"].items()},
        "claims": plan["claims"],
        "conserved": plan["conserved"],
        "citations": plan["citations"],
        "diagnostics": [dict(d) for d in diagnostics],
        "constants": constant_fingerprints(model),
        "training": None if training is None else dict(training),
    }


def _restore(path: Path, model: Model, manifest: dict[str, Any], stored: dict[str, Tensor]) -> None:
    """Copy the stored tensors into a fresh model; its constants must be those they were trained with."""
    own = model.state_dict()
    if missing := sorted(own.keys() - stored.keys()):
        raise ArtifactError(f"{path}: weights.safetensors lacks `{missing[0]}`", help=NEW_FILE)
    if extra := sorted(stored.keys() - own.keys()):
        raise ArtifactError(
            f"{path}: weights.safetensors has `{extra[0]}`, unknown to the plan", help=NEW_FILE
        )
    for name, tensor in own.items():
        given = stored[name]
        if given.shape != tensor.shape or given.is_floating_point() != tensor.is_floating_point():
            raise ArtifactError(
                f"{path}: `{name}` is stored as {given.dtype} {list(given.shape)}, "
                f"but the plan wants {tensor.dtype} {list(tensor.shape)}",
                help=NEW_FILE,
            )
    _check_constants(path, model, manifest)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(stored[name])


def _check_constants(path: Path, model: Model, manifest: dict[str, Any]) -> None:
    """Tables are computed when a model is built: another sign or order there would pass every hash.

    Every stored table must be among those of its step now. What a layer calls them, and what else it keeps, may
    change from version to version. Kernels arrange the layers' tables as the machine and its compiler want them:
    files of earlier versions name those too, and they are passed over.
    """
    stored, own = _by_step(manifest["constants"]), _by_step(constant_fingerprints(model))
    for step, tables in stored.items():
        if step.startswith(_KERNELS):
            continue
        for name, fingerprint in tables.items():
            if not any(_alike(fingerprint, other) for other in own.get(step, {}).values()):
                raise ArtifactError(
                    f"{path}: the constants in `{name}` are not those that the weights were trained with",
                    help=f"load the file with the versions that wrote it: equic {manifest.get('equic')}, "
                    f"torch {manifest.get('torch')}",
                )


def _by_step(constants: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Tables by the step that they belong to (`steps.NAME.`)."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, fingerprint in constants.items():
        found.setdefault(".".join(name.split(".")[:2]), {})[name] = fingerprint
    return found


def _alike(a: Sequence[float], b: Sequence[float]) -> bool:
    return len(a) == len(b) and all(abs(x - y) <= 1e-5 for x, y in zip(a, b, strict=True))


def constant_fingerprints(model: Model) -> dict[str, list[float]]:
    """Three numbers for every table of a layer that is computed and not stored: its log norm and two projections.

    The projections are of the normalised table c on cos(w k), k = 1, 2, ..., for w = 1 and sqrt(2):
    signs, order and rotations of a basis all show. Float32 rounding moves them by about 1e-7.
    """
    stored = model.state_dict()
    fingerprints = {}
    for name, buffer in model.named_buffers():
        if name in stored or name.startswith(_KERNELS) or not buffer.is_floating_point():
            continue
        flat = buffer.detach().to("cpu", torch.float64).flatten()
        norm = float(torch.linalg.vector_norm(flat))
        if norm == 0:
            continue
        k = torch.arange(1, flat.numel() + 1, dtype=torch.float64)
        projections = [float(torch.cos(w * k) @ flat) / norm for w in (1.0, math.sqrt(2.0))]
        fingerprints[name] = [round(x, 8) for x in (math.log(norm), *projections)]
    return fingerprints


def _stored_dtype(manifest: dict[str, Any]) -> torch.dtype:
    return {"float32": torch.float32, "float64": torch.float64}[manifest["dtype"]]


def _equic_version() -> str:
    try:
        return version("equic")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def _certificate_bytes(certificate: JsonDocument | Mapping[str, Any]) -> bytes:
    return json_bytes(dict(certificate) if isinstance(certificate, Mapping) else certificate.to_json())


def _read_weights(path: Path, data: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: weights.safetensors cannot be read: {error}", help=NEW_FILE) from error
