"""The container of an artifact: named entries and a manifest of their hashes, as one zip.

Entries are stored plainly with fixed dates and order, so that equal inputs give equal bytes. Reading trusts
nothing: names and declared sizes are checked before a byte is read, and hashes before a byte is used.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import atomic
from .errors import ArtifactError

FORMAT = "equic artifact"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
REQUIRED = ("spec.yaml", "plan.json", "weights.safetensors")
OPTIONAL = ("certificate.json", "probes.json")

# Entries are stored, so none can be larger than the file; these bound what is read and parsed.
MAX_TEXT_BYTES = 256 * 2**20
MAX_FILE_BYTES = 32 * 2**30

NEW_FILE = "train or export the model again to write a new one"


def write_container(path: str | Path, manifest: Mapping[str, Any], entries: Mapping[str, bytes]) -> Path:
    """Write `entries`, and `manifest` completed with their hashes, to `path`: whole or not at all.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the manifest holds NaN or infinity.
    """
    full = {**manifest, "format": FORMAT, "version": FORMAT_VERSION, "entries": _fingerprints(entries)}
    return atomic.write_bytes(path, _pack({MANIFEST: json_bytes(full), **dict(sorted(entries.items()))}))


def read_container(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the other entries of the artifact at `path`, every hash checked; builds nothing.

    Raises:
        ArtifactError: the file is missing, damaged, has foreign entries, or is of another format version.
    """
    entries = _unpack(path, _read_file(path))
    if MANIFEST not in entries:
        raise ArtifactError(f"{path} has no {MANIFEST}, so it is not an equic artifact", help=NEW_FILE)
    manifest = parse_json(path, MANIFEST, entries.pop(MANIFEST))
    if manifest.get("format") != FORMAT:
        raise ArtifactError(f"{path} is not an equic artifact: its manifest does not say `{FORMAT}`")
    if manifest.get("version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {manifest.get('version')!r}; this equic reads {FORMAT_VERSION}",
            help=f"use the equic that wrote it: {manifest.get('equic', 'unknown')!r}",
        )
    _check_manifest(path, manifest)
    declared = manifest["entries"]
    for name in REQUIRED:
        if name not in declared:
            raise ArtifactError(f"{path}: the manifest does not list {name}", help=NEW_FILE)
    for name in sorted(declared.keys() - entries.keys()):
        raise ArtifactError(f"{path}: the entry {name} is missing", help=NEW_FILE)
    for name in sorted(entries.keys() - declared.keys()):
        raise ArtifactError(f"{path}: the entry {name} is not in the manifest", help=NEW_FILE)
    for name, data in entries.items():
        if hashlib.sha256(data).hexdigest() != declared[name]["sha256"]:
            raise ArtifactError(
                f"{path}: {name} is not what the manifest says (SHA-256 differs)", help=NEW_FILE
            )
    return manifest, entries


def json_bytes(data: Any) -> bytes:
    """Canonical JSON (sorted keys, UTF-8, no NaN) with a final newline."""
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse_json(path: Path, name: str, data: bytes) -> dict[str, Any]:
    """The JSON object in entry `name`, or an `ArtifactError`."""
    try:
        parsed = json.loads(decode(path, name, data))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: {name} is not valid JSON: {error}", help=NEW_FILE) from error
    if not isinstance(parsed, dict):
        raise ArtifactError(f"{path}: {name} is not a JSON object", help=NEW_FILE)
    return parsed


def decode(path: Path, name: str, data: bytes) -> str:
    """The UTF-8 text in entry `name`, or an `ArtifactError`."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: {name} is not UTF-8 text", help=NEW_FILE) from error


def _fingerprints(entries: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in entries.items()
    }


def _pack(entries: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # stored, because deflate's output differs between zlib versions and weights hardly compress
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _check_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """The keys that loading relies on have the types it relies on."""
    declared = manifest.get("entries")
    good = isinstance(declared, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in declared.values()
    )
    if not good:
        raise ArtifactError(f"{path}: the manifest has no table of entries", help=NEW_FILE)
    constants = manifest.get("constants")
    if not isinstance(constants, dict) or not all(_is_numbers(value) for value in constants.values()):
        raise ArtifactError(f"{path}: the manifest has no table of constants", help=NEW_FILE)
    if manifest.get("dtype") not in ("float32", "float64"):
        raise ArtifactError(f"{path}: unknown dtype {manifest.get('dtype')!r} in the manifest", help=NEW_FILE)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(x, int | float) for x in value)


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ArtifactError(f"{path} has {size} bytes; artifacts are limited to {MAX_FILE_BYTES}")
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"there is no file {path}") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error


def _unpack(path: Path, data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_directory(path, archive.infolist(), len(data))
            return {info.filename: archive.read(info) for info in archive.infolist()}
    except ArtifactError:
        raise
    except Exception as error:  # on damaged files zipfile raises a dozen unrelated types (struct.error, ...)
        raise ArtifactError(
            f"{path} is damaged or not an equic artifact: {error or type(error).__name__}",
            help="copy or download the file again",
        ) from error


def _check_directory(path: Path, infos: list[zipfile.ZipInfo], file_bytes: int) -> None:
    """Names and declared sizes, before a single byte of an entry is read."""
    seen: set[str] = set()
    for info in infos:
        name = info.filename
        if name in seen:
            raise ArtifactError(f"{path}: the entry {name!r} is there twice")
        seen.add(name)
        if name not in (MANIFEST, *REQUIRED, *OPTIONAL):
            raise ArtifactError(
                f"{path}: unexpected entry {name!r}", help="an artifact holds only what equic wrote"
            )
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ArtifactError(f"{path}: the entry {name} is compressed; artifacts store theirs plainly")
        limit = file_bytes if name == "weights.safetensors" else min(file_bytes, MAX_TEXT_BYTES)
        if info.file_size > limit:
            raise ArtifactError(
                f"{path}: the entry {name} declares {info.file_size} bytes; the limit is {limit}"
            )
