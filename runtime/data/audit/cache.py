"""Facts kept by the content of their file, so that a second check reads nothing."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from equic.runtime.atomic import write_bytes

from .facts import FileFacts, facts_from_json

FACTS_VERSION = 2  # raise it when facts change their meaning
_RECENT_NS = 2_000_000_000  # a file changed this shortly before may change again under the same time stamp
_MOST_ENTRIES = 500


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/equic/data`, or `~/.cache/equic/data`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "equic" / "data"


def cached_facts(path: Path, request: Mapping[str, Any], compute: Callable[[], FileFacts]) -> FileFacts:
    """The facts of a file: from the cache where this content was asked the same before, else computed and kept.

    The content is known by its sha256; while size and times of a file are those seen last, it is not read for
    that. Entries are written in one step, so that processes may share the folder; one that is damaged, or was
    written by another version, counts as absent. Where the folder cannot be written, nothing is kept. Facts of a
    file that could not be read are never kept.
    """
    folder = cache_folder()
    try:
        content = _content(path, folder)
    except OSError:
        return compute()
    question = json.dumps({"version": FACTS_VERSION, "content": content, **request}, sort_keys=True)
    entry = folder / f"{hashlib.sha256(question.encode()).hexdigest()}.json"
    try:
        return facts_from_json(json.loads(entry.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    facts = compute()
    if facts.problem is None:
        _keep(entry, facts.to_json())
    return facts


def _content(path: Path, folder: Path) -> str:
    """The sha256 of a file, by its stamp where that is known.

    Raises:
        OSError: the file cannot be read.
    """
    stat = path.stat()
    stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    place = folder / "files" / f"{hashlib.sha256(os.path.realpath(path).encode()).hexdigest()}.json"
    try:
        known = json.loads(place.read_text(encoding="utf-8"))
        if known["stamp"] == stamp:
            return str(known["content"])
    except (OSError, ValueError, TypeError, KeyError):
        pass
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _RECENT_NS:
        _keep(place, {"stamp": stamp, "content": content})
    return content


def _keep(place: Path, data: Mapping[str, Any]) -> None:
    try:
        write_bytes(place, json.dumps(data).encode())
        entries = sorted(place.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)
        for old in entries[:-_MOST_ENTRIES]:
            old.unlink(missing_ok=True)
    except OSError:
        pass
